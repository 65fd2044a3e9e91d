#include "text/edit_distance.h"

#include <algorithm>
#include <vector>

namespace aegis::text {
namespace {

template <class T>
std::optional<std::string> closestOf(std::string_view name, std::span<const T> candidates,
                                     std::size_t max_distance) {
    std::optional<std::string> best;
    std::size_t best_distance = max_distance + 1;
    for (std::string_view candidate : candidates) {
        std::size_t distance = editDistance(name, candidate, max_distance);
        if (distance < best_distance && distance < std::max(name.size(), candidate.size())) {
            best = std::string(candidate);
            best_distance = distance;
        }
    }
    return best;
}

}  // namespace

std::size_t editDistance(std::string_view a, std::string_view b, std::size_t max_distance) {
    if (a.size() > b.size()) std::swap(a, b);
    const std::size_t beyond = max_distance + 1;
    if (b.size() - a.size() > max_distance) return beyond;
    std::vector<std::size_t> before(a.size() + 1, beyond);
    std::vector<std::size_t> last(a.size() + 1, beyond);
    std::vector<std::size_t> row(a.size() + 1, beyond);
    for (std::size_t i = 0; i <= std::min(a.size(), max_distance); ++i)
        last[i] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
        // Outside this band the distance exceeds the limit.
        std::size_t from = j > max_distance ? j - max_distance : 1;
        std::size_t to = std::min(a.size(), j + max_distance);
        std::fill(row.begin(), row.end(), beyond);
        if (from == 1) row[0] = std::min(j, beyond);
        for (std::size_t i = from; i <= to; ++i) {
            std::size_t cost = a[i - 1] == b[j - 1] ? 0 : 1;
            row[i] = std::min({row[i - 1] + 1, last[i] + 1, last[i - 1] + cost, beyond});
            bool swapped = i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1];
            if (swapped) row[i] = std::min(row[i], before[i - 2] + 1);
        }
        before.swap(last);
        last.swap(row);
    }
    return last[a.size()];
}

std::optional<std::string> closest(std::string_view name, std::span<const std::string> candidates,
                                   std::size_t max_distance) {
    return closestOf(name, candidates, max_distance);
}

std::optional<std::string> closest(std::string_view name,
                                   std::span<const std::string_view> candidates,
                                   std::size_t max_distance) {
    return closestOf(name, candidates, max_distance);
}

}  // namespace aegis::text
