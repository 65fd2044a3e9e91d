#include "wire/ndjson.h"

#include <fmt/format.h>

namespace aegis::wire {
namespace {

void deliver(std::string_view line, const LineSplitter::OnLine& on_line) {
    if (line.ends_with('\r')) line.remove_suffix(1);
    if (!line.empty()) on_line(line);
}

}  // namespace

Status LineSplitter::feed(std::string_view bytes, const OnLine& on_line) {
    if (failed_) return {ErrorCode::kTooLarge, "the stream of lines is broken"};
    while (!bytes.empty()) {
        auto end = bytes.find('\n');
        auto piece = bytes.substr(0, end);
        if (line_.size() + piece.size() > limit_) {
            failed_ = true;
            return {ErrorCode::kTooLarge, fmt::format("a line is larger than {} bytes", limit_)};
        }
        if (end == std::string_view::npos) {
            line_.append(piece);
            return {};
        }
        bytes.remove_prefix(end + 1);
        if (line_.empty()) {
            deliver(piece, on_line);
            continue;
        }
        line_.append(piece);
        deliver(line_, on_line);
        line_.clear();
    }
    return {};
}

Status LineSplitter::finish(const OnLine& on_line) {
    if (failed_) return {ErrorCode::kTooLarge, "the stream of lines is broken"};
    deliver(line_, on_line);
    line_.clear();
    return {};
}

}  // namespace aegis::wire
