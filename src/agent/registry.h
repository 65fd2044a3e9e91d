#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>

#include "base/result.h"

namespace aegis::agent {

/// Something that people name: an agent, an execution or a volume. `name` is empty where only the
/// id counts (executions, volumes, archived agents).
struct Named {
    std::string id;  ///< a UUID, lower case
    std::string name;
};

/// The shortest unique prefix of an id that is accepted.
inline constexpr std::size_t kMinPrefix = 4;

/// The index of what `query` means in `all`: an exact name wins, then a full id, then a unique
/// prefix of an id of kMinPrefix characters or more, with or without a trailing "-..." as tables
/// print it. kNotFound names `noun` ("agent") and hints at a near name; kInvalid lists the matches
/// of an ambiguous prefix. Pure, any thread.
Result<std::size_t> resolveName(std::string_view query, std::span<const Named> all,
                                std::string_view noun);

/// The prefix that `query` may be, lower case and without "-..."; empty if it cannot be one. For
/// looking up in a store.
std::string idPrefix(std::string_view query);

}  // namespace aegis::agent
