#include "os/user_namespace.h"

#include <gtest/gtest.h>

namespace aegis::os {
namespace {

TEST(SubordinateRange, IsTheUsersOwnAndLargeEnough) {
    const auto text =
        "other:100000:65536\nanna:1:100\nanna:165536:65536\n1007:300000:70000\n:5:65536\n";
    EXPECT_EQ(subordinateRange(text, "anna", 1000, 65536), 165536U);
    EXPECT_EQ(subordinateRange(text, "anna", 1000, 65537), std::nullopt);
    EXPECT_EQ(subordinateRange(text, "berta", 1007, 65536), 300000U) << "by number";
    EXPECT_EQ(subordinateRange(text, "", 1000, 65536), std::nullopt);
    EXPECT_EQ(subordinateRange(text, "ann", 1000, 1), std::nullopt);
}

TEST(SubordinateRange, IsNothingInWhatIsNoRange) {
    for (const char* text :
         {"", "\n", "anna", "anna:", "anna:1", "anna::", "anna:x:65536", "anna:1:65536x",
          "anna:-1:65536", "anna:0:65536", "anna:1:99999999999", "anna:1:65536:"})
        EXPECT_EQ(subordinateRange(text, "anna", 1000, 65536), std::nullopt) << text;
}

}  // namespace
}  // namespace aegis::os
