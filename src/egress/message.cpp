#include "egress/message.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

namespace aegis::egress {
namespace {

using wire::BodyFraming;
using wire::Framing;
using wire::Headers;

constexpr std::string_view kScheme = "http://";
constexpr std::array<std::string_view, 10> kHopByHop{"Connection",
                                                     "Keep-Alive",
                                                     "Proxy-Authenticate",
                                                     "Proxy-Authorization",
                                                     "Proxy-Connection",
                                                     "TE",
                                                     "Trailer",
                                                     "Transfer-Encoding",
                                                     "Upgrade",
                                                     "HTTP2-Settings"};

/// Everything that concerns one connection only; how the body is framed is said anew.
Headers endToEnd(const Headers& headers) {
    Headers out;
    for (const auto& field : headers) {
        bool hop = std::ranges::any_of(
            kHopByHop, [&](std::string_view name) { return wire::equalsNoCase(field.name, name); });
        // A sender must not make us drop what others rely on by naming it in Connection.
        bool framing = wire::equalsNoCase(field.name, "Content-Length") ||
                       wire::equalsNoCase(field.name, "Host");
        if (!hop && (framing || !headers.hasToken("Connection", field.name)))
            out.add(field.name, field.value);
    }
    return out;
}

std::string hostField(const Authority& to, std::uint16_t usual_port) {
    bool v6 = to.host.literal && !to.host.literal->isV4();
    auto host = v6 ? fmt::format("[{}]", to.host.text) : to.host.text;
    return to.port == usual_port ? host : fmt::format("{}:{}", host, to.port);
}

Status checkHost(const wire::RequestHead& head, const Authority& to, std::uint16_t usual_port) {
    const auto* field = head.headers.find("Host");
    if (field == nullptr) {
        if (head.minor_version == 0) return {};
        return {ErrorCode::kInvalid, "no Host"};
    }
    auto host = Authority::parse(*field, usual_port);
    if (!host || host->host.text != to.host.text || host->port != to.port)
        return {ErrorCode::kInvalid, "Host and the request's target differ"};
    return {};
}

/// A body taken apart and, if `chunked`, framed as chunks anew. What is beyond its end is dropped:
/// one request, and one answer, for one connection.
class Body : public Filter {
  public:
    Body(BodyFraming framing, std::uint64_t limit, bool chunked)
        : decoder_(framing, limit), chunked_(chunked) {}

    Status feed(std::string_view in, std::string& out) override {
        if (decoder_.done()) return {};
        std::string decoded;
        AEGIS_TRY([[maybe_unused]] auto used, decoder_.feed(in, decoded));
        out += chunked_ ? wire::encodeChunk(decoded) : decoded;
        if (chunked_ && decoder_.done()) out += wire::kLastChunk;
        return {};
    }
    Status finish(std::string&) override { return decoder_.finishAtEof(); }
    bool done() const override { return decoder_.done(); }

  private:
    wire::BodyDecoder decoder_;
    const bool chunked_;
};

class Response : public Filter {
  public:
    Response(std::string method, int minor_version, std::uint64_t limit)
        : method_(std::move(method)), minor_version_(minor_version), limit_(limit) {}

    Status feed(std::string_view in, std::string& out) override {
        auto fed = body_ ? Status{} : readHeads(in, out);
        if (!fed) {
            if (!begun_) out = ownAnswer(502, fed.error().message);
            return fed;
        }
        return body_ ? body_->feed(in, out) : Status{};
    }
    Status finish(std::string& out) override {
        if (body_) return body_->finish(out);
        if (!begun_) out = ownAnswer(502, "the server closed without an answer");
        return Error(ErrorCode::kIo, "the server closed without an answer");
    }
    bool done() const override { return body_ && body_->done(); }

  private:
    /// Interim answers, then the final one; leaves in `in` what belongs to the body.
    Status readHeads(std::string_view& in, std::string& out) {
        buffer_ += in;
        while (!body_) {
            AEGIS_TRY(auto end, wire::findHeadEnd(buffer_, wire::kDefaultHeadLimit));
            if (end == 0) break;
            AEGIS_TRY(auto head, wire::parseResponseHead(std::string_view(buffer_).substr(0, end)));
            buffer_.erase(0, end);
            if (head.status == 101)
                return {ErrorCode::kUnsupported, "the server changed the protocol unasked"};
            if (head.status < 200) {
                if (++interim_ > kMaxInterim)
                    return {ErrorCode::kInvalid, "too many interim answers"};
                if (minor_version_ == 0) continue;
                head.headers = endToEnd(head.headers);
                head.minor_version = 1;
                out += wire::serialize(head);
                begun_ = true;
                continue;
            }
            AEGIS_CHECK(begin(head, out));
        }
        if (body_) rest_ = std::exchange(buffer_, {});
        in = rest_;
        return {};
    }

    Status begin(wire::ResponseHead& head, std::string& out) {
        AEGIS_TRY(auto framing, wire::responseFraming(head, method_));
        head.headers = endToEnd(head.headers);
        head.headers.set("Connection", "close");
        head.minor_version = 1;
        bool chunked = framing.framing == Framing::kChunked && minor_version_ > 0;
        if (chunked) head.headers.set("Transfer-Encoding", "chunked");
        out += wire::serialize(head);
        begun_ = true;
        body_ = std::make_unique<Body>(framing, limit_, chunked);
        return {};
    }

    static constexpr int kMaxInterim = 16;
    const std::string method_;
    const int minor_version_;
    const std::uint64_t limit_;
    std::string buffer_, rest_;
    int interim_ = 0;
    bool begun_ = false;  ///< the guest has got a part of it
    std::unique_ptr<Body> body_;
};

}  // namespace

Result<ProxyRequest> readProxyRequest(const wire::RequestHead& head) {
    std::string_view target = head.target;
    if (target.size() < kScheme.size() ||
        !wire::equalsNoCase(target.substr(0, kScheme.size()), kScheme))
        return {ErrorCode::kInvalid, "the proxy takes CONNECT and absolute http:// targets"};
    target.remove_prefix(kScheme.size());
    auto authority = target.substr(0, target.find_first_of("/?#"));
    auto path = target.substr(authority.size());
    bool odd = std::ranges::any_of(
        path, [](unsigned char c) { return c <= 0x20 || c >= 0x7f || c == '#' || c == '\\'; });
    if (odd || authority.find('@') != std::string_view::npos)
        return {ErrorCode::kInvalid, "malformed target"};
    ProxyRequest out;
    AEGIS_TRY(out.to, Authority::parse(authority, 80));
    AEGIS_CHECK(checkHost(head, out.to, 80));
    AEGIS_TRY(out.framing, wire::requestFraming(head));
    out.forwarded.method = head.method;
    out.forwarded.target = path.starts_with('/') ? std::string(path) : "/" + std::string(path);
    out.forwarded.headers = endToEnd(head.headers);
    out.forwarded.headers.set("Host", hostField(out.to, 80));
    out.forwarded.headers.set("Connection", "close");
    if (out.framing.framing == Framing::kChunked)
        out.forwarded.headers.set("Transfer-Encoding", "chunked");
    return out;
}

Result<Authority> readConnect(const wire::RequestHead& head) {
    AEGIS_TRY(auto to, Authority::parse(head.target));
    bool has_body = head.headers.find("Content-Length") != nullptr ||
                    head.headers.find("Transfer-Encoding") != nullptr;
    if (has_body) return {ErrorCode::kInvalid, "CONNECT has no body"};
    // Some clients leave the port out of Host.
    if (const auto* field = head.headers.find("Host")) {
        auto host = Authority::parse(*field, to.port);
        if (!host || host->host.text != to.host.text || host->port != to.port)
            return {ErrorCode::kInvalid, "Host and the request's target differ"};
    }
    return to;
}

std::unique_ptr<Filter> requestBody(BodyFraming framing, std::uint64_t limit) {
    return std::make_unique<Body>(framing, limit, framing.framing == Framing::kChunked);
}

std::unique_ptr<Filter> responseTo(std::string method, int minor_version, std::uint64_t limit) {
    return std::make_unique<Response>(std::move(method), minor_version, limit);
}

std::string ownAnswer(int status, std::string_view text) {
    wire::ResponseHead head;
    head.status = status;
    auto body = fmt::format("aegis egress: {}\n", text);
    head.headers = {{"Content-Type", "text/plain; charset=utf-8"},
                    {"Content-Length", std::to_string(body.size())},
                    {"Connection", "close"}};
    return wire::serialize(head) + body;
}

}  // namespace aegis::egress
