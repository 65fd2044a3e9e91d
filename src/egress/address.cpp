#include "egress/address.h"

#include <arpa/inet.h>

#include <algorithm>
#include <charconv>
#include <cstring>
#include <initializer_list>
#include <span>

namespace aegis::egress {
namespace {

constexpr std::array<std::uint8_t, 12> kMapped{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

struct Special {
    const char* prefix;
    std::string_view what;
};

// The first that matches names it: the narrow ones come first.
constexpr Special kSpecial[] = {
    {"169.254.169.254/32", "metadata"},
    {"100.100.100.200/32", "metadata"},
    {"168.63.129.16/32", "metadata"},
    {"0.0.0.0/8", "unspecified"},
    {"10.0.0.0/8", "private"},
    {"100.64.0.0/10", "shared (carrier-grade NAT)"},
    {"127.0.0.0/8", "loopback"},
    {"169.254.0.0/16", "link-local"},
    {"172.16.0.0/12", "private"},
    {"192.0.0.0/24", "reserved"},
    {"192.0.2.0/24", "reserved"},
    {"192.88.99.0/24", "reserved"},
    {"192.168.0.0/16", "private"},
    {"198.18.0.0/15", "reserved"},
    {"198.51.100.0/24", "reserved"},
    {"203.0.113.0/24", "reserved"},
    {"224.0.0.0/4", "multicast"},
    {"240.0.0.0/4", "reserved"},
    {"fd00:ec2::254/128", "metadata"},
    {"::/128", "unspecified"},
    {"::1/128", "loopback"},
    {"fc00::/7", "private"},
    {"fe80::/10", "link-local"},
    {"fec0::/10", "private"},
    {"ff00::/8", "multicast"},
    {"2001::/23", "reserved"},
    {"2001:db8::/32", "reserved"},
    {"3fff::/20", "reserved"},
};

std::vector<std::pair<Cidr, std::string_view>> makeTable() {
    std::vector<std::pair<Cidr, std::string_view>> out;
    for (const auto& entry : kSpecial)
        if (auto cidr = Cidr::parse(entry.prefix)) out.emplace_back(*cidr, entry.what);
    return out;
}

std::string_view listed(const IpAddress& address) {
    static const auto kTable = makeTable();
    for (const auto& [cidr, what] : kTable)
        if (cidr.contains(address)) return what;
    return {};
}

bool startsWith(const IpAddress& address, std::initializer_list<std::uint8_t> prefix) {
    return std::ranges::equal(prefix, std::span(address.bytes).first(prefix.size()));
}

}  // namespace

std::optional<IpAddress> IpAddress::parse(std::string_view text) {
    std::string copy(text);
    if (copy.size() >= INET6_ADDRSTRLEN || copy.find('\0') != std::string::npos)
        return std::nullopt;
    std::array<std::uint8_t, 4> four{};
    if (::inet_pton(AF_INET, copy.c_str(), four.data()) == 1) return fromV4(four.data());
    IpAddress out;
    if (::inet_pton(AF_INET6, copy.c_str(), out.bytes.data()) == 1) return out;
    return std::nullopt;
}

IpAddress IpAddress::fromV4(const std::uint8_t* four) {
    IpAddress out;
    std::ranges::copy(kMapped, out.bytes.begin());
    std::memcpy(out.bytes.data() + kMapped.size(), four, 4);
    return out;
}

bool IpAddress::isV4() const { return std::equal(kMapped.begin(), kMapped.end(), bytes.begin()); }

std::string IpAddress::str() const {
    std::array<char, INET6_ADDRSTRLEN> text{};
    if (isV4())
        ::inet_ntop(AF_INET, bytes.data() + kMapped.size(), text.data(), text.size());
    else
        ::inet_ntop(AF_INET6, bytes.data(), text.data(), text.size());
    return text.data();
}

std::optional<Cidr> Cidr::parse(std::string_view text) {
    auto slash = text.find('/');
    auto address = IpAddress::parse(text.substr(0, slash));
    if (!address) return std::nullopt;
    if (slash == std::string_view::npos) return Cidr{*address, 128};
    auto digits = text.substr(slash + 1);
    int bits = -1;
    auto [end, ec] = std::from_chars(digits.data(), digits.data() + digits.size(), bits);
    // "::ffff:1.2.3.4/100" is counted as it is written, in IPv6's bits.
    bool dotted = text.find(':') == std::string_view::npos;
    if (ec != std::errc{} || end != digits.data() + digits.size() || bits < 0 ||
        bits > (dotted ? 32 : 128))
        return std::nullopt;
    return Cidr{*address, dotted ? bits + 96 : bits};
}

bool Cidr::contains(const IpAddress& other) const {
    // "::/0" means IPv6's own addresses, not IPv4's, unless it reaches into the mapped ones.
    if (bits < 96 && address.isV4() != other.isV4()) return false;
    auto whole = static_cast<std::size_t>(bits / 8);
    if (!std::equal(address.bytes.begin(), address.bytes.begin() + static_cast<long>(whole),
                    other.bytes.begin()))
        return false;
    int rest = bits % 8;
    if (rest == 0) return true;
    auto mask = static_cast<std::uint8_t>(0xff << (8 - rest));
    return (address.bytes[whole] & mask) == (other.bytes[whole] & mask);
}

bool anyContains(const std::vector<Cidr>& cidrs, const IpAddress& address) {
    return std::ranges::any_of(cidrs, [&](const Cidr& cidr) { return cidr.contains(address); });
}

std::optional<IpAddress> embeddedV4(const IpAddress& address) {
    const auto* b = address.bytes.data();
    // RFC 6052 (NAT64), RFC 3056 (6to4), RFC 4291 2.5.5.1 (IPv4-compatible).
    if (startsWith(address, {0x00, 0x64, 0xff, 0x9b, 0, 0, 0, 0, 0, 0, 0, 0}))
        return IpAddress::fromV4(b + 12);
    if (startsWith(address, {0x20, 0x02})) return IpAddress::fromV4(b + 2);
    if (startsWith(address, {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0})) return IpAddress::fromV4(b + 12);
    return std::nullopt;
}

std::string_view specialUse(const IpAddress& address) {
    if (auto what = listed(address); !what.empty()) return what;
    if (address.isV4()) return {};
    if (auto inner = embeddedV4(address)) {
        if (auto what = listed(*inner); !what.empty()) return what;
        bool nat64 = startsWith(address, {0x00, 0x64});
        return nat64 ? std::string_view{} : "reserved";
    }
    return (address.bytes[0] & 0xe0) == 0x20 ? std::string_view{} : "reserved";
}

}  // namespace aegis::egress
