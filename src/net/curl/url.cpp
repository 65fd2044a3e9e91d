#include "net/curl/url.h"

#include <curl/curl.h>

#include <algorithm>
#include <charconv>
#include <memory>
#include <string_view>

#include "net/curl/library.h"

namespace aegis::net {
namespace {

constexpr unsigned kFlags = CURLU_DISALLOW_USER | CURLU_URLENCODE;

struct HandleDeleter {
    void operator()(CURLU* handle) const { curl().url_cleanup(handle); }
};
using Handle = std::unique_ptr<CURLU, HandleDeleter>;

Error invalid(CURLUcode code) {
    if (code == CURLUE_USER_NOT_ALLOWED)
        return {ErrorCode::kInvalid, "a URL with a user or a password is not allowed"};
    return {ErrorCode::kInvalid, std::string("not a URL: ") + curl().url_strerror(code)};
}

Result<std::string> part(CURLU* handle, CURLUPart which, unsigned flags = 0) {
    char* text = nullptr;
    if (auto code = curl().url_get(handle, which, &text, flags); code != CURLUE_OK)
        return invalid(code);
    std::unique_ptr<char, void (*)(void*)> owned(text, curl().free);
    return std::string(text);
}

/// Bytes that no part of a URL has, whatever a parser makes of them.
bool hasControl(std::string_view text) {
    return std::ranges::any_of(text, [](unsigned char c) { return c < 0x20 || c == 0x7F; });
}

}  // namespace

Result<Url> parseUrl(const std::string& text, const Url* base) {
    std::string reason;
    if (loadCurl(reason) == nullptr)
        return {ErrorCode::kUnsupported, "libcurl cannot be loaded: " + reason};
    if (text.empty()) return {ErrorCode::kInvalid, "the URL is empty"};
    if (text.size() > kMaxUrlBytes)
        return {ErrorCode::kInvalid,
                "the URL is longer than " + std::to_string(kMaxUrlBytes) + " bytes"};
    if (hasControl(text)) return {ErrorCode::kInvalid, "the URL has a control character"};
    Handle handle(curl().url());
    if (!handle) return {ErrorCode::kInternal, "out of memory"};
    if (base != nullptr) {
        auto code = curl().url_set(handle.get(), CURLUPART_URL, base->text.c_str(), kFlags);
        if (code != CURLUE_OK) return invalid(code);
    }
    auto code = curl().url_set(handle.get(), CURLUPART_URL, text.c_str(), kFlags);
    if (code != CURLUE_OK) return invalid(code);
    (void)curl().url_set(handle.get(), CURLUPART_FRAGMENT, nullptr, 0);
    Url url;
    AEGIS_TRY(url.scheme, part(handle.get(), CURLUPART_SCHEME));
    if (url.scheme != "http" && url.scheme != "https")
        return {ErrorCode::kInvalid, "only http and https URLs are fetched"};
    AEGIS_TRY(url.host, part(handle.get(), CURLUPART_HOST));
    AEGIS_TRY(auto port, part(handle.get(), CURLUPART_PORT, CURLU_DEFAULT_PORT));
    auto [end, ec] = std::from_chars(port.data(), port.data() + port.size(), url.port);
    if (ec != std::errc{} || end != port.data() + port.size() || url.port == 0)
        return {ErrorCode::kInvalid, "not a port: " + port};
    AEGIS_TRY(url.text, part(handle.get(), CURLUPART_URL));
    // A redirect may have put a user where there was none.
    char* user = nullptr;
    if (curl().url_get(handle.get(), CURLUPART_USER, &user, 0) == CURLUE_OK) {
        curl().free(user);
        return invalid(CURLUE_USER_NOT_ALLOWED);
    }
    if (url.text.size() > 4 * kMaxUrlBytes || hasControl(url.text))
        return {ErrorCode::kInvalid, "not a URL"};
    return url;
}

}  // namespace aegis::net
