#include "execution/bodies.h"

namespace aegis::execution {
namespace {

void collect(const json::Value& value, std::vector<BodyRef>& out) {
    if (const auto* array = value.if_array()) {
        for (const auto& element : *array)
            collect(element, out);
    }
    const auto* object = value.if_object();
    if (object == nullptr) return;
    if (auto digest = json::getString(value, "sha256"); !digest.empty())
        out.push_back(
            {std::string(digest), static_cast<std::uint64_t>(json::getInt(value, "size"))});
    for (const auto& member : *object)
        collect(member.value(), out);
}

}  // namespace

std::vector<BodyRef> bodiesOf(const Event& event) {
    std::vector<BodyRef> out;
    collect(json::Value(encodeData(event)), out);
    return out;
}

}  // namespace aegis::execution
