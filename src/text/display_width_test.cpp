#include "text/display_width.h"

#include <gtest/gtest.h>

namespace aegis::text {
namespace {

TEST(DisplayWidth, CountsColumns) {
    EXPECT_EQ(displayWidth(""), 0U);
    EXPECT_EQ(displayWidth("agent"), 5U);
    EXPECT_EQ(displayWidth("Größe"), 5U);
    EXPECT_EQ(displayWidth("日本語"), 6U);
    EXPECT_EQ(displayWidth("ｆｕｌｌ"), 8U);
    EXPECT_EQ(displayWidth("한국어"), 6U);
    EXPECT_EQ(displayWidth("🚀"), 2U);
    EXPECT_EQ(displayWidth("e\u0301"), 1U);
    EXPECT_EQ(displayWidth("a\u200bb"), 2U);
    EXPECT_EQ(displayWidth("…"), 1U);
    EXPECT_EQ(displayWidth("\xff\xfe"), 2U);
}

TEST(DisplayWidth, CutsBetweenCharacters) {
    EXPECT_EQ(fitWidth("agent", 5), "agent");
    EXPECT_EQ(fitWidth("agents", 5), "agen…");
    // Half a wide character is none: the result may be one column short.
    EXPECT_EQ(fitWidth("日本語", 5), "日本…");
    EXPECT_EQ(fitWidth("日本語", 4), "日…");
    EXPECT_EQ(fitWidth("日本語", 6), "日本語");
    EXPECT_EQ(fitWidth("agent", 1), "…");
    EXPECT_EQ(fitWidth("e\u0301e\u0301e\u0301", 2), "e\u0301…");
}

}  // namespace
}  // namespace aegis::text
