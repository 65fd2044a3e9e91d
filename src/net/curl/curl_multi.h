#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"
#include "base/secret.h"
#include "base/time.h"
#include "os/fd.h"
#include "wire/headers.h"

/// Outgoing HTTP and HTTPS for the daemon, through libcurl. Kept apart from net so that the command
/// line client loads neither libcurl nor OpenSSL.
namespace aegis::net {

using TransferId = std::uint64_t;

struct CurlRequest {
    std::string url;  ///< http or https
    std::string method = "POST";
    std::vector<std::pair<std::string, std::string>> headers;
    std::vector<std::pair<std::string, Secret>> secret_headers;
    /// shared_ptr: several attempts and the transfer that sends it share one copy. May be null.
    std::shared_ptr<const std::string> body;
    std::int64_t connect_timeout_ms = 10'000;
    Deadline deadline;
    std::uint64_t max_response_bytes = 8U << 20;  ///< of the body; kTooLarge beyond
    std::string proxy;                            ///< empty: none, whatever the environment says
    /// Connected to `connection_to`: an address ("192.0.2.1", "[2001:db8::1]") and its port. The
    /// request goes over it and over no other, no name is resolved, and it is closed after it.
    os::Fd connection;
    std::string connection_to;
};

struct CurlHead {
    int status = 0;
    wire::Headers headers;
};

struct CurlResult {
    /// Empty on success (any status is a success). kUnreachable (refused, unknown name, TLS
    /// refused), kTimeout, kTooLarge, kIo (cut in mid-answer), kCancelled (aborted by on_data),
    /// kInvalid (the URL).
    std::optional<Error> error;
    int http_status = 0;  ///< 0 if no head arrived
    wire::Headers headers;
    std::uint64_t bytes = 0;  ///< of HTTP, in both directions
};

enum class OnDataVerdict : std::uint8_t {
    kContinue,
    kPause,  ///< nothing of the chunk was taken: it comes again after resume()
    kAbort,
};

/// All three run on the curl thread, must not block and may call the CurlMulti.
struct CurlCallbacks {
    std::function<void(const CurlHead&)> on_head;  ///< optional; once, before the body
    std::function<OnDataVerdict(std::string_view chunk)> on_data;
    std::function<void(CurlResult)> on_done;  ///< exactly once, unless cancelled
};

/// One thread that owns one curl_multi and its pool of kept-alive connections. No redirects, no
/// cookies, no proxy unless asked, certificates always verified. Any thread.
class CurlMulti {
  public:
    static Result<std::unique_ptr<CurlMulti>> create();
    ~CurlMulti();  ///< aborts all transfers without calling back
    CurlMulti(const CurlMulti&) = delete;
    CurlMulti& operator=(const CurlMulti&) = delete;

    TransferId start(CurlRequest request, CurlCallbacks callbacks);
    /// Aborts the transfer at once. Once it returns no callback of it is running or will run (from
    /// within a callback: none of it after that one). Waits for the callback that is running, so
    /// hold no lock that a callback takes. Unknown ids are ignored.
    void cancel(TransferId id);
    /// Goes on after kPause.
    void resume(TransferId id);

  private:
    class Impl;
    explicit CurlMulti(std::unique_ptr<Impl> impl);
    std::unique_ptr<Impl> impl_;
};

}  // namespace aegis::net
