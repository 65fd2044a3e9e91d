#pragma once

#include <memory>
#include <string>
#include <vector>

#include "egress/dialer.h"
#include "ports/web.h"

namespace aegis::egress {

struct FetcherOptions {
    std::vector<std::string> allow_private;          ///< as PrivateAccess::parse() takes them
    std::uint64_t max_response_bytes = 104'857'600;  ///< a lower bound than the request's counts
    std::size_t max_threads = 128;
    std::size_t max_of_one = 8;  ///< of one sandbox at the same time
    std::int64_t dial_ms = 15'000;
};

/// Fetches pages for `web.fetch`: the dialer decides, resolves and connects, as for the proxy;
/// libcurl speaks over that one connection. Redirects are followed here, each as a new decision. A
/// thread of a bounded pool waits for each fetch; pool, libcurl and its thread are made when first
/// needed. Any thread.
class Fetcher : public ports::Web {
  public:
    /// kInvalid for what allow_private cannot be.
    static Result<std::unique_ptr<Fetcher>> create(
        FetcherOptions options,
        std::unique_ptr<Resolver> resolver = std::make_unique<SystemResolver>());
    ~Fetcher() override;  ///< ends all fetches and waits for them

    Status check(const std::string& url) const override;
    void fetch(ports::WebRequest request,
               std::function<void(Result<ports::WebAnswer>)> done) override;

  private:
    class Impl;
    explicit Fetcher(std::unique_ptr<Impl> impl);
    std::unique_ptr<Impl> impl_;
};

/// Whether a body of this Content-Type is text: what a model can read. Pure.
bool isText(std::string_view content_type);

}  // namespace aegis::egress
