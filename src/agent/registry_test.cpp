#include "agent/registry.h"

#include <gtest/gtest.h>

#include <vector>

namespace aegis::agent {
namespace {

const std::vector<Named> kAll{
    {"a1b2c3d4-0000-4000-8000-000000000001", "python-coder"},
    {"a1b2c3d4-1111-4000-8000-000000000002", "a1b2"},
    {"b2c3d4e5-0000-4000-8000-000000000003", ""},
    {"c0c0c0c0-0000-4000-8000-000000000004", "b2c3d4e5-0000-4000-8000-000000000003"},
};

std::string found(std::string_view query) {
    auto index = resolveName(query, kAll, "agent");
    if (index) return std::to_string(*index);
    return index.error().message + (index.error().hint.empty() ? "" : " | " + index.error().hint);
}

TEST(Registry, ResolvesNamesIdsAndPrefixes) {
    EXPECT_EQ(found("python-coder"), "0");
    EXPECT_EQ(found("a1b2"), "1") << "an exact name wins over a prefix";
    EXPECT_EQ(found("b2c3d4e5-0000-4000-8000-000000000003"), "3") << "even over a full id";
    EXPECT_EQ(found("a1b2c3d4-1111-4000-8000-000000000002"), "1");
    EXPECT_EQ(found("b2c3"), "2");
    EXPECT_EQ(found("C0C0C"), "3");
    EXPECT_EQ(found("a1b2c3d4-0000-..."), "0");
    EXPECT_EQ(found("a1b2c3d4-1"), "1");
}

TEST(Registry, SaysWhyNot) {
    EXPECT_EQ(found("a1b2c"),
              "agent \"a1b2c\" is ambiguous: it could be a1b2c3d4-0000-4000-8000-000000000001 "
              "(python-coder), a1b2c3d4-1111-4000-8000-000000000002 (a1b2) | give more characters "
              "of the id");
    EXPECT_EQ(found("pyhton-coder"),
              "agent \"pyhton-coder\" not found | did you mean \"python-coder\"?");
    EXPECT_EQ(found("b2c"), "agent \"b2c\" not found | an id needs at least 4 characters");
    EXPECT_EQ(found("zzzz"), "agent \"zzzz\" not found");
    EXPECT_EQ(found(""), "agent \"\" not found");
    EXPECT_EQ(found("-..."), "agent \"-...\" not found");
    EXPECT_EQ(found("b2c3d4e5-0000-4000-8000-0000000000030"),
              "agent \"b2c3d4e5-0000-4000-8000-0000000000030\" not found | did you mean "
              "\"b2c3d4e5-0000-4000-8000-000000000003\"?");
    EXPECT_EQ(resolveName("a1b2c", kAll, "agent").error().code, ErrorCode::kInvalid);
    EXPECT_EQ(resolveName("zzzz", kAll, "agent").error().code, ErrorCode::kNotFound);
    EXPECT_EQ(idPrefix("a1b2%"), "");
    EXPECT_EQ(idPrefix("A1B2-..."), "a1b2");
}

}  // namespace
}  // namespace aegis::agent
