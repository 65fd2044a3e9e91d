#include "cli/table.h"

#include <gtest/gtest.h>

#include "cli/color.h"
#include "text/display_width.h"

namespace aegis::cli {
namespace {

Table sample() {
    Table table({"ID", "NAME", "STATUS", "LABELS"});
    table.row({"a1b2c3d4-0000-...", "日本語", "deployed", "type=developer,team=research"});
    table.row({"ffffffff-0000-...", "plain\x1b[31m", "paused", ""});
    return table;
}

TEST(Table, AlignsByColumnsOfTheTerminal) {
    EXPECT_EQ(sample().str(0),
              "ID                 NAME           STATUS    LABELS\n"
              "a1b2c3d4-0000-...  日本語         deployed  type=developer,team=research\n"
              "ffffffff-0000-...  plain\\x1b[31m  paused\n");
}

TEST(Table, FitsTheWidth) {
    for (int width : {80, 60, 50, 43}) {
        auto text = sample().str(width);
        for (std::size_t at = 0; at < text.size();) {
            auto end = text.find('\n', at);
            EXPECT_LE(text::displayWidth(text.substr(at, end - at)),
                      static_cast<std::size_t>(width));
            at = end + 1;
        }
    }
    // No column is cut below what can be recognised.
    EXPECT_NE(sample().str(10).find("a1b2c3d…"), std::string::npos);
}

TEST(Table, ColoursStatusWordsOnly) {
    auto text = sample().str(0, true);
    EXPECT_NE(text.find("\x1b[32mdeployed\x1b[0m  type"), std::string::npos) << text;
    EXPECT_NE(text.find("\x1b[33mpaused\x1b[0m"), std::string::npos) << text;
    EXPECT_EQ(text.find("\x1b[32mplain"), std::string::npos);
}

TEST(Color, PaintsOnlyWhenOn) {
    EXPECT_EQ(painted("x", Color::kRed, false), "x");
    EXPECT_EQ(painted("x", Color::kRed, true), "\x1b[31mx\x1b[0m");
    EXPECT_EQ(painted("x", Color::kNone, true), "x");
    EXPECT_EQ(statusColor("nonsense"), Color::kNone);
}

}  // namespace
}  // namespace aegis::cli
