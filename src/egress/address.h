#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace aegis::egress {

/// An IP address. IPv4 is held in its IPv4-mapped form (RFC 4291, 2.5.5.2), so that both spellings
/// of one address are equal. A value; pure.
struct IpAddress {
    std::array<std::uint8_t, 16> bytes{};

    /// "192.0.2.1" or "2001:db8::1": no zone, no brackets, no short or octal IPv4.
    static std::optional<IpAddress> parse(std::string_view text);
    static IpAddress fromV4(const std::uint8_t* four);
    bool isV4() const;
    std::string str() const;
    bool operator==(const IpAddress&) const = default;
};

/// A prefix; `bits` counts in the mapped form (IPv4's /8 is 104).
struct Cidr {
    IpAddress address;
    int bits = 128;

    /// "10.0.0.0/8", "fd00::/8", or one address.
    static std::optional<Cidr> parse(std::string_view text);
    bool contains(const IpAddress& other) const;
};

bool anyContains(const std::vector<Cidr>& cidrs, const IpAddress& address);

/// Why an address is not of the public internet ("private", "loopback", "link-local", "metadata",
/// ...); empty for one that is. By IANA's registries of special-purpose addresses; an IPv4 address
/// inside an IPv6 one (NAT64, 6to4, IPv4-compatible) is judged too. Whatever lies outside IPv6's
/// global unicast (2000::/3) is refused.
std::string_view specialUse(const IpAddress& address);

/// The IPv4 address that an IPv6 transition form carries.
std::optional<IpAddress> embeddedV4(const IpAddress& address);

}  // namespace aegis::egress
