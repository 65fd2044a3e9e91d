#include "net/connection.h"

#include <fmt/format.h>
#include <poll.h>
#include <sys/socket.h>

#include <optional>

#include "base/log.h"
#include "os/clock.h"

namespace aegis::net {
namespace {

constexpr std::size_t kReadBytes = 16U << 10;
constexpr std::uint64_t kDefaultBodyLimit = 1U << 20;
constexpr std::size_t kMaxTargetBytes = 8U << 10;
constexpr std::int64_t kDrainMs = 2'000;
constexpr std::size_t kDrainBytes = 64U << 20;
constexpr int kMaxLeadingBlankLines = 4;

Deadline in(std::int64_t ms) { return Deadline::in(os::systemClock().boot(), ms); }

}  // namespace

Connection::Connection(Server::Impl& server, os::Fd accepted, std::string peer)
    : since(os::systemClock().boot()),
      socket(std::move(accepted)),
      server_(server),
      peer_(std::move(peer)) {}

void Connection::run() {
    scratch_.resize(kReadBytes);
    while (serveOne()) {
    }
    if (lingering_) drain();
    server_.forget(*this);
}

void Connection::setPhase(Phase next) {
    std::lock_guard lock(server_.mutex);
    if (phase != next) since = os::systemClock().boot();
    phase = next;
}

bool Connection::keepAlive() const {
    if (!wire::keepsAlive(head_.minor_version, head_.headers) || server_.stopping()) return false;
    std::lock_guard lock(server_.mutex);
    return !evicted && requests_ < server_.options.max_requests;
}

bool Connection::serveOne() {
    Request request;
    has_head_ = false;
    path_.clear();
    auto refusal = readHead();
    if (!refusal) refusal = admit(request);
    if (!refusal) refusal = readBody(request);
    if (refusal) {
        if (refusal->status != 0) refuse(*refusal);
        return false;
    }
    return answer(request);
}

Connection::Step Connection::receive(Deadline deadline) {
    auto n = os::recvSome(socket.get(), scratch_, deadline);
    if (!n && n.error().code == ErrorCode::kTimeout)
        return Refusal{408, ErrorCode::kTimeout, "the request took too long to arrive"};
    if (!n || *n == 0) return Refusal{};
    buffer_.append(scratch_.data(), *n);
    return {};
}

Connection::Step Connection::readHead() {
    const auto& options = server_.options;
    bool first = requests_ == 0;
    if (!first && buffer_.empty()) {
        setPhase(Phase::kIdle);
        // After setPhase(): either stop() has seen this connection idle, or it is seen stopping
        // here.
        if (server_.stopping()) return Refusal{};
        if (auto over = receive(in(options.idle_time_ms))) return Refusal{};
    }
    setPhase(first && buffer_.empty() ? Phase::kFresh : Phase::kHead);
    auto deadline = in(options.header_time_ms);
    std::size_t scanned = 0;
    int blank_lines = 0;
    while (true) {
        while (buffer_.starts_with("\r\n") && blank_lines++ < kMaxLeadingBlankLines)
            buffer_.erase(0, 2);
        auto size = wire::findHeadEnd(buffer_, options.header_limit_bytes, scanned);
        if (!size) {
            bool large = size.error().code == ErrorCode::kTooLarge;
            bool in_target = buffer_.find("\r\n") == std::string::npos;
            int status = !large ? 400 : in_target ? 414 : 431;
            return Refusal{status, size.error().code, size.error().message};
        }
        if (*size > 0) {
            auto parsed = wire::parseRequestHead(std::string_view(buffer_).substr(0, *size));
            if (!parsed) {
                auto code = parsed.error().code;
                int status = code == ErrorCode::kUnsupported ? 505
                             : code == ErrorCode::kTooLarge  ? 431
                                                             : 400;
                return Refusal{status, code, parsed.error().message};
            }
            head_ = std::move(*parsed);
            has_head_ = true;
            head_at_ = os::systemClock().boot();
            buffer_.erase(0, *size);
            ++requests_;
            setPhase(Phase::kReading);
            return {};
        }
        scanned = buffer_.size();
        bool started = !buffer_.empty();
        if (auto over = receive(deadline)) return started ? over : Refusal{};
        if (!started) setPhase(Phase::kHead);
    }
}

Connection::Step Connection::admit(Request& request) {
    if (head_.target.size() > kMaxTargetBytes)
        return Refusal{414, ErrorCode::kTooLarge,
                       fmt::format("the target is longer than {} bytes", kMaxTargetBytes)};
    auto target = wire::parseTarget(head_.target);
    if (!target) return Refusal{400, target.error().code, target.error().message};
    path_ = target->path;
    if (!server_.admits(*this, head_.method, target->path))
        return Refusal{503, ErrorCode::kUnavailable, "too many connections, try again later"};
    request.method = head_.method;
    request.target = head_.target;
    request.path = std::move(target->path);
    request.query = std::move(target->query);
    request.peer.kind = server_.kind;
    request.peer.address = peer_;
    if (server_.kind != PeerKind::kUnix) return {};
    if (!cred_) {
        auto cred = os::peerCred(socket.get());
        if (!cred) return Refusal{};
        cred_ = *cred;
    }
    request.peer.cred = *cred_;
    return {};
}

Connection::Step Connection::checkExpect(bool has_body) {
    const auto* expect = head_.headers.find("Expect");
    if (expect == nullptr || head_.minor_version == 0) return {};
    if (!wire::equalsNoCase(*expect, "100-continue"))
        return Refusal{417, ErrorCode::kUnsupported, "unknown expectation"};
    if (!has_body || !buffer_.empty()) return {};
    auto sent = os::sendAll(socket.get(), "HTTP/1.1 100 Continue\r\n\r\n", {},
                            server_.options.write_progress_ms, Deadline::never());
    return sent ? Step{} : Step{Refusal{}};
}

Connection::Step Connection::readBody(Request& request) {
    auto framing = wire::requestFraming(head_);
    if (!framing) {
        int status = framing.error().code == ErrorCode::kUnsupported ? 501 : 400;
        return Refusal{status, framing.error().code, framing.error().message};
    }
    const auto& options = server_.options;
    auto limit =
        options.body_limit ? options.body_limit(request.method, request.path) : kDefaultBodyLimit;
    if (framing->framing == wire::Framing::kLength && framing->length > limit)
        return Refusal{413, ErrorCode::kTooLarge,
                       fmt::format("the body is larger than {} bytes", limit)};
    wire::BodyDecoder decoder(*framing, limit);
    if (auto refusal = checkExpect(!decoder.done())) return refusal;
    auto deadline = in(options.body_time_ms);
    while (true) {
        auto used = decoder.feed(buffer_, request.body);
        if (!used) {
            int status = used.error().code == ErrorCode::kTooLarge ? 413 : 400;
            return Refusal{status, used.error().code, used.error().message};
        }
        buffer_.erase(0, *used);
        if (decoder.done()) break;
        if (auto over = receive(deadline)) return over;
    }
    request.headers = head_.headers;
    return {};
}

bool Connection::answer(const Request& request) {
    setPhase(Phase::kHandling);
    ResponseWriter writer(*this);
    try {
        server_.handler(request, writer);
    } catch (const std::exception& e) {
        log(LogLevel::kError, "a handler threw",
            {{"server", server_.options.name}, {"path", request.path}, {"error", e.what()}});
    } catch (...) {
        log(LogLevel::kError, "a handler threw", {{"path", request.path}});
    }
    if (writer.phase_ == ResponseWriter::Phase::kNone)
        (void)writer.sendError(ErrorCode::kInternal, "the request was not answered");
    tell({.route = writer.route_,
          .principal = writer.principal_,
          .status = writer.status_,
          .bytes = writer.body_bytes_});
    if (writer.phase_ == ResponseWriter::Phase::kStreaming && !writer.chunked_) {
        // Without chunks a proper close would look like the end of the body: reset instead.
        linger hard{1, 0};
        ::setsockopt(socket.get(), SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
    }
    if (writer.phase_ != ResponseWriter::Phase::kDone) return false;
    if (writer.keep_alive_) return true;
    lingering_ = true;
    return false;
}

/// Completes what a request's end is told with, and tells it.
void Connection::tell(Answered answered) {
    if (!server_.options.on_answered) return;
    if (has_head_) {
        answered.method = head_.method;
        answered.us = (os::systemClock().boot().ns - head_at_.ns) / 1000;
    }
    answered.path = path_;
    answered.peer = peer_;
    server_.options.on_answered(answered);
}

void Connection::refuse(const Refusal& refusal) {
    const auto& shape = server_.options.refusal_body;
    auto body = shape ? shape(path_, {refusal.code, refusal.message}) : std::string();
    if (body.empty()) body = errorBody(refusal.code, refusal.message);
    wire::ResponseHead head;
    head.status = refusal.status;
    head.headers = {{"Content-Type", "application/json"},
                    {"Content-Length", std::to_string(body.size())},
                    {"Connection", "close"}};
    if (has_head_ && requestIsHead()) body.clear();
    lingering_ = os::sendAll(socket.get(), wire::serialize(head), body,
                             server_.options.write_progress_ms, Deadline::never())
                     .has_value();
    tell({.status = refusal.status, .bytes = body.size()});
}

/// Closing with unread input makes the kernel send a reset, which can overtake the answer: say that
/// no more is coming, then take what the client still sends.
void Connection::drain() {
    setPhase(Phase::kLingering);
    ::shutdown(socket.get(), SHUT_WR);
    auto deadline = in(server_.stopping() ? 0 : kDrainMs);
    std::size_t total = 0;
    while (total < kDrainBytes) {
        auto n = os::recvSome(socket.get(), scratch_, deadline);
        if (!n || *n == 0 || deadline.passed(os::systemClock().boot())) return;
        total += *n;
    }
}

}  // namespace aegis::net
