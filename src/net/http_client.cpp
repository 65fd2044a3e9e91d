#include "net/http_client.h"

#include <fmt/format.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <limits>

#include "base/assert.h"
#include "os/clock.h"

namespace aegis::net {
namespace {

constexpr std::size_t kReadBytes = 32U << 10;
constexpr std::size_t kSendBytes = 256U << 10;

bool isIdempotent(const std::string& method) {
    return method == "GET" || method == "HEAD" || method == "PUT" || method == "DELETE";
}

wire::RequestHead headOf(const ClientRequest& request, const Endpoint& endpoint) {
    wire::RequestHead head;
    head.method = request.method;
    head.target = request.target;
    head.headers = request.headers;
    head.headers.set("Host", endpoint.authority());
    head.headers.remove("Content-Length");
    head.headers.remove("Transfer-Encoding");
    bool has_body = !request.body.empty() || (request.method != "GET" && request.method != "HEAD");
    if (request.body_source) {
        head.headers.add("Transfer-Encoding", "chunked");
    } else if (has_body) {
        head.headers.add("Content-Length", std::to_string(request.body.size()));
    }
    return head;
}

}  // namespace

/// One request under way.
struct HttpConnection::Exchange {
    const ClientRequest& request;
    Deadline deadline;
    std::uint64_t limit;
    const OnHead& on_head;
    const OnChunk& on_chunk;
    bool answered_early = false;  ///< bytes came before everything was sent
    bool received = false;        ///< anything at all
    bool stopped = false;         ///< on_chunk said so
};

HttpConnection::HttpConnection(Endpoint endpoint, Connector connector)
    : endpoint_(std::move(endpoint)), connector_(std::move(connector)) {}
HttpConnection::~HttpConnection() = default;

void HttpConnection::cancel() { cancel_.signal(); }

Result<ClientResponse> HttpConnection::request(const ClientRequest& request, Deadline deadline,
                                               std::uint64_t limit) {
    return run(request, deadline, limit, {}, {});
}

Result<ClientResponse> HttpConnection::stream(const ClientRequest& request, Deadline deadline,
                                              const OnHead& on_head, const OnChunk& on_chunk) {
    AEGIS_ASSERT(on_chunk);
    return run(request, deadline, std::numeric_limits<std::uint64_t>::max(), on_head, on_chunk);
}

Result<ClientResponse> HttpConnection::run(const ClientRequest& request, Deadline deadline,
                                           std::uint64_t limit, const OnHead& on_head,
                                           const OnChunk& on_chunk) {
    if (fd_ && os::peerGone(fd_.get())) fd_.reset();
    bool reused = static_cast<bool>(fd_);
    Exchange exchange{request, deadline, limit, on_head, on_chunk};
    auto result = attempt(exchange);
    // A kept-alive connection may have been closed just now; nothing was answered, so where
    // repeating does no harm it is repeated, once, on a new one (RFC 9112 section 9.3.1).
    bool stale = !result && reused && !exchange.received && result.error().code == ErrorCode::kIo;
    if (!stale || !isIdempotent(request.method) || request.body_source) return result;
    Exchange again{request, deadline, limit, on_head, on_chunk};
    return attempt(again);
}

Result<ClientResponse> HttpConnection::attempt(Exchange& exchange) {
    AEGIS_CHECK(connect(exchange.deadline));
    auto result = [&]() -> Result<ClientResponse> {
        AEGIS_CHECK(sendRequest(exchange));
        AEGIS_TRY(auto head, readHead(exchange));
        AEGIS_TRY(auto framing, wire::responseFraming(head, exchange.request.method));
        ClientResponse response{head.status, head.headers, {}};
        if (exchange.on_head && !exchange.on_head(head))
            return {ErrorCode::kCancelled, "stopped by the caller"};
        wire::BodyDecoder decoder(framing, exchange.limit);
        AEGIS_CHECK(readBody(exchange, decoder, response));
        bool reusable = wire::keepsAlive(head.minor_version, head.headers) &&
                        framing.framing != wire::Framing::kUntilClose && buffer_.empty() &&
                        !exchange.answered_early && !exchange.stopped && head.status != 101;
        if (!reusable) fd_.reset();
        return response;
    }();
    if (!result) fd_.reset();
    return result;
}

Status HttpConnection::connect(Deadline deadline) {
    buffer_.clear();
    if (fd_) return {};
    if (endpoint_.is_tls) {
        if (!connector_)
            return {ErrorCode::kUnsupported,
                    fmt::format("{}: https is not spoken here", endpoint_.str())};
        AEGIS_TRY(fd_, connector_(endpoint_, deadline, cancel_.fd()));
    } else if (endpoint_.is_unix) {
        AEGIS_TRY(fd_, os::connectUnix(endpoint_.path, deadline));
    } else {
        AEGIS_TRY(fd_, os::connectTcp(endpoint_.host, endpoint_.port, deadline, cancel_.fd()));
    }
    return {};
}

Status HttpConnection::sendRequest(Exchange& exchange) {
    const auto& request = exchange.request;
    auto head = wire::serialize(headOf(request, endpoint_));
    if (!request.body_source) return sendPiece(exchange, head, request.body);
    AEGIS_CHECK(sendPiece(exchange, head, {}));
    while (!exchange.answered_early) {
        AEGIS_TRY(auto piece, request.body_source());
        if (piece.empty()) return sendPiece(exchange, wire::kLastChunk, {});
        AEGIS_CHECK(sendPiece(exchange, wire::encodeChunk(piece), {}));
    }
    return {};
}

/// Sends, watching for an answer that comes before the request is out: a server that refuses a
/// large body says so and stops reading, and waiting for it to read would never end.
Status HttpConnection::sendPiece(Exchange& exchange, std::string_view head,
                                 std::string_view bytes) {
    while (!head.empty() || !bytes.empty()) {
        auto wait = os::waitReady(fd_.get(), POLLIN | POLLOUT, exchange.deadline, cancel_.fd());
        AEGIS_CHECK(std::move(wait));
        pollfd polled{fd_.get(), POLLIN, 0};
        if (::poll(&polled, 1, 0) > 0) {
            exchange.answered_early = true;
            return {};
        }
        auto& part = head.empty() ? bytes : head;
        int more = head.empty() || bytes.empty() ? 0 : MSG_MORE;
        auto n =
            ::send(fd_.get(), part.data(), std::min(part.size(), kSendBytes), MSG_NOSIGNAL | more);
        if (n < 0 && (errno == EINTR || errno == EAGAIN)) continue;
        if (n < 0) return errnoError(errno, "send");
        part.remove_prefix(static_cast<std::size_t>(n));
    }
    return {};
}

Result<std::size_t> HttpConnection::fill(Exchange& exchange) {
    std::array<char, kReadBytes> chunk;
    auto deadline = exchange.deadline;
    if (auto idle_ms = exchange.request.idle_ms; idle_ms > 0)
        deadline = deadline.earlier(Deadline::in(os::systemClock().boot(), idle_ms));
    AEGIS_CHECK(os::waitReady(fd_.get(), POLLIN, deadline, cancel_.fd()));
    AEGIS_TRY(auto n, os::recvSome(fd_.get(), chunk, deadline, cancel_.fd()));
    buffer_.append(chunk.data(), n);
    if (n > 0) exchange.received = true;
    return n;
}

Result<wire::ResponseHead> HttpConnection::readHead(Exchange& exchange) {
    std::size_t scanned = 0;
    while (true) {
        AEGIS_TRY(auto size, wire::findHeadEnd(buffer_, wire::kDefaultHeadLimit, scanned));
        scanned = buffer_.size();
        if (size == 0) {
            AEGIS_TRY(auto n, fill(exchange));
            if (n == 0)
                return {ErrorCode::kIo, fmt::format("{}: closed the connection without an answer",
                                                    endpoint_.str())};
            continue;
        }
        AEGIS_TRY(auto head, wire::parseResponseHead(std::string_view(buffer_).substr(0, size)));
        buffer_.erase(0, size);
        scanned = 0;
        // Interim answers precede the real one; 101 is final.
        if (head.status / 100 != 1 || head.status == 101) return head;
    }
}

Status HttpConnection::readBody(Exchange& exchange, wire::BodyDecoder& decoder,
                                ClientResponse& response) {
    std::string decoded;
    auto& out = exchange.on_chunk ? decoded : response.body;
    while (true) {
        AEGIS_TRY(auto used, decoder.feed(buffer_, out));
        buffer_.erase(0, used);
        if (exchange.on_chunk && !decoded.empty()) {
            exchange.stopped = !exchange.on_chunk(decoded);
            decoded.clear();
            if (exchange.stopped) return {};
        }
        if (decoder.done()) return {};
        AEGIS_TRY(auto n, fill(exchange));
        if (n == 0) return decoder.finishAtEof();
    }
}

Result<ClientResponse> fetch(const Endpoint& endpoint, const ClientRequest& request,
                             Deadline deadline, std::uint64_t limit) {
    HttpConnection connection(endpoint);
    auto once = request;
    once.headers.set("Connection", "close");
    return connection.request(once, deadline, limit);
}

}  // namespace aegis::net
