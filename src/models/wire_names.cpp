#include "models/wire_names.h"

#include <fmt/format.h>

#include <algorithm>

#include "text/digest.h"

namespace aegis::models {
namespace {

constexpr std::size_t kMaxName = 64;
constexpr std::size_t kHashDigits = 8;

bool isLegalByte(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           c == '-';
}

}  // namespace

bool WireNames::isLegal(std::string_view name) {
    return !name.empty() && name.size() <= kMaxName && std::ranges::all_of(name, isLegalByte);
}

void WireNames::add(const std::vector<std::string>& names) {
    for (const std::string& name : names)
        if (isLegal(name)) toWire(name);
    for (const std::string& name : names) toWire(name);
}

const std::string& WireNames::toWire(const std::string& name) {
    auto found = to_wire_.find(name);
    if (found == to_wire_.end()) {
        assign(name);
        found = to_wire_.find(name);
    }
    return found->second;
}

void WireNames::assign(const std::string& name) {
    std::string wire = name;
    std::ranges::replace_if(wire, [](char c) { return !isLegalByte(c); }, '_');
    std::string stem = wire.substr(0, kMaxName - kHashDigits - 1);
    for (int attempt = 0; !isLegal(wire) || from_wire_.contains(wire); ++attempt) {
        std::string salted = attempt == 0 ? name : fmt::format("{}\n{}", name, attempt);
        wire = fmt::format("{}_{}", stem, text::sha256Hex(salted).substr(0, kHashDigits));
    }
    from_wire_.emplace(wire, name);
    to_wire_.emplace(name, std::move(wire));
}

std::string WireNames::fromWire(std::string_view wire) const {
    auto found = from_wire_.find(wire);
    return found == from_wire_.end() ? std::string(wire) : found->second;
}

}  // namespace aegis::models
