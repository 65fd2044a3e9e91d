#include "net/curl/transfer.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cstring>
#include <utility>

#include "os/clock.h"

namespace aegis::net {
namespace {

constexpr std::size_t kMaxHeaders = 256;
/// libcurl keeps all that comes.
constexpr std::size_t kMaxHeadBytes = 256U << 10;

/// What an error may show of a URL: a path or a query can hold a key.
std::string originOf(const std::string& url) {
    auto scheme = url.find("://");
    if (scheme == std::string::npos) return "the URL";
    auto end = url.find_first_of("/?#", scheme + 3);
    auto origin = url.substr(0, end);
    return origin.find('@') == std::string::npos ? origin : "the URL";
}

std::string_view trim(std::string_view text) {
    auto first = text.find_first_not_of(" \t\r\n");
    if (first == std::string_view::npos) return {};
    return text.substr(first, text.find_last_not_of(" \t\r\n") - first + 1);
}

}  // namespace

Transfer::Transfer(TransferId id, CurlRequest request, CurlCallbacks callbacks)
    : id_(id), request_(std::move(request)), callbacks_(std::move(callbacks)) {}

Transfer::~Transfer() {
    easy_.reset();
    for (auto* h = headers_; h != nullptr; h = h->next)
        ::explicit_bzero(h->data, std::strlen(h->data));
    curl().slist_free_all(headers_);
    curl().slist_free_all(connect_to_);
}

Status Transfer::addHeader(std::string_view name, std::string_view value) {
    if (!wire::isValidField(name, value))
        return {ErrorCode::kInvalid, fmt::format("header {}: not allowed in HTTP", name)};
    // "Name:" alone would tell curl to leave the header out.
    auto line = value.empty() ? fmt::format("{};", name) : fmt::format("{}: {}", name, value);
    auto* longer = curl().slist_append(headers_, line.c_str());
    ::explicit_bzero(line.data(), line.size());
    if (longer == nullptr) return {ErrorCode::kInternal, "out of memory"};
    headers_ = longer;
    return {};
}

void Transfer::setBody() {
    auto* e = easy();
    bool has_body = request_.body != nullptr;
    if (request_.method == "GET" && !has_body) {
        curl().easy_setopt(e, CURLOPT_HTTPGET, 1L);
        return;
    }
    if (request_.method == "HEAD") {
        curl().easy_setopt(e, CURLOPT_NOBODY, 1L);
        return;
    }
    if (has_body || request_.method == "POST") {
        curl().easy_setopt(e, CURLOPT_POST, 1L);
        curl().easy_setopt(e, CURLOPT_POSTFIELDSIZE_LARGE,
                           static_cast<curl_off_t>(has_body ? request_.body->size() : 0));
        curl().easy_setopt(e, CURLOPT_POSTFIELDS, has_body ? request_.body->data() : "");
    }
    if (request_.method != "POST")
        curl().easy_setopt(e, CURLOPT_CUSTOMREQUEST, request_.method.c_str());
}

Status Transfer::pin() {
    auto* e = easy();
    connect_to_ = curl().slist_append(nullptr, fmt::format("::{}", request_.connection_to).c_str());
    if (connect_to_ == nullptr) return {ErrorCode::kInternal, "out of memory"};
    // An address, so that curl has nothing to resolve; TLS checks the URL's host all the same.
    curl().easy_setopt(e, CURLOPT_CONNECT_TO, connect_to_);
    curl().easy_setopt(e, CURLOPT_OPENSOCKETFUNCTION, &Transfer::onOpenSocket);
    curl().easy_setopt(e, CURLOPT_OPENSOCKETDATA, this);
    curl().easy_setopt(e, CURLOPT_SOCKOPTFUNCTION, &Transfer::onSocket);
    // Not another's connection to that host, and no other's hereafter.
    curl().easy_setopt(e, CURLOPT_FRESH_CONNECT, 1L);
    curl().easy_setopt(e, CURLOPT_FORBID_REUSE, 1L);
    return {};
}

curl_socket_t Transfer::onOpenSocket(void* self, curlsocktype, curl_sockaddr*) {
    // -1, CURL_SOCKET_BAD, the second time.
    return static_cast<Transfer*>(self)->request_.connection.release();
}

int Transfer::onSocket(void*, curl_socket_t, curlsocktype) {
    return CURL_SOCKOPT_ALREADY_CONNECTED;
}

std::uint64_t Transfer::bytes() const {
    long sent = 0;
    curl().easy_getinfo(easy(), CURLINFO_REQUEST_SIZE, &sent);
    return received_ + head_bytes_ + static_cast<std::uint64_t>(std::max(sent, 0L));
}

Transfer::EasyPtr Transfer::takeEasy() {
    curl().easy_reset(easy());
    return std::move(easy_);
}

Status Transfer::prepare(EasyPtr used) {
    easy_ = used ? std::move(used) : EasyPtr(curl().easy_init());
    if (!easy_) return {ErrorCode::kInternal, "curl_easy_init failed"};
    auto now = os::systemClock().boot();
    if (request_.deadline.passed(now)) return {ErrorCode::kTimeout, "timed out"};
    for (const auto& [name, value] : request_.headers)
        AEGIS_CHECK(addHeader(name, value));
    for (const auto& [name, value] : request_.secret_headers)
        AEGIS_CHECK(addHeader(name, value.reveal()));
    // curl would wait a second for a "100 Continue" before each larger body.
    headers_ = curl().slist_append(headers_, "Expect:");

    auto* e = easy();
    curl().easy_setopt(e, CURLOPT_PRIVATE, this);
    curl().easy_setopt(e, CURLOPT_URL, request_.url.c_str());
    curl().easy_setopt(e, CURLOPT_PROTOCOLS_STR, "http,https");
    curl().easy_setopt(e, CURLOPT_FOLLOWLOCATION, 0L);
    curl().easy_setopt(e, CURLOPT_PROXY, request_.proxy.c_str());
    curl().easy_setopt(e, CURLOPT_NOPROXY, "");
    curl().easy_setopt(e, CURLOPT_HTTP_VERSION, CURL_HTTP_VERSION_1_1);
    curl().easy_setopt(e, CURLOPT_HTTP09_ALLOWED, 0L);
    curl().easy_setopt(e, CURLOPT_DISALLOW_USERNAME_IN_URL, 1L);
    curl().easy_setopt(e, CURLOPT_NOSIGNAL, 1L);
    curl().easy_setopt(e, CURLOPT_TCP_NODELAY, 1L);
    curl().easy_setopt(e, CURLOPT_TCP_KEEPALIVE, 1L);
    curl().easy_setopt(e, CURLOPT_SSL_VERIFYPEER, 1L);
    curl().easy_setopt(e, CURLOPT_SSL_VERIFYHOST, 2L);
    curl().easy_setopt(e, CURLOPT_USERAGENT, "aegis");
    curl().easy_setopt(e, CURLOPT_HTTPHEADER, headers_);
    curl().easy_setopt(e, CURLOPT_ERRORBUFFER, message_.data());
    curl().easy_setopt(e, CURLOPT_CONNECTTIMEOUT_MS,
                       static_cast<long>(std::max<std::int64_t>(request_.connect_timeout_ms, 1)));
    if (!request_.deadline.isNever())
        curl().easy_setopt(e, CURLOPT_TIMEOUT_MS, static_cast<long>(request_.deadline.leftMs(now)));
    curl().easy_setopt(e, CURLOPT_WRITEFUNCTION, &Transfer::onWrite);
    curl().easy_setopt(e, CURLOPT_WRITEDATA, this);
    curl().easy_setopt(e, CURLOPT_HEADERFUNCTION, &Transfer::onHeader);
    curl().easy_setopt(e, CURLOPT_HEADERDATA, this);
    setBody();
    return request_.connection ? pin() : Status();
}

std::size_t Transfer::onWrite(char* bytes, std::size_t size, std::size_t count, void* self) {
    return static_cast<Transfer*>(self)->take({bytes, size * count});
}

std::size_t Transfer::take(std::string_view chunk) {
    if (muted_) return 0;
    if (chunk.size() > request_.max_response_bytes - received_) {
        reason_ = Error(ErrorCode::kTooLarge, fmt::format("the answer is larger than {} bytes",
                                                          request_.max_response_bytes));
        return 0;
    }
    auto verdict = callbacks_.on_data ? callbacks_.on_data(chunk) : OnDataVerdict::kContinue;
    if (verdict == OnDataVerdict::kPause) return CURL_WRITEFUNC_PAUSE;
    if (verdict == OnDataVerdict::kAbort) {
        reason_ = Error(ErrorCode::kCancelled, "aborted");
        return 0;
    }
    received_ += chunk.size();
    return chunk.size();
}

std::size_t Transfer::onHeader(char* bytes, std::size_t size, std::size_t count, void* self) {
    auto* transfer = static_cast<Transfer*>(self);
    if (transfer->muted_) return 0;
    transfer->head_bytes_ += size * count;
    if (transfer->head_bytes_ > kMaxHeadBytes) {
        transfer->reason_ = Error(ErrorCode::kTooLarge, "the head of the answer is too large");
        return 0;
    }
    transfer->takeHeaderLine({bytes, size * count});
    return size * count;
}

void Transfer::takeHeaderLine(std::string_view line) {
    line = trim(line);
    if (line.starts_with("HTTP/")) {
        // A new head: what an interim 1xx or a proxy said before does not count.
        head_ = {};
        auto space = line.find(' ');
        if (space != std::string_view::npos)
            std::from_chars(line.data() + space + 1, line.data() + line.size(), head_.status);
        return;
    }
    if (line.empty()) {
        // A trailer ends in an empty line too.
        if (head_.status < 200 || std::exchange(head_told_, true)) return;
        if (callbacks_.on_head) callbacks_.on_head(head_);
        return;
    }
    auto colon = line.find(':');
    if (colon == std::string_view::npos || head_.headers.size() >= kMaxHeaders) return;
    head_.headers.add(std::string(trim(line.substr(0, colon))),
                      std::string(trim(line.substr(colon + 1))));
}

Error Transfer::errorOf(CURLcode code) const {
    if (reason_) return *reason_;
    const char* said = message_[0] != '\0' ? message_.data() : curl().easy_strerror(code);
    auto text = fmt::format("{}: {}", originOf(request_.url), said);
    curl_off_t connected_us = 0;
    long sent_bytes = 0;
    curl().easy_getinfo(easy(), CURLINFO_PRETRANSFER_TIME_T, &connected_us);
    curl().easy_getinfo(easy(), CURLINFO_REQUEST_SIZE, &sent_bytes);
    switch (code) {
        case CURLE_OPERATION_TIMEDOUT: {
            bool late = request_.deadline.passed(os::systemClock().boot());
            bool connecting = connected_us == 0 && !late;
            return {connecting ? ErrorCode::kUnreachable : ErrorCode::kTimeout, text};
        }
        case CURLE_COULDNT_RESOLVE_HOST:
        case CURLE_COULDNT_RESOLVE_PROXY:
        case CURLE_COULDNT_CONNECT:
        case CURLE_SSL_CONNECT_ERROR:
        case CURLE_PEER_FAILED_VERIFICATION:
        case CURLE_SSL_CACERT_BADFILE:
        case CURLE_PROXY:
            return {ErrorCode::kUnreachable, text};
        case CURLE_URL_MALFORMAT:
        case CURLE_LOGIN_DENIED:
            return {ErrorCode::kInvalid, text};
        // Also what an answer that is no HTTP gets.
        case CURLE_UNSUPPORTED_PROTOCOL:
            return {sent_bytes > 0 ? ErrorCode::kIo : ErrorCode::kInvalid, text};
        default:
            return {ErrorCode::kIo, text};
    }
}

void Transfer::finish(CURLcode code) {
    if (muted_) return;
    CurlResult result;
    if (code != CURLE_OK) result.error = errorOf(code);
    result.http_status = head_.status;
    result.headers = std::move(head_.headers);
    if (easy_) result.bytes = bytes();
    muted_ = true;
    if (callbacks_.on_done) callbacks_.on_done(std::move(result));
}

void Transfer::fail(Error error) {
    if (muted_) return;
    reason_ = std::move(error);
    finish(CURLE_FAILED_INIT);
}

}  // namespace aegis::net
