#include "wire/sse.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

namespace aegis::wire {
namespace {

std::string oneLine(std::string_view text) {
    std::string out(text);
    std::erase_if(out, [](char c) { return c == '\r' || c == '\n' || c == '\0'; });
    return out;
}

/// "<prefix><line>\n" for each line of `text`, whichever line ends it uses.
void appendLines(std::string& out, std::string_view prefix, std::string_view text) {
    while (true) {
        auto end = text.find_first_of("\r\n");
        out.append(prefix).append(text.substr(0, end)).append("\n");
        if (end == std::string_view::npos) return;
        bool crlf = text.substr(end).starts_with("\r\n");
        text.remove_prefix(end + (crlf ? 2 : 1));
    }
}

}  // namespace

std::string encodeSse(const SseEvent& event) {
    std::string out;
    out.reserve(event.data.size() + 64);
    if (!event.event.empty()) out.append("event: ").append(oneLine(event.event)).append("\n");
    if (!event.id.empty()) out.append("id: ").append(oneLine(event.id)).append("\n");
    if (event.retry_ms) fmt::format_to(std::back_inserter(out), "retry: {}\n", *event.retry_ms);
    appendLines(out, "data: ", event.data);
    out += "\n";
    return out;
}

std::string encodeSseComment(std::string_view text) {
    std::string out;
    appendLines(out, ": ", text);
    out += "\n";
    return out;
}

Status SseReader::feed(std::string_view bytes, const OnEvent& on_event) {
    if (failed_) return {ErrorCode::kInvalid, "the event stream is broken"};
    while (!bytes.empty()) {
        if (after_cr_ && bytes[0] == '\n') bytes.remove_prefix(1);
        after_cr_ = false;
        auto end = bytes.find_first_of("\r\n");
        auto piece = bytes.substr(0, end);
        if (line_.size() + piece.size() + current_.data.size() > limit_) {
            failed_ = true;
            return {ErrorCode::kTooLarge, fmt::format("an event is larger than {} bytes", limit_)};
        }
        line_.append(piece);
        if (end == std::string_view::npos) return {};
        after_cr_ = bytes[end] == '\r';
        bytes.remove_prefix(end + 1);
        onLine(on_event);
        line_.clear();
    }
    return {};
}

void SseReader::onLine(const OnEvent& on_event) {
    std::string_view line = line_;
    if (at_start_ && line.starts_with("\xEF\xBB\xBF")) line.remove_prefix(3);
    at_start_ = false;
    if (line.empty()) {
        if (has_data_) {
            current_.data.pop_back();
            on_event(current_);
        }
        current_.data.clear();
        current_.event.clear();
        current_.retry_ms.reset();
        has_data_ = false;
        return;
    }
    auto colon = line.find(':');
    if (colon == 0) return;
    auto value = colon == std::string_view::npos ? std::string_view{} : line.substr(colon + 1);
    if (value.starts_with(' ')) value.remove_prefix(1);
    onField(line.substr(0, colon), value);
}

void SseReader::onField(std::string_view name, std::string_view value) {
    if (name == "data") {
        current_.data.append(value).append("\n");
        has_data_ = true;
    } else if (name == "event") {
        current_.event = value;
    } else if (name == "id") {
        if (value.find('\0') == std::string_view::npos) current_.id = value;
    } else if (name == "retry") {
        std::int64_t ms = 0;
        const auto* end = value.data() + value.size();
        auto digits = [](char c) { return c >= '0' && c <= '9'; };
        if (!value.empty() && std::ranges::all_of(value, digits) &&
            std::from_chars(value.data(), end, ms).ec == std::errc{})
            current_.retry_ms = ms;
    }
}

}  // namespace aegis::wire
