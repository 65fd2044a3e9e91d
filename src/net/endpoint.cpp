#include <fmt/format.h>

#include <charconv>

#include "net/http_client.h"

namespace aegis::net {
namespace {

Error malformed(std::string_view text) {
    return {ErrorCode::kInvalid, fmt::format("\"{}\" is no address", text),
            "use host:port, http://host:port, https://host:port or unix:///path"};
}

}  // namespace

std::string Endpoint::str() const {
    if (is_unix) return "unix://" + path;
    return is_tls ? "https://" + authority() : authority();
}

std::string Endpoint::authority() const {
    if (is_unix) return "localhost";
    bool v6 = host.find(':') != std::string::npos;
    return v6 ? fmt::format("[{}]:{}", host, port) : fmt::format("{}:{}", host, port);
}

Result<Endpoint> parseEndpoint(std::string_view text, std::uint16_t default_port) {
    Endpoint out;
    auto rest = text;
    if (rest.starts_with("unix://")) {
        out.is_unix = true;
        out.path = rest.substr(7);
        if (!out.path.starts_with('/')) return malformed(text);
        return out;
    }
    out.is_tls = rest.starts_with("https://");
    if (out.is_tls) rest.remove_prefix(8);
    if (!out.is_tls && rest.starts_with("http://")) rest.remove_prefix(7);
    if (rest.ends_with('/')) rest.remove_suffix(1);
    auto colon = rest.rfind(':');
    if (rest.starts_with('[')) {
        auto bracket = rest.find(']');
        if (bracket == std::string_view::npos) return malformed(text);
        out.host = rest.substr(1, bracket - 1);
        if (colon < bracket) colon = std::string_view::npos;
        if (colon != std::string_view::npos ? colon != bracket + 1 : bracket + 1 != rest.size())
            return malformed(text);
    } else {
        out.host = rest.substr(0, colon);
        if (out.host.find(':') != std::string::npos) return malformed(text);
    }
    if (out.host.empty() || out.host.find_first_of("/@?# \t\r\n") != std::string::npos)
        return malformed(text);
    out.port = default_port;
    if (colon != std::string_view::npos) {
        auto digits = rest.substr(colon + 1);
        const auto* end = digits.data() + digits.size();
        auto [at, ec] = std::from_chars(digits.data(), end, out.port);
        if (ec != std::errc{} || at != end) return malformed(text);
    }
    if (out.port == 0) return malformed(text);
    return out;
}

}  // namespace aegis::net
