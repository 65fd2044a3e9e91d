#include "egress/fetcher.h"

#include <fmt/format.h>
#include <poll.h>

#include <algorithm>
#include <array>
#include <map>
#include <mutex>

#include "net/curl/curl_multi.h"
#include "net/curl/url.h"
#include "net/elastic_pool.h"
#include "os/clock.h"
#include "os/socket.h"
#include "text/escape.h"

namespace aegis::egress {
namespace {

constexpr std::size_t kStackBytes = 512U << 10;
constexpr std::size_t kIdleThreads = 2;
constexpr int kMaxRedirects = 5;

/// What a server says, in a message.
std::string shown(std::string_view text) {
    return text::shorten(text::escapeControl(text::headUtf8(text, 1024)), 300);
}

bool isRedirect(int status) {
    return status == 301 || status == 302 || status == 303 || status == 307 || status == 308;
}

std::string lowerWithoutParameters(std::string_view content_type) {
    auto end = content_type.find_first_of("; \t");
    std::string out(content_type.substr(0, end));
    std::ranges::transform(out, out.begin(), [](char c) {
        return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
    });
    return out;
}

/// Takes one answer's body, as far as it is wanted. Filled on curl's thread, read after its end.
struct Receiver {
    std::uint64_t limit = 0;
    std::string body;
    bool redirect = false;
    bool truncated = false;
    std::string refusal;

    void head(const net::CurlHead& head) {
        redirect = isRedirect(head.status) && head.headers.find("Location") != nullptr;
        auto type = head.headers.get("Content-Type");
        auto encoding = head.headers.get("Content-Encoding", "identity");
        // Nothing is unpacked here: a small answer could become a large one.
        if (!wire::equalsNoCase(encoding, "identity"))
            refusal =
                fmt::format("HTTP {}: the answer is compressed ({})", head.status, shown(encoding));
        else if (!isText(type))
            refusal = fmt::format("HTTP {}: the answer is {}, not text", head.status, shown(type));
    }
    net::OnDataVerdict data(std::string_view chunk) {
        if (redirect || !refusal.empty()) return net::OnDataVerdict::kAbort;
        auto room = limit - body.size();
        truncated = chunk.size() > room;
        body += chunk.substr(0, room);
        return truncated ? net::OnDataVerdict::kAbort : net::OnDataVerdict::kContinue;
    }
};

}  // namespace

bool isText(std::string_view content_type) {
    auto type = lowerWithoutParameters(content_type);
    if (type.empty() || type.starts_with("text/")) return true;
    constexpr auto kTypes = std::to_array<std::string_view>(
        {"application/json", "application/ld+json", "application/xml", "application/javascript",
         "application/ecmascript", "application/x-javascript", "application/x-ndjson",
         "application/jsonlines", "application/yaml", "application/x-yaml", "application/toml",
         "application/sql", "application/graphql", "application/x-sh", "application/x-httpd-php",
         "application/x-www-form-urlencoded"});
    return std::ranges::find(kTypes, type) != kTypes.end() ||
           (type.starts_with("application/") &&
            (type.ends_with("+json") || type.ends_with("+xml")));
}

class Fetcher::Impl {
  public:
    Impl(std::unique_ptr<Resolver> resolver, PrivateAccess access, FetcherOptions options)
        : resolver_(std::move(resolver)),
          dialer_(*resolver_, std::move(access)),
          options_(std::move(options)),
          pool_(options_.max_threads, kIdleThreads, kStackBytes) {}
    ~Impl() { ending_.request_stop(); }

    void fetch(ports::WebRequest request, std::function<void(Result<ports::WebAnswer>)> done) {
        auto sandbox = request.sandbox;
        if (!enter(sandbox)) {
            done(Error(ErrorCode::kTooMany, "too many fetches at once"));
            return;
        }
        // Shared: the pool's job must be copyable.
        auto shared = std::make_shared<ports::WebRequest>(std::move(request));
        bool taken = pool_.run([this, shared, done] {
            auto answer = follow(*shared);
            leave(shared->sandbox);
            done(std::move(answer));
        });
        if (taken) return;
        leave(sandbox);
        done(Error(ErrorCode::kTooMany, "too many fetches at once"));
    }

  private:
    /// An answer, or where it says to look instead.
    struct Page {
        ports::WebAnswer answer;
        std::string location;
    };

    bool enter(const ports::SandboxId& sandbox) {
        std::lock_guard lock(mutex_);
        auto& count = running_[sandbox];
        if (count >= options_.max_of_one) return false;
        ++count;
        return true;
    }
    void leave(const ports::SandboxId& sandbox) {
        std::lock_guard lock(mutex_);
        auto found = running_.find(sandbox);
        if (--found->second == 0) running_.erase(found);
    }

    Result<net::CurlMulti*> curl() {
        std::lock_guard lock(mutex_);
        if (!curl_) {
            AEGIS_TRY(curl_, net::CurlMulti::create());
        }
        return curl_.get();
    }

    Result<ports::WebAnswer> follow(const ports::WebRequest& request) {
        os::EventFd over;
        std::stop_callback by_caller(request.stop, [&over] { over.signal(); });
        std::stop_callback by_daemon(ending_.get_token(), [&over] { over.signal(); });
        AEGIS_TRY(auto url, net::parseUrl(request.url));
        for (int hops = 0;; ++hops) {
            auto page = get(request, url, over.fd());
            if (!page) return hops == 0 ? page.error() : redirected(url, page.error());
            if (page->location.empty()) return std::move(page->answer);
            if (hops == kMaxRedirects)
                return {ErrorCode::kIo, fmt::format("more than {} redirects", kMaxRedirects)};
            auto next = net::parseUrl(page->location, &url);
            if (!next) return std::move(next.error()).within("redirected");
            if (url.scheme == "https" && next->scheme != "https") {
                constexpr auto kWhy = "a redirect from https to http is not followed";
                request.decided({false, hostOf(*next), next->port, kWhy, 0});
                return redirected(*next, {ErrorCode::kPermissionDenied, kWhy});
            }
            url = std::move(*next);
        }
    }

    static Error redirected(const net::Url& to, const Error& error) {
        return {error.code, fmt::format("redirected to {}: {}", shown(to.text), error.message)};
    }
    static std::string hostOf(const net::Url& url) {
        auto host = Host::parse(url.host);
        return host ? host->text : std::string();
    }

    /// One request to one host.
    Result<Page> get(const ports::WebRequest& request, const net::Url& url, int cancel_fd) {
        auto host = Host::parse(url.host);
        if (!host) {
            request.decided({false, {}, 0, host.error().message, 0});
            return host.error();
        }
        const Authority to{std::move(*host), url.port};
        auto soon = Deadline::in(os::systemClock().boot(), options_.dial_ms);
        auto dialed =
            dialer_.dial(Policy(request.network), to, request.deadline.earlier(soon), cancel_fd);
        if (!dialed) {
            auto& error = dialed.error();
            bool allowed = error.code != ErrorCode::kPermissionDenied;
            request.decided({allowed, to.host.text, to.port, error.message, 0});
            return error;
        }
        Receiver receiver;
        receiver.limit = std::min(request.max_bytes, options_.max_response_bytes);
        auto result = transfer(request, url, std::move(*dialed), receiver, cancel_fd);
        // What was broken off here has served its purpose.
        bool enough = receiver.redirect || receiver.truncated || !receiver.refusal.empty();
        if (result.error && enough && result.http_status > 0) result.error.reset();
        request.decided({true, to.host.text, to.port,
                         result.error ? result.error->message : receiver.refusal, result.bytes});
        if (result.error) return std::move(*result.error);
        Page page;
        if (receiver.redirect) {
            page.location = result.headers.get("Location");
            if (page.location.empty()) return {ErrorCode::kIo, "a redirect to nowhere"};
            return page;
        }
        if (!receiver.refusal.empty()) return {ErrorCode::kUnsupported, receiver.refusal};
        if (receiver.body.find('\0') != std::string::npos)
            return {ErrorCode::kUnsupported,
                    fmt::format("HTTP {}: the answer is not text", result.http_status)};
        page.answer = {result.http_status, url.text,
                       std::string(result.headers.get("Content-Type")), std::move(receiver.body),
                       receiver.truncated};
        return page;
    }

    net::CurlResult transfer(const ports::WebRequest& request, const net::Url& url, Dialed dialed,
                             Receiver& receiver, int cancel_fd) {
        net::CurlResult result;
        auto multi = curl();
        if (!multi) {
            result.error = multi.error();
            return result;
        }
        net::CurlRequest out;
        out.url = url.text;
        out.method = "GET";
        out.headers = {{"Accept", "text/*, application/json, */*;q=0.5"}};
        out.deadline = request.deadline;
        out.max_response_bytes = receiver.limit + (1U << 20);  // the receiver's own comes first
        auto address = dialed.address.str();
        if (!dialed.address.isV4()) address = "[" + address + "]";
        out.connection = std::move(dialed.fd);
        out.connection_to = fmt::format("{}:{}", address, url.port);
        os::EventFd ended;
        net::CurlCallbacks callbacks;
        callbacks.on_head = [&receiver](const net::CurlHead& head) { receiver.head(head); };
        callbacks.on_data = [&receiver](std::string_view chunk) { return receiver.data(chunk); };
        callbacks.on_done = [&result, &ended](net::CurlResult end) {
            result = std::move(end);
            ended.signal();
        };
        auto id = (*multi)->start(std::move(out), std::move(callbacks));
        // curl keeps the deadline too; a second more, so that it is the one who says what was.
        auto patience = request.deadline;
        if (!patience.isNever()) patience.at.ns += 1'000'000'000;
        auto waited = os::waitReady(ended.fd(), POLLIN, patience, cancel_fd);
        // Nothing is called back any more, nor is a callback still running, once this returns.
        (*multi)->cancel(id);
        if (!waited) result.error = std::move(waited.error());
        return result;
    }

    const std::unique_ptr<Resolver> resolver_;
    Dialer dialer_;
    const FetcherOptions options_;
    std::stop_source ending_;
    std::mutex mutex_;
    std::map<ports::SandboxId, std::size_t> running_;
    std::unique_ptr<net::CurlMulti> curl_;
    net::ElasticPool pool_;  ///< last: gone first, its threads use the rest
};

Fetcher::Fetcher(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Fetcher::~Fetcher() = default;

Result<std::unique_ptr<Fetcher>> Fetcher::create(FetcherOptions options,
                                                 std::unique_ptr<Resolver> resolver) {
    AEGIS_TRY(auto access, PrivateAccess::parse(options.allow_private));
    return std::unique_ptr<Fetcher>(new Fetcher(
        std::make_unique<Impl>(std::move(resolver), std::move(access), std::move(options))));
}

Status Fetcher::check(const std::string& url) const {
    AEGIS_TRY(auto parsed, net::parseUrl(url));
    AEGIS_CHECK(Host::parse(parsed.host));
    return {};
}

void Fetcher::fetch(ports::WebRequest request, std::function<void(Result<ports::WebAnswer>)> done) {
    impl_->fetch(std::move(request), std::move(done));
}

}  // namespace aegis::egress
