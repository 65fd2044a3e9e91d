#include "models/wire_names.h"

#include <gtest/gtest.h>

#include <random>
#include <set>

namespace aegis::models {
namespace {

TEST(WireNames, DotsBecomeUnderscores) {
    WireNames names;
    EXPECT_EQ(names.toWire("fs.write"), "fs_write");
    EXPECT_EQ(names.toWire("plain-name_1"), "plain-name_1");
    EXPECT_EQ(names.fromWire("fs_write"), "fs.write");
    EXPECT_EQ(names.fromWire("invented"), "invented");
}

TEST(WireNames, ALegalNameKeepsItsSpellingWhateverTheOrder) {
    WireNames names;
    names.add({"fs.write", "fs_write"});
    EXPECT_EQ(names.toWire("fs_write"), "fs_write");
    EXPECT_NE(names.toWire("fs.write"), "fs_write");
    EXPECT_TRUE(names.toWire("fs.write").starts_with("fs_write_"));
    EXPECT_EQ(names.fromWire(names.toWire("fs.write")), "fs.write");
}

TEST(WireNames, LongAndEmptyNamesGetASuffix) {
    WireNames names;
    std::string a = std::string(70, 'x') + "a", b = std::string(70, 'x') + "b";
    EXPECT_EQ(names.toWire(a).size(), 64U);
    EXPECT_NE(names.toWire(a), names.toWire(b));
    EXPECT_TRUE(WireNames::isLegal(names.toWire("")));
    EXPECT_EQ(names.fromWire(names.toWire("")), "");
}

// A legal name may even look like another name's hashed form.
TEST(WireNames, ANameThatEqualsAHashedFormCollidesWithNothing) {
    WireNames first;
    first.add({"a_b", "a.b"});
    std::string hashed = first.toWire("a.b");
    WireNames second;
    second.add({"a.b", "a_b", hashed});
    EXPECT_EQ(second.toWire(hashed), hashed);
    EXPECT_EQ(second.fromWire(second.toWire("a.b")), "a.b");
    EXPECT_NE(second.toWire("a.b"), hashed);
}

TEST(WireNames, PropertyInjectiveLegalReversibleDeterministic) {
    std::mt19937 engine(20260223);
    constexpr std::string_view kAlphabet = "ab._-/ \n\xff";
    for (int round = 0; round < 300; ++round) {
        std::set<std::string> distinct;
        for (int i = 0; i < 40; ++i) {
            std::string name(engine() % 20 == 0 ? 60 + engine() % 10 : engine() % 5, ' ');
            for (char& c : name)
                c = kAlphabet[engine() % kAlphabet.size()];
            distinct.insert(name);
        }
        std::vector<std::string> all(distinct.begin(), distinct.end());
        WireNames names, again;
        names.add(all);
        again.add(all);
        std::set<std::string> wires;
        for (const std::string& name : all) {
            const std::string& wire = names.toWire(name);
            ASSERT_TRUE(WireNames::isLegal(wire)) << wire;
            ASSERT_TRUE(wires.insert(wire).second) << wire;
            ASSERT_EQ(names.fromWire(wire), name);
            ASSERT_EQ(again.toWire(name), wire);
            if (WireNames::isLegal(name)) {
                ASSERT_EQ(wire, name);
            }
        }
    }
}

}  // namespace
}  // namespace aegis::models
