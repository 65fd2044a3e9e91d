#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace aegis::text {

/// The optimal string alignment distance (insert, delete, replace a byte, or swap two neighbours),
/// or `max_distance` + 1 if it is larger. Time O(min(size) * max_distance).
std::size_t editDistance(std::string_view a, std::string_view b, std::size_t max_distance);

/// The candidate nearest to `name` for a "did you mean", the first of several equally near; empty
/// if none is within `max_distance` or if the change would replace the whole name. The view is the
/// candidate's.
std::optional<std::string> closest(std::string_view name, std::span<const std::string> candidates,
                                   std::size_t max_distance = 2);
std::optional<std::string> closest(std::string_view name,
                                   std::span<const std::string_view> candidates,
                                   std::size_t max_distance = 2);

}  // namespace aegis::text
