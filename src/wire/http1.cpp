#include "wire/http1.h"

#include <fmt/format.h>

#include <boost/beast/http/basic_parser.hpp>
#include <charconv>
#include <limits>
#include <utility>

namespace aegis::wire {
namespace {

namespace beast = boost::beast;
namespace http = boost::beast::http;
using beast::error_code;

/// Takes the fields out of Beast's parser; bodies are not its business.
template <bool isRequest>
class HeadParser : public http::basic_parser<isRequest> {
  public:
    int minorVersion() const { return version_ - 10; }
    int version() const { return version_; }

    std::string method;
    std::string target;
    std::string reason;
    int status = 0;
    Headers headers;

  private:
    using View = beast::string_view;

    void on_request_impl(http::verb, View method_text, View target_text, int version,
                         error_code&) override {
        method.assign(method_text.data(), method_text.size());
        target.assign(target_text.data(), target_text.size());
        version_ = version;
    }
    void on_response_impl(int code, View reason_text, int version, error_code&) override {
        status = code;
        reason.assign(reason_text.data(), reason_text.size());
        version_ = version;
    }
    void on_field_impl(http::field, View name, View value, error_code& ec) override {
        if (headers.size() >= kMaxHeaderFields) {
            ec = make_error_code(http::error::header_limit);
            return;
        }
        headers.add({name.data(), name.size()}, {value.data(), value.size()});
    }
    void on_header_impl(error_code&) override {}
    void on_body_init_impl(boost::optional<std::uint64_t> const&, error_code&) override {}
    std::size_t on_body_impl(View bytes, error_code&) override { return bytes.size(); }
    void on_chunk_header_impl(std::uint64_t, View, error_code&) override {}
    std::size_t on_chunk_body_impl(std::uint64_t, View bytes, error_code&) override {
        return bytes.size();
    }
    void on_finish_impl(error_code&) override {}

    int version_ = 0;
};

template <bool isRequest>
Status parseHead(HeadParser<isRequest>& parser, std::string_view head) {
    parser.header_limit(std::numeric_limits<std::uint32_t>::max());
    parser.body_limit(boost::none);
    parser.skip(true);
    error_code ec;
    auto used = parser.put(boost::asio::const_buffer(head.data(), head.size()), ec);
    if (ec == http::error::header_limit)
        return {ErrorCode::kTooLarge, "the head has too many header fields"};
    if (ec && ec != http::error::need_more)
        return {ErrorCode::kInvalid, fmt::format("malformed HTTP head: {}", ec.message())};
    if (!parser.is_header_done() || used != head.size())
        return {ErrorCode::kInvalid, "malformed HTTP head"};
    if (parser.version() != 10 && parser.version() != 11)
        return {ErrorCode::kUnsupported, "only HTTP/1.0 and HTTP/1.1 are spoken here"};
    return {};
}

Result<std::uint64_t> contentLength(const Headers& headers) {
    if (headers.count("Content-Length") > 1)
        return {ErrorCode::kInvalid, "several Content-Length fields"};
    const auto& text = *headers.find("Content-Length");
    std::uint64_t length = 0;
    const auto* end = text.data() + text.size();
    auto [at, ec] = std::from_chars(text.data(), end, length);
    if (ec != std::errc{} || at != end || text[0] == '-' || text.size() > 18)
        return {ErrorCode::kInvalid, "malformed Content-Length"};
    return length;
}

/// What the fields say, before the rules that depend on the kind of message.
Result<BodyFraming> declaredFraming(int minor_version, const Headers& headers) {
    bool has_length = headers.find("Content-Length") != nullptr;
    if (headers.find("Transfer-Encoding") != nullptr) {
        if (has_length) return {ErrorCode::kInvalid, "both Content-Length and Transfer-Encoding"};
        if (minor_version == 0) return {ErrorCode::kInvalid, "Transfer-Encoding in HTTP/1.0"};
        if (headers.count("Transfer-Encoding") > 1)
            return {ErrorCode::kInvalid, "several Transfer-Encoding fields"};
        if (!equalsNoCase(headers.get("Transfer-Encoding"), "chunked"))
            return {ErrorCode::kUnsupported, "the only transfer coding supported is chunked"};
        return BodyFraming{Framing::kChunked, 0};
    }
    if (!has_length) return BodyFraming{};
    AEGIS_TRY(auto length, contentLength(headers));
    return BodyFraming{Framing::kLength, length};
}

void appendFields(std::string& out, const Headers& headers) {
    for (const auto& field : headers)
        if (isValidField(field.name, field.value))
            fmt::format_to(std::back_inserter(out), "{}: {}\r\n", field.name, field.value);
    out += "\r\n";
}

constexpr std::pair<int, std::string_view> kPhrases[] = {{100, "Continue"},
                                                         {101, "Switching Protocols"},
                                                         {200, "OK"},
                                                         {201, "Created"},
                                                         {202, "Accepted"},
                                                         {204, "No Content"},
                                                         {206, "Partial Content"},
                                                         {301, "Moved Permanently"},
                                                         {302, "Found"},
                                                         {304, "Not Modified"},
                                                         {307, "Temporary Redirect"},
                                                         {308, "Permanent Redirect"},
                                                         {400, "Bad Request"},
                                                         {401, "Unauthorized"},
                                                         {402, "Payment Required"},
                                                         {403, "Forbidden"},
                                                         {404, "Not Found"},
                                                         {405, "Method Not Allowed"},
                                                         {406, "Not Acceptable"},
                                                         {408, "Request Timeout"},
                                                         {409, "Conflict"},
                                                         {410, "Gone"},
                                                         {411, "Length Required"},
                                                         {412, "Precondition Failed"},
                                                         {413, "Content Too Large"},
                                                         {414, "URI Too Long"},
                                                         {415, "Unsupported Media Type"},
                                                         {416, "Range Not Satisfiable"},
                                                         {417, "Expectation Failed"},
                                                         {422, "Unprocessable Content"},
                                                         {429, "Too Many Requests"},
                                                         {431, "Request Header Fields Too Large"},
                                                         {499, "Client Closed Request"},
                                                         {500, "Internal Server Error"},
                                                         {501, "Not Implemented"},
                                                         {502, "Bad Gateway"},
                                                         {503, "Service Unavailable"},
                                                         {504, "Gateway Timeout"},
                                                         {505, "HTTP Version Not Supported"},
                                                         {507, "Insufficient Storage"}};

}  // namespace

Result<std::size_t> findHeadEnd(std::string_view buffer, std::size_t limit, std::size_t scanned) {
    auto seen = buffer.substr(0, limit);
    // Back by what a rule can look at around the place where the earlier call ended.
    for (std::size_t i = scanned < 4 ? 0 : scanned - 4; i < seen.size(); ++i) {
        char c = seen[i];
        if (c == '\0') return {ErrorCode::kInvalid, "a NUL in the head"};
        if (c == '\n' && (i == 0 || seen[i - 1] != '\r'))
            return {ErrorCode::kInvalid, "a bare LF in the head"};
        if (i == 0 || seen[i - 1] != '\r') continue;
        if (c != '\n') return {ErrorCode::kInvalid, "a bare CR in the head"};
        if (i >= 3 && seen[i - 2] == '\n') return i + 1;
        if (i + 1 < seen.size() && (seen[i + 1] == ' ' || seen[i + 1] == '\t'))
            return {ErrorCode::kInvalid, "a folded header field"};
    }
    if (buffer.size() >= limit)
        return {ErrorCode::kTooLarge, fmt::format("the head is larger than {} bytes", limit)};
    return std::size_t{0};
}

Result<RequestHead> parseRequestHead(std::string_view head) {
    HeadParser<true> parser;
    AEGIS_CHECK(parseHead(parser, head));
    auto hosts = parser.headers.count("Host");
    if (hosts > 1 || (hosts == 0 && parser.minorVersion() == 1))
        return {ErrorCode::kInvalid, "a request has exactly one Host field"};
    return RequestHead{std::move(parser.method), std::move(parser.target), parser.minorVersion(),
                       std::move(parser.headers)};
}

Result<ResponseHead> parseResponseHead(std::string_view head) {
    HeadParser<false> parser;
    AEGIS_CHECK(parseHead(parser, head));
    return ResponseHead{parser.status, std::move(parser.reason), parser.minorVersion(),
                        std::move(parser.headers)};
}

Result<BodyFraming> requestFraming(const RequestHead& head) {
    return declaredFraming(head.minor_version, head.headers);
}

Result<BodyFraming> responseFraming(const ResponseHead& head, std::string_view method) {
    AEGIS_TRY(auto framing, declaredFraming(head.minor_version, head.headers));
    bool bodiless = method == "HEAD" || head.status / 100 == 1 || head.status == 204 ||
                    head.status == 304 || (method == "CONNECT" && head.status / 100 == 2);
    if (bodiless) return BodyFraming{};
    if (framing.framing == Framing::kNone) framing.framing = Framing::kUntilClose;
    return framing;
}

bool keepsAlive(int minor_version, const Headers& headers) {
    if (headers.hasToken("Connection", "close")) return false;
    return minor_version >= 1 || headers.hasToken("Connection", "keep-alive");
}

std::string serialize(const RequestHead& head) {
    auto out = fmt::format("{} {} HTTP/1.{}\r\n", head.method, head.target, head.minor_version);
    appendFields(out, head.headers);
    return out;
}

std::string serialize(const ResponseHead& head) {
    auto reason = head.reason.empty() || !isValidField("x", head.reason)
                      ? reasonPhrase(head.status)
                      : std::string_view(head.reason);
    auto out = fmt::format("HTTP/1.{} {} {}\r\n", head.minor_version, head.status, reason);
    appendFields(out, head.headers);
    return out;
}

std::string encodeChunk(std::string_view bytes) {
    if (bytes.empty()) return {};
    return fmt::format("{:x}\r\n{}\r\n", bytes.size(), bytes);
}

std::string_view reasonPhrase(int status) {
    for (const auto& [code, phrase] : kPhrases)
        if (code == status) return phrase;
    return "Unknown";
}

}  // namespace aegis::wire
