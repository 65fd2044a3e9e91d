#include <fmt/format.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <ctime>
#include <utility>

#include "base/assert.h"
#include "net/connection.h"
#include "os/clock.h"

namespace aegis::net {
namespace {

/// Up to here a copy is cheaper than a second packet.
constexpr std::size_t kCopyBytes = 64U << 10;

/// RFC 9110 section 5.6.7, whatever the locale.
std::string httpDate() {
    constexpr std::array kDays{"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
    constexpr std::array kMonths{"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                 "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
    auto now = static_cast<std::time_t>(os::systemClock().utc().ms / 1000);
    std::tm t{};
    ::gmtime_r(&now, &t);
    return fmt::format("{}, {:02} {} {} {:02}:{:02}:{:02} GMT",
                       kDays[static_cast<std::size_t>(t.tm_wday)], t.tm_mday,
                       kMonths[static_cast<std::size_t>(t.tm_mon)], t.tm_year + 1900, t.tm_hour,
                       t.tm_min, t.tm_sec);
}

}  // namespace

std::string errorBody(ErrorCode code, std::string_view message) {
    std::string text;
    for (char c : message) {
        auto byte = static_cast<unsigned char>(c);
        if (c == '"' || c == '\\') {
            text.append({'\\', c});
        } else if (byte < 0x20 || byte >= 0x7f) {
            fmt::format_to(std::back_inserter(text), "\\u{:04x}", byte < 0x80 ? byte : 0xfffd);
        } else {
            text.push_back(c);
        }
    }
    return fmt::format(R"({{"error":{{"code":"{}","message":"{}","details":[]}}}})",
                       errorTraits(code).name, text);
}

Status ResponseWriter::transmitPromptly(std::string_view head, std::string_view body) {
    unsent_.append(head).append(body);
    auto n = ::send(connection_.socket.get(), unsent_.data(), unsent_.size(),
                    MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n >= 0) {
        unsent_.erase(0, static_cast<std::size_t>(n));
    } else if (errno != EAGAIN && errno != EINTR) {
        phase_ = Phase::kFailed;
        return {ErrorCode::kIo, "the client is gone"};
    }
    return {};
}

Status ResponseWriter::flush() {
    if (unsent_.empty()) return {};
    auto before = std::exchange(unsent_, {});
    return transmit(before, {});
}

Status ResponseWriter::transmit(std::string_view head, std::string_view body) {
    if (prompt_) return transmitPromptly(head, body);
    AEGIS_CHECK(flush());
    auto progress_ms = connection_.server().options.write_progress_ms;
    auto sent = os::sendAll(connection_.socket.get(), head, body, progress_ms, Deadline::never());
    if (!sent) phase_ = Phase::kFailed;
    return sent;
}

Status ResponseWriter::sendHead(int status, wire::Headers& headers, std::string_view body,
                                bool has_body) {
    wire::ResponseHead head;
    head.status = status_ = status;
    head.headers = std::move(headers);
    head.headers.set("Date", httpDate());
    if (!keep_alive_) {
        head.headers.set("Connection", "close");
    } else if (connection_.minorVersion() == 0) {
        head.headers.set("Connection", "keep-alive");
    } else {
        head.headers.remove("Connection");
    }
    return transmit(wire::serialize(head), has_body ? body : std::string_view{});
}

Status ResponseWriter::send(int status, wire::Headers headers, std::string_view body) {
    AEGIS_ASSERT(phase_ == Phase::kNone);
    bool no_content = status == 204 || status == 304;
    keep_alive_ = connection_.keepAlive();
    headers.remove("Transfer-Encoding");
    headers.remove("Content-Length");
    if (!no_content) headers.add("Content-Length", std::to_string(body.size()));
    phase_ = Phase::kDone;
    bool has_body = !no_content && !connection_.requestIsHead();
    if (has_body) body_bytes_ = body.size();
    return sendHead(status, headers, body, has_body);
}

Status ResponseWriter::sendJson(int status, std::string_view json) {
    return send(status, {{"Content-Type", "application/json"}}, json);
}

Status ResponseWriter::sendError(ErrorCode code, std::string_view message) {
    return sendJson(errorTraits(code).http_status, errorBody(code, message));
}

/// A piece of a streamed answer as it goes out, if it is short enough to be copied.
std::string ResponseWriter::framed(std::string_view piece) {
    if (bodiless_ || piece.empty()) return {};
    body_bytes_ += piece.size();
    return chunked_ ? wire::encodeChunk(piece) : std::string(piece);
}

Status ResponseWriter::begin(int status, wire::Headers headers, std::string_view first) {
    AEGIS_ASSERT(phase_ == Phase::kNone);
    bool no_content = status == 204 || status == 304;
    bodiless_ = no_content || connection_.requestIsHead();
    chunked_ = !no_content && connection_.minorVersion() >= 1;
    keep_alive_ = connection_.keepAlive() && (chunked_ || no_content) &&
                  !headers.hasToken("Connection", "close");
    headers.remove("Transfer-Encoding");
    headers.remove("Content-Length");
    if (chunked_) headers.add("Transfer-Encoding", "chunked");
    phase_ = Phase::kStreaming;
    if (first.size() <= kCopyBytes) return sendHead(status, headers, framed(first), true);
    AEGIS_CHECK(sendHead(status, headers, {}, false));
    return write(first);
}

Status ResponseWriter::write(std::string_view bytes) {
    if (phase_ == Phase::kFailed) return {ErrorCode::kIo, "the client is gone"};
    AEGIS_ASSERT(phase_ == Phase::kStreaming);
    if (bodiless_ || bytes.empty()) return {};
    if (bytes.size() <= kCopyBytes) return transmit(framed(bytes), {});
    body_bytes_ += bytes.size();
    if (!chunked_) return transmit({}, bytes);
    AEGIS_CHECK(transmit(fmt::format("{:x}\r\n", bytes.size()), bytes));
    return transmit("\r\n", {});
}

Status ResponseWriter::end(std::string_view last) {
    if (last.size() > kCopyBytes) {
        AEGIS_CHECK(write(last));
        last = {};
    }
    if (phase_ == Phase::kFailed) return {ErrorCode::kIo, "the client is gone"};
    AEGIS_ASSERT(phase_ == Phase::kStreaming);
    phase_ = Phase::kDone;
    auto bytes = framed(last);
    if (chunked_ && !bodiless_) bytes += wire::kLastChunk;
    return transmit(bytes, {});
}

bool ResponseWriter::clientGone() const {
    return phase_ == Phase::kFailed || os::peerGone(connection_.socket.get());
}

int ResponseWriter::socket() const { return connection_.socket.get(); }

os::Fd ResponseWriter::detach() {
    if (phase_ != Phase::kStreaming) return {};
    if (bodiless_) {
        phase_ = Phase::kDone;
        return {};
    }
    phase_ = Phase::kDetached;
    std::lock_guard lock(connection_.server().mutex);
    return std::move(connection_.socket);
}

}  // namespace aegis::net
