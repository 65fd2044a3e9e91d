#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "egress/policy.h"
#include "wire/http1.h"

namespace aegis::egress {

/// A plain HTTP request as the proxy got it, and what it sends on.
struct ProxyRequest {
    Authority to;
    wire::RequestHead forwarded;
    wire::BodyFraming framing;
};

/// Judges the head of a request with an absolute "http://" target (RFC 9112 3.2.2): the authority
/// is the target's, and Host must say the same. kInvalid, kUnsupported for whatever two readers
/// could take apart differently. What is forwarded has no hop-by-hop field (RFC 9110 7.6.1), and
/// says how its body is framed in one way only. Pure.
Result<ProxyRequest> readProxyRequest(const wire::RequestHead& head);

/// The authority of CONNECT (RFC 9110 9.3.6); a body or an other Host is kInvalid.
Result<Authority> readConnect(const wire::RequestHead& head);

/// Bytes in one direction, taken apart and put together again. One thread.
class Filter {
  public:
    virtual ~Filter() = default;
    /// Appends to `out` what is to be sent on. After an error, what is in `out` still is.
    virtual Status feed(std::string_view in, std::string& out) = 0;
    /// The source has ended.
    virtual Status finish(std::string& out) = 0;
    /// Nothing more is to be read.
    virtual bool done() const = 0;
};

/// The body of a request, framed as readProxyRequest() says.
std::unique_ptr<Filter> requestBody(wire::BodyFraming framing, std::uint64_t limit);

/// The one answer to a request: its hop-by-hop fields dropped, `Connection: close` set, its body
/// taken apart and framed anew. `minor_version` is the guest's. A broken head becomes a 502.
std::unique_ptr<Filter> responseTo(std::string method, int minor_version, std::uint64_t limit);

/// A whole small answer of the proxy's own.
std::string ownAnswer(int status, std::string_view text);

}  // namespace aegis::egress
