#include "execution/codec_fit.h"

#include <algorithm>
#include <array>

#include "execution/codec_archive.h"

namespace aegis::execution::codec {

std::string_view prefix(std::string_view text, std::size_t limit) {
    if (text.size() <= limit) return text;
    std::size_t end = limit;
    while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xc0U) == 0x80U)
        --end;
    return text.substr(0, end);
}

json::Value textValue(std::string_view text, std::size_t limit) {
    std::string clean;
    if (!json::isUtf8(text)) text = clean = json::toUtf8(text);
    text = prefix(text, limit);
    return boost::json::string(text.data(), text.size());
}

namespace {

// Texts for people or for watching, which may be cut so that an event fits.
constexpr std::array<std::string_view, 6> kFreeTexts = {"message", "summary", "reason",
                                                        "detail",  "text",    "what"};

enum class Which : std::uint8_t { kFree, kAll };

// The texts in `value` that may be cut. Digests are never cut: a cut one would be a lie.
void collect(json::Value& value, std::string_view key, Which which,
             std::vector<json::Value*>& out) {
    if (auto* object = value.if_object()) {
        for (auto& member : *object) {
            collect(member.value(), {member.key().data(), member.key().size()}, which, out);
        }
    } else if (auto* array = value.if_array()) {
        for (auto& element : *array)
            collect(element, key, which, out);
    } else if (value.is_string() && key != "sha256") {
        bool is_free = std::ranges::find(kFreeTexts, key) != kFreeTexts.end();
        if (is_free || which == Which::kAll) out.push_back(&value);
    }
}

// Cuts the longest of the texts, all to one length, so that `data` gets as close to the limit as it
// can.
bool cutTexts(json::Value& data, Which which) {
    std::vector<json::Value*> texts;
    collect(data, "", which, texts);
    std::vector<std::string> originals;
    for (const auto* text : texts)
        originals.emplace_back(json::view(text->get_string()));
    auto cutAll = [&](std::size_t limit) {
        for (std::size_t i = 0; i < texts.size(); ++i) {
            std::string_view cut = prefix(originals[i], limit);
            texts[i]->get_string().assign(cut.data(), cut.size());
        }
        return json::dump(data).size() <= kMaxEventBytes;
    };
    // An id, a time or a code is shorter than 64 bytes and must stay whole to be read again.
    // Four bytes leave one character of any kind: an empty text would be left out when encoded
    // again.
    std::size_t fits = which == Which::kAll ? 64 : 4;
    std::size_t too_long = kMaxEventBytes + 1;
    if (!cutAll(fits)) return false;
    while (fits + 1 < too_long) {
        std::size_t middle = (fits + too_long) / 2;
        (cutAll(middle) ? fits : too_long) = middle;
    }
    return cutAll(fits);
}

// The last resort, for lists and maps that are too long even with empty texts.
void dropElements(json::Value& data) {
    auto& object = data.get_object();
    for (auto& member : object) {
        while (json::dump(data).size() > kMaxEventBytes) {
            auto* array = member.value().if_array();
            auto* map = member.key() == "labels" ? member.value().if_object() : nullptr;
            if (array != nullptr && !array->empty()) {
                array->resize(array->size() / 2);
            } else if (map != nullptr && !map->empty()) {
                for (std::size_t n = (map->size() + 1) / 2; n > 0; --n)
                    map->stable_erase(map->begin());
            } else {
                break;
            }
        }
    }
    for (const char* key : {"labels", "results"}) {
        const auto* value = object.if_contains(key);
        bool empty = value != nullptr && ((value->is_array() && value->get_array().empty()) ||
                                          (value->is_object() && value->get_object().empty()));
        if (empty) object.stable_erase(key);
    }
}

}  // namespace

json::Object fit(json::Object object) {
    json::Value data = std::move(object);
    if (json::dump(data).size() > kMaxEventBytes && !cutTexts(data, Which::kFree) &&
        !cutTexts(data, Which::kAll)) {
        dropElements(data);
    }
    return std::move(data.get_object());
}

}  // namespace aegis::execution::codec
