#include "egress/policy.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

namespace aegis::egress {
namespace {

constexpr std::size_t kMaxNameBytes = 253;
constexpr std::size_t kMaxLabelBytes = 63;

bool isDigit(char c) { return c >= '0' && c <= '9'; }
bool isNameCharacter(char c) {
    return isDigit(c) || (c >= 'a' && c <= 'z') || c == '-' || c == '_';
}

std::string lower(std::string_view text) {
    std::string out(text);
    for (char& c : out)
        if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
    return out;
}

/// What inet_aton(3), and with it getaddrinfo(3), may take for a part of an address.
bool looksNumeric(std::string_view label) {
    return isDigit(label.front()) &&
           (std::ranges::all_of(label, isDigit) || label.starts_with("0x"));
}

bool isName(std::string_view text) {
    if (text.empty() || text.size() > kMaxNameBytes) return false;
    while (true) {
        auto dot = text.find('.');
        auto label = text.substr(0, dot);
        if (label.empty() || label.size() > kMaxLabelBytes ||
            !std::ranges::all_of(label, isNameCharacter) || label.front() == '-' ||
            label.back() == '-')
            return false;
        if (dot == std::string_view::npos) return !looksNumeric(label);
        text.remove_prefix(dot + 1);
    }
}

std::optional<std::uint16_t> parsePort(std::string_view text) {
    unsigned port = 0;
    auto [end, ec] = std::from_chars(text.data(), text.data() + text.size(), port);
    if (ec != std::errc{} || end != text.data() + text.size() || text.size() > 5 || port == 0 ||
        port > 65535)
        return std::nullopt;
    return static_cast<std::uint16_t>(port);
}

/// "host", "host:port", "[v6]", "[v6]:port" or a bare IPv6 address into both parts.
std::pair<std::string_view, std::optional<std::string_view>> splitPort(std::string_view text) {
    if (text.starts_with('[')) {
        auto close = text.find("]:");
        if (close == std::string_view::npos) return {text, std::nullopt};
        return {text.substr(0, close + 1), text.substr(close + 2)};
    }
    auto colon = text.find(':');
    if (colon == std::string_view::npos || text.find(':', colon + 1) != std::string_view::npos)
        return {text, std::nullopt};
    return {text.substr(0, colon), text.substr(colon + 1)};
}

bool nameMatches(std::string_view rule, std::string_view name) {
    if (!rule.starts_with('.')) return rule == name;
    return name.size() > rule.size() && name.ends_with(rule);
}

}  // namespace

Result<Host> Host::parse(std::string_view text) {
    auto invalid = [&] { return Error(ErrorCode::kInvalid, "not a valid host name or address"); };
    bool bracketed = text.size() > 2 && text.starts_with('[') && text.ends_with(']');
    if (bracketed) text = text.substr(1, text.size() - 2);
    if (auto address = IpAddress::parse(text)) {
        if (bracketed && text.find(':') == std::string_view::npos) return invalid();
        return Host{address->str(), address};
    }
    if (bracketed) return invalid();
    auto name = lower(text);
    if (name.ends_with('.')) name.pop_back();
    if (!isName(name)) return invalid();
    return Host{std::move(name), std::nullopt};
}

Result<Authority> Authority::parse(std::string_view text,
                                   std::optional<std::uint16_t> default_port) {
    auto [host, port_text] = splitPort(text);
    bool bare_v6 = !host.starts_with('[') && host.find(':') != std::string_view::npos;
    auto port = port_text ? parsePort(*port_text) : default_port;
    if (!port || bare_v6) return Error(ErrorCode::kInvalid, "not host:port");
    AEGIS_TRY(auto parsed, Host::parse(host));
    return Authority{std::move(parsed), *port};
}

Policy::Policy(const agent::NetworkSpec& spec)
    : mode_(spec.mode), allow_(read(spec.allowlist)), deny_(read(spec.denylist)) {}

std::vector<Policy::Rule> Policy::read(const std::vector<std::string>& rules) {
    std::vector<Rule> out;
    for (const auto& text : rules) {
        Rule rule;
        rule.text = text;
        if (auto cidr = Cidr::parse(text)) {
            rule.cidr = cidr;
            out.push_back(std::move(rule));
            continue;
        }
        auto [host, port] = splitPort(text);
        if (port) rule.port = parsePort(*port).value_or(0);
        rule.wildcard = host.starts_with("*.");
        auto parsed = Host::parse(rule.wildcard ? host.substr(2) : host);
        // The manifest's own check lets nothing through that is not one of these; a rule that
        // cannot match is left out.
        if (!parsed || (port && rule.port == 0)) continue;
        if (parsed->literal)
            rule.cidr = Cidr{*parsed->literal, 128};
        else
            rule.name = (rule.wildcard ? "." : "") + parsed->text;
        out.push_back(std::move(rule));
    }
    return out;
}

bool Policy::matches(const Rule& rule, const Host& host, std::uint16_t port) {
    if (rule.port != 0 && rule.port != port) return false;
    if (rule.cidr) return host.literal && rule.cidr->contains(*host.literal);
    return !host.literal && nameMatches(rule.name, host.text);
}

Verdict Policy::named(const Host& host, std::uint16_t port) const {
    if (mode_ == agent::NetworkMode::kNone) return {false, "network.mode is none"};
    for (const auto& rule : deny_)
        if (matches(rule, host, port)) return {false, fmt::format("denylist: {}", rule.text)};
    if (mode_ == agent::NetworkMode::kDeny) return {true, "not in the denylist"};
    for (const auto& rule : allow_)
        if (matches(rule, host, port)) return {true, fmt::format("allowlist: {}", rule.text)};
    return {false, "not in the allowlist"};
}

Verdict Policy::resolved(const IpAddress& address, std::uint16_t port) const {
    const Host as_address{address.str(), address};
    const auto inner = embeddedV4(address);
    for (const auto& rule : deny_) {
        bool hit = matches(rule, as_address, port) ||
                   (inner && matches(rule, Host{inner->str(), inner}, port));
        if (hit) return {false, fmt::format("denylist: {}", rule.text)};
    }
    return {true, {}};
}

Result<PrivateAccess> PrivateAccess::parse(const std::vector<std::string>& entries) {
    PrivateAccess out;
    for (const auto& entry : entries) {
        if (auto cidr = Cidr::parse(entry)) {
            out.cidrs_.push_back(*cidr);
            continue;
        }
        bool wildcard = entry.starts_with("*.");
        auto host = Host::parse(wildcard ? std::string_view(entry).substr(2) : entry);
        if (!host || host->literal)
            return {ErrorCode::kInvalid,
                    fmt::format("egress.allow_private: {}: neither a CIDR nor a host", entry)};
        out.names_.push_back((wildcard ? "." : "") + host->text);
    }
    return out;
}

std::string PrivateAccess::refusal(const Host& host, const IpAddress& address) const {
    auto what = specialUse(address);
    if (what.empty() || anyContains(cidrs_, address)) return {};
    auto inner = embeddedV4(address);
    if (inner && anyContains(cidrs_, *inner)) return {};
    auto named = std::ranges::any_of(
        names_, [&](const auto& name) { return !host.literal && nameMatches(name, host.text); });
    if (named) return {};
    return fmt::format("{} is a {} address", address.str(), what);
}

}  // namespace aegis::egress
