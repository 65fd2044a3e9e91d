#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "base/result.h"
#include "base/time.h"
#include "os/fd.h"
#include "os/socket.h"
#include "wire/http1.h"

/// A small blocking HTTP/1.1 client over TCP or a unix socket: no proxy, no redirects, and TLS only
/// through a Connector (net/tls/tunnel.h).
namespace aegis::net {

struct Endpoint {
    bool is_unix = false;
    bool is_tls = false;
    std::string host;  ///< without brackets
    std::uint16_t port = 0;
    std::string path;  ///< of a unix socket

    /// As a user reads it: "localhost:9090", "https://host:9090", "unix:///run/x.sock".
    std::string str() const;
    /// For the Host field; "localhost" for a unix socket.
    std::string authority() const;
};

/// "host:port", "http://host:port", "https://host:port", "[::1]:port", "unix:///path". Without a
/// port: `default_port`, or kInvalid if that is 0. kInvalid for anything else.
Result<Endpoint> parseEndpoint(std::string_view text, std::uint16_t default_port = 0);

/// The next piece of a streamed upload; empty at its end. An error ends the request with that
/// error.
using BodySource = std::function<Result<std::string>()>;

struct ClientRequest {
    std::string method = "GET";
    std::string target = "/";  ///< already encoded
    wire::Headers headers;     ///< Host, Content-Length and Transfer-Encoding are set by the client
    std::string body;
    BodySource body_source;  ///< if set, sent chunked instead of `body`
    /// Of an answer: so long without a byte, and the request ends with kTimeout; 0: no bound but
    /// the deadline.
    std::int64_t idle_ms = 0;
};

struct ClientResponse {
    int status = 0;
    wire::Headers headers;
    std::string body;  ///< empty when streamed
};

/// Called with the head before any of the body; false ends the request with kCancelled.
using OnHead = std::function<bool(const wire::ResponseHead&)>;
/// Called with each piece of the body; false stops reading, which is not an error.
using OnChunk = std::function<bool(std::string_view chunk)>;

/// One connection, made when first needed, kept alive and made anew when the peer closed it. One
/// request at a time: one thread, but for cancel(). Errors: kUnreachable (no connection), kTimeout,
/// kCancelled, kTooLarge, kInvalid (the answer is no HTTP), kIo (cut in the middle). A status of
/// 400 and above is an answer, not an error.
class HttpConnection {
  public:
    /// Makes a socket that speaks plain text to an endpoint that speaks TLS.
    using Connector =
        std::function<Result<os::Fd>(const Endpoint& endpoint, Deadline deadline, int cancel_fd)>;
    /// Without a connector, https ends with kUnsupported.
    explicit HttpConnection(Endpoint endpoint, Connector connector = {});
    ~HttpConnection();
    HttpConnection(const HttpConnection&) = delete;
    HttpConnection& operator=(const HttpConnection&) = delete;

    /// The answer with its whole body, at most `limit` bytes.
    Result<ClientResponse> request(const ClientRequest& request, Deadline deadline,
                                   std::uint64_t limit = 16U << 20);
    /// The answer's body in pieces, as they come. `on_head` may be empty.
    Result<ClientResponse> stream(const ClientRequest& request, Deadline deadline,
                                  const OnHead& on_head, const OnChunk& on_chunk);

    /// Ends the running request and every later one with kCancelled. Any thread.
    void cancel();
    const Endpoint& endpoint() const { return endpoint_; }

  private:
    struct Exchange;
    Result<ClientResponse> run(const ClientRequest& request, Deadline deadline, std::uint64_t limit,
                               const OnHead& on_head, const OnChunk& on_chunk);
    Result<ClientResponse> attempt(Exchange& exchange);
    Status connect(Deadline deadline);
    Status sendRequest(Exchange& exchange);
    Status sendPiece(Exchange& exchange, std::string_view head, std::string_view bytes);
    Result<wire::ResponseHead> readHead(Exchange& exchange);
    Status readBody(Exchange& exchange, wire::BodyDecoder& decoder, ClientResponse& response);
    Result<std::size_t> fill(Exchange& exchange);

    Endpoint endpoint_;
    Connector connector_;
    os::Fd fd_;
    os::EventFd cancel_;
    std::string buffer_;  ///< received, not yet consumed
};

/// One request on a connection of its own.
Result<ClientResponse> fetch(const Endpoint& endpoint, const ClientRequest& request,
                             Deadline deadline, std::uint64_t limit = 16U << 20);

}  // namespace aegis::net
