#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "agent/manifest.h"
#include "base/result.h"
#include "egress/address.h"

namespace aegis::egress {

/// Whom a guest wants to reach: a name in lower case without a trailing dot, or an address.
struct Host {
    std::string text;  ///< of an address: its canonical form
    std::optional<IpAddress> literal;

    /// kInvalid for anything that is neither. A name whose last label is a number ("127.1",
    /// "0x7f000001") is refused: resolvers read it as an address. Brackets around IPv6 are taken
    /// off.
    static Result<Host> parse(std::string_view text);
};

/// "host:port" of CONNECT; with `default_port` the port may be missing. kInvalid.
struct Authority {
    Host host;
    std::uint16_t port = 0;
    static Result<Authority> parse(std::string_view text,
                                   std::optional<std::uint16_t> default_port = {});
};

struct Verdict {
    bool allowed = false;
    std::string reason;  ///< which rule, or that there was none
};

/// The manifest's `security.network`, ready to be asked. A value; pure; any thread.
class Policy {
  public:
    Policy() = default;  ///< mode none
    explicit Policy(const agent::NetworkSpec& spec);

    /// By what the guest named, before anything is resolved: a name that is not allowed must not
    /// even be asked for, because the question itself can carry data out. A CIDR of the allowlist
    /// permits addresses that are given as such, never names.
    Verdict named(const Host& host, std::uint16_t port) const;
    /// What a name led to: the denylist's addresses hold for names as well.
    Verdict resolved(const IpAddress& address, std::uint16_t port) const;

  private:
    struct Rule {
        std::string text;  ///< as written
        std::string name;  ///< lower case; of a wildcard with its dot: ".example.com"
        bool wildcard = false;
        std::optional<Cidr> cidr;
        std::uint16_t port = 0;  ///< 0: every one
    };
    static std::vector<Rule> read(const std::vector<std::string>& rules);
    static bool matches(const Rule& rule, const Host& host, std::uint16_t port);

    agent::NetworkMode mode_ = agent::NetworkMode::kNone;
    std::vector<Rule> allow_, deny_;
};

/// The node's `egress.allow_private`: what may be reached although it is not public.
class PrivateAccess {
  public:
    PrivateAccess() = default;
    /// CIDRs, addresses, names and "*.domain"; kInvalid names the entry that is none of these.
    static Result<PrivateAccess> parse(const std::vector<std::string>& entries);

    /// Why `address`, which `host` led to, may not be reached; empty if it may.
    std::string refusal(const Host& host, const IpAddress& address) const;

  private:
    std::vector<Cidr> cidrs_;
    std::vector<std::string> names_;  ///< of a wildcard with its dot
};

}  // namespace aegis::egress
