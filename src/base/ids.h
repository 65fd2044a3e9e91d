#pragma once

#include <array>
#include <compare>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "base/random.h"

namespace aegis {

/// A random (version 4) UUID, RFC 9562. `Tag` makes ids of different things different types.
template <class Tag>
class Id {
  public:
    Id() = default;  ///< the nil id; empty() is true

    static Id generate(Random& random);
    /// Canonical form only: 36 characters, lower case.
    static std::optional<Id> parse(std::string_view text);

    std::string str() const;
    bool empty() const { return bytes_ == std::array<std::uint8_t, 16>{}; }
    const std::array<std::uint8_t, 16>& bytes() const { return bytes_; }
    auto operator<=>(const Id&) const = default;

  private:
    std::array<std::uint8_t, 16> bytes_{};
};

namespace detail {
std::array<std::uint8_t, 16> generateUuid(Random& random);
bool parseUuid(std::string_view text, std::array<std::uint8_t, 16>& out);
std::string formatUuid(const std::array<std::uint8_t, 16>& bytes);
}  // namespace detail

template <class Tag>
Id<Tag> Id<Tag>::generate(Random& random) {
    Id id;
    id.bytes_ = detail::generateUuid(random);
    return id;
}

template <class Tag>
std::optional<Id<Tag>> Id<Tag>::parse(std::string_view text) {
    Id id;
    if (!detail::parseUuid(text, id.bytes_)) return std::nullopt;
    return id;
}

template <class Tag>
std::string Id<Tag>::str() const {
    return detail::formatUuid(bytes_);
}

using AgentId = Id<struct AgentIdTag>;
using ExecutionId = Id<struct ExecutionIdTag>;
using VolumeId = Id<struct VolumeIdTag>;
using NodeId = Id<struct NodeIdTag>;

/// A UUID shortened as tables print it: "a1b2c3d4-1111-..." (first two groups).
std::string shortId(std::string_view uuid);

}  // namespace aegis

template <class Tag>
struct std::hash<aegis::Id<Tag>> {
    std::size_t operator()(const aegis::Id<Tag>& id) const noexcept {
        std::size_t h = 1469598103934665603ULL;
        for (std::uint8_t b : id.bytes()) h = (h ^ b) * 1099511628211ULL;
        return h;
    }
};
