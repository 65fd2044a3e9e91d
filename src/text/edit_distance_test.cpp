#include "text/edit_distance.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <vector>

namespace aegis::text {
namespace {

// The textbook's full table, without a bound.
std::size_t reference(std::string_view a, std::string_view b) {
    std::vector<std::vector<std::size_t>> d(a.size() + 1, std::vector<std::size_t>(b.size() + 1));
    for (std::size_t i = 0; i <= a.size(); ++i) {
        for (std::size_t j = 0; j <= b.size(); ++j) {
            if (i == 0 || j == 0) {
                d[i][j] = i + j;
                continue;
            }
            d[i][j] = std::min(
                {d[i - 1][j] + 1, d[i][j - 1] + 1, d[i - 1][j - 1] + (a[i - 1] != b[j - 1])});
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                d[i][j] = std::min(d[i][j], d[i - 2][j - 2] + 1);
        }
    }
    return d[a.size()][b.size()];
}

TEST(EditDistance, AgreesWithTheFullTable) {
    std::mt19937 random(7);
    auto word = [&] {
        std::string s(random() % 9, 'a');
        for (char& c : s)
            c = static_cast<char>('a' + random() % 3);
        return s;
    };
    for (int i = 0; i < 20'000; ++i) {
        std::string a = word();
        std::string b = word();
        std::size_t limit = random() % 6;
        EXPECT_EQ(editDistance(a, b, limit), std::min(reference(a, b), limit + 1)) << a << ' ' << b;
    }
}

TEST(EditDistance, FindsWhatWasMeant) {
    std::vector<std::string> names{"network", "filesystem", "resources", "ab"};
    EXPECT_EQ(closest("netwrok", names), "network");
    EXPECT_EQ(closest("resource", names), "resources");
    EXPECT_EQ(closest("Filesystems", names), "filesystem");
    EXPECT_EQ(closest("volumes", names), std::nullopt);
    EXPECT_EQ(closest("xy", names), std::nullopt);
    EXPECT_EQ(closest(std::string(1 << 20, 'x'), names), std::nullopt);
}

}  // namespace
}  // namespace aegis::text
