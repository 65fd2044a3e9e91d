#include "api/contract.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "api/api_routes.h"

namespace aegis::api {
namespace {

std::vector<std::string> capturedBy(std::string_view pattern, std::string_view path) {
    std::vector<std::string> captured;
    if (!matches(pattern, path, captured)) return {"no"};
    return captured;
}

TEST(Contract, PathsFitPatterns) {
    using V = std::vector<std::string>;
    EXPECT_EQ(capturedBy("/v1/agents", "/v1/agents"), V{});
    EXPECT_EQ(capturedBy("/v1/agents/{a}/pause", "/v1/agents/x y/pause"), V{"x y"});
    EXPECT_EQ(capturedBy("/v1/agents/{a}", "/v1/agents"), V{"no"});
    EXPECT_EQ(capturedBy("/v1/agents/{a}", "/v1/agents/b/c"), V{"no"});
    EXPECT_EQ(capturedBy("/v1/volumes/{v}/files/{path...}", "/v1/volumes/1/files/a/b"),
              (V{"1", "a/b"}));
    EXPECT_EQ(capturedBy("/v1/volumes/{v}/files/{path...}", "/v1/volumes/1/files"), V{"no"});
}

Status check(std::string_view text) {
    static const Operation kOperation{
        "GET", "/x", "x", "",
        {{"limit", ParameterType::kInteger, "", 1, 10},
         {"all", ParameterType::kBoolean, ""},
         {"since", ParameterType::kTime, ""},
         {"status", ParameterType::kWord, "", 0, 0, "on off"},
         {"label", ParameterType::kLabel, ""}}};
    auto query = wire::parseQuery(text);
    EXPECT_TRUE(query);
    return checkQuery(kOperation, *query);
}

TEST(Contract, GoodQueries) {
    for (auto text : {"", "limit=1", "limit=10&all=true", "since=2026-02-23T10:00:01.250Z",
                      "status=off", "label=a=b&label=c=", "label=a=b=c"})
        EXPECT_TRUE(check(text)) << text;
}

TEST(Contract, NothingOfAQueryIsIgnored) {
    for (auto text : {"limit=0", "limit=11", "limit=1x", "limit=", "limit=+1", "all=yes", "all",
                      "since=yesterday", "status=o", "label=a", "label==b", "limit=1&limit=2",
                      "other=1"}) {
        auto status = check(text);
        ASSERT_FALSE(status) << text;
        EXPECT_EQ(status.error().code, ErrorCode::kInvalid);
        EXPECT_EQ(status.error().details.size(), 1U) << text;
    }
    auto two = check("limt=3&all=maybe");
    ASSERT_FALSE(two);
    EXPECT_EQ(two.error().message, "unknown query parameter \"limt\"");
    EXPECT_EQ(two.error().hint, "did you mean \"limit\"?");
    ASSERT_EQ(two.error().details.size(), 2U);
    EXPECT_EQ(two.error().details[1].path, "query.all");
}

/// Every "$ref" below `value`.
void references(const json::Value& value, std::set<std::string>& out) {
    if (value.is_array())
        for (const auto& item : value.get_array()) references(item, out);
    if (!value.is_object()) return;
    for (const auto& member : value.get_object()) {
        if (member.key() == "$ref")
            out.insert(std::string(json::view(member.value().as_string())));
        else
            references(member.value(), out);
    }
}

TEST(OpenApi, HasExactlyTheRoutesAndTheirSchemas) {
    auto operations = ApiRoutes::operations();
    json::Value document = openApiDocument(operations, "1.2.3");
    const auto& paths = json::find(document, "paths")->as_object();
    std::set<std::string> ids;
    std::size_t count = 0;
    for (const auto& path : paths) {
        for (const auto& method : path.value().as_object()) {
            ++count;
            std::string id(json::getString(method.value(), "operationId"));
            EXPECT_TRUE(ids.insert(id).second) << id << " is there twice";
            EXPECT_TRUE(std::ranges::any_of(operations, [&](const Operation* op) {
                return op->id == id;
            })) << id;
        }
    }
    EXPECT_EQ(count, operations.size());
    std::set<std::string> used;
    references(document, used);
    const auto& schemas = json::find(*json::find(document, "components"), "schemas")->as_object();
    for (const auto& reference : used) {
        auto name = reference.substr(reference.rfind('/') + 1);
        EXPECT_TRUE(schemas.contains(name)) << "nothing is called " << name;
    }
    for (const auto& schema : schemas)
        EXPECT_TRUE(used.contains("#/components/schemas/" + std::string(schema.key())))
            << schema.key() << " is not used";
}

TEST(OpenApi, ObjectsAreClosed) {
    for (const auto& schema : openApiSchemas()) {
        if (json::getString(schema.value(), "type") != "object") continue;
        const auto* more = json::find(schema.value(), "additionalProperties");
        ASSERT_NE(more, nullptr) << schema.key();
        EXPECT_EQ(*more, json::Value(false)) << schema.key();
    }
}

TEST(OpenApi, EveryEventOfTheJournalHasASchema) {
    auto schemas = openApiSchemas();
    execution::Event event;
    event.data = execution::LlmCallCompleted{};
    EXPECT_TRUE(schemas.contains(execution::typeName(event)));
    for (auto type : {"EgressAllowed", "EgressDenied", "ExecutionCancelled", "AgentDeleted"})
        EXPECT_TRUE(schemas.contains(type)) << type;
}

}  // namespace
}  // namespace aegis::api
