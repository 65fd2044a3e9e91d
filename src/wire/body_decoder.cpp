#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "wire/http1.h"

namespace aegis::wire {
namespace {

constexpr std::size_t kMaxChunkLine = 4096;
constexpr std::uint64_t kMaxTrailerBytes = 16U << 10;

Status tooLarge(std::uint64_t limit) {
    return {ErrorCode::kTooLarge, fmt::format("the body is larger than {} bytes", limit)};
}

}  // namespace

BodyDecoder::BodyDecoder(BodyFraming framing, std::uint64_t limit) : limit_(limit) {
    switch (framing.framing) {
        case Framing::kNone:
            state_ = State::kDone;
            break;
        case Framing::kLength:
            state_ = framing.length == 0 ? State::kDone : State::kData;
            left_ = framing.length;
            break;
        case Framing::kChunked:
            state_ = State::kSize;
            break;
        case Framing::kUntilClose:
            state_ = State::kUntilClose;
            break;
    }
}

Result<std::size_t> BodyDecoder::feed(std::string_view in, std::string& out) {
    if (state_ == State::kData && left_ > limit_ - total_) return tooLarge(limit_).error();
    auto offered = in.size();
    while (state_ != State::kDone && !in.empty()) {
        if (state_ == State::kSize || state_ == State::kChunkEnd || state_ == State::kTrailer) {
            bool complete = false;
            AEGIS_CHECK(takeLine(in, complete));
            if (!complete) break;
            if (state_ == State::kTrailer) {
                AEGIS_CHECK(onTrailerLine());
            } else {
                AEGIS_CHECK(onSizeLine());
            }
            line_.clear();
            continue;
        }
        auto room = state_ == State::kUntilClose ? in.size() : left_;
        auto n = static_cast<std::size_t>(std::min<std::uint64_t>(room, in.size()));
        if (n > limit_ - total_) return tooLarge(limit_).error();
        out.append(in.data(), n);
        in.remove_prefix(n);
        total_ += n;
        if (state_ == State::kUntilClose) continue;
        left_ -= n;
        if (left_ == 0) state_ = state_ == State::kData ? State::kDone : State::kChunkEnd;
    }
    return offered - in.size();
}

Status BodyDecoder::takeLine(std::string_view& in, bool& complete) {
    auto lf = in.find('\n');
    complete = lf != std::string_view::npos;
    auto piece = in.substr(0, complete ? lf : in.size());
    if (line_.size() + piece.size() > kMaxChunkLine)
        return {ErrorCode::kInvalid, "a chunk's size line is too long"};
    line_.append(piece);
    in.remove_prefix(piece.size() + (complete ? 1 : 0));
    if (!complete) return {};
    if (!line_.ends_with('\r')) return {ErrorCode::kInvalid, "a bare LF between chunks"};
    line_.pop_back();
    auto control = [](char c) { return (static_cast<unsigned char>(c) < 0x20 && c != '\t'); };
    if (std::ranges::any_of(line_, control))
        return {ErrorCode::kInvalid, "a control character between chunks"};
    return {};
}

Status BodyDecoder::onSizeLine() {
    if (state_ == State::kChunkEnd) {
        if (!line_.empty()) return {ErrorCode::kInvalid, "a chunk is longer than its size"};
        state_ = State::kSize;
        return {};
    }
    std::uint64_t size = 0;
    const auto* end = line_.data() + line_.size();
    auto [at, ec] = std::from_chars(line_.data(), end, size, 16);
    // Extensions are allowed and ignored; anything else after the digits is two readings waiting to
    // differ.
    bool clean = at == end || *at == ';';
    if (ec != std::errc{} || !clean || line_[0] == '-' || at - line_.data() > 15)
        return {ErrorCode::kInvalid, "malformed chunk size"};
    if (size > limit_ - total_) return tooLarge(limit_);
    left_ = size;
    state_ = size == 0 ? State::kTrailer : State::kChunk;
    return {};
}

Status BodyDecoder::onTrailerLine() {
    trailer_bytes_ += line_.size() + 2;
    if (trailer_bytes_ > kMaxTrailerBytes) return {ErrorCode::kInvalid, "the trailer is too long"};
    if (line_.empty()) {
        state_ = State::kDone;
        return {};
    }
    auto colon = line_.find(':');
    if (colon == std::string::npos || !isValidField(std::string_view(line_).substr(0, colon), ""))
        return {ErrorCode::kInvalid, "malformed trailer field"};
    return {};
}

Status BodyDecoder::finishAtEof() {
    if (state_ == State::kUntilClose) state_ = State::kDone;
    if (state_ != State::kDone) return {ErrorCode::kIo, "the body was cut short"};
    return {};
}

}  // namespace aegis::wire
