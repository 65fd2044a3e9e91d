#include <cstdint>
#include <string_view>

#include "base/assert.h"
#include "egress/message.h"

using namespace aegis;
using namespace aegis::egress;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    std::string_view bytes(reinterpret_cast<const char*>(data), size);
    if (auto host = Host::parse(bytes)) {
        auto again = Host::parse(host->text);
        AEGIS_ASSERT(again && again->text == host->text && again->literal == host->literal);
        Policy deny({agent::NetworkMode::kDeny, {}, {host->text}});
        AEGIS_ASSERT(!deny.named(*host, 443).allowed);
        Policy allow({agent::NetworkMode::kAllow, {host->text}, {host->text}});
        AEGIS_ASSERT(!allow.named(*host, 443).allowed);
    }
    auto end = wire::findHeadEnd(bytes);
    if (end && *end > 0) {
        auto head = wire::parseRequestHead(bytes.substr(0, *end));
        auto request = head ? readProxyRequest(*head) : Error(ErrorCode::kInvalid, "");
        if (request) {
            // What is sent on is read in one way, and names whom we judged.
            auto sent = wire::parseRequestHead(wire::serialize(request->forwarded));
            AEGIS_ASSERT(sent && wire::requestFraming(*sent));
            auto host = Authority::parse(*sent->headers.find("Host"), 80);
            AEGIS_ASSERT(host && host->host.text == request->to.host.text);
            AEGIS_ASSERT(host->port == request->to.port);
        }
    }
    for (int minor : {0, 1}) {
        auto answer = responseTo("GET", minor, 1U << 16);
        std::string out;
        if (answer->feed(bytes, out) && !answer->done()) (void)answer->finish(out);
    }
    return 0;
}
