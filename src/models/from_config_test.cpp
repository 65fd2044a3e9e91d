#include "models/from_config.h"

#include <gtest/gtest.h>
#include <stdlib.h>

#include <fstream>

#include "os/files.h"

namespace aegis::models {
namespace {

config::ProviderConfig configured(std::string name, config::ProviderType type) {
    config::ProviderConfig out;
    out.name = std::move(name);
    out.type = type;
    out.model = "m";
    return out;
}

TEST(CatalogFrom, KeepsOrderAliasesAndWhatNeedsAKey) {
    config::LlmConfig llm;
    llm.providers = {configured("gpt", config::ProviderType::kOpenai),
                     configured("mine", config::ProviderType::kOpenai),
                     configured("local", config::ProviderType::kOllama),
                     configured("claude", config::ProviderType::kAnthropic)};
    llm.providers[0].api_key_variable = "MY_KEY";
    llm.providers[1].base_url = "http://localhost:8000/v1";
    llm.providers[3].price = config::Price{3, 15};
    llm.aliases = {{"default", {"gpt"}}, {"many", {"claude", "gpt"}}};
    auto catalog = catalogFrom(llm);
    ASSERT_TRUE(catalog);
    ASSERT_EQ(catalog->providers.size(), 4U);
    EXPECT_TRUE(catalog->providers[0]->lacksKey());
    EXPECT_EQ(catalog->providers[0]->settings.key_hint,
              "set MY_KEY to a valid key in the daemon's environment");
    EXPECT_FALSE(catalog->providers[1]->lacksKey());
    EXPECT_FALSE(catalog->providers[2]->lacksKey());
    EXPECT_EQ(catalog->providers[2]->settings.base_url, "http://localhost:11434/v1");
    EXPECT_TRUE(catalog->providers[3]->lacksKey());
    EXPECT_DOUBLE_EQ(catalog->providers[3]->settings.output_per_mtok, 15);
    EXPECT_EQ(catalog->names(), (std::vector<std::string>{"default", "many"}));
    EXPECT_EQ(catalog->resolve("many")->at(0)->settings.name, "claude");
}

TEST(CatalogFrom, ScriptsAreReadAndEveryProblemIsReported) {
    char name[] = "/tmp/aegis-script-XXXXXX";
    std::string dir = ::mkdtemp(name);
    std::ofstream(dir + "/good.yaml") << "- {match: '', turns: [{content: hi}]}\n";
    std::ofstream(dir + "/bad.yaml") << "- {match: '('}\n";
    config::LlmConfig llm;
    llm.providers = {configured("good", config::ProviderType::kScripted)};
    llm.providers[0].model = "";
    llm.providers[0].script = dir + "/good.yaml";
    auto catalog = catalogFrom(llm);
    ASSERT_TRUE(catalog) << catalog.error().message;
    EXPECT_EQ(catalog->providers[0]->settings.model, "scripted");
    llm.providers[0].script = dir + "/bad.yaml";
    llm.providers.push_back(configured("gone", config::ProviderType::kScripted));
    llm.providers[1].script = dir + "/bad.yaml";
    catalog = catalogFrom(llm);
    ASSERT_FALSE(catalog);
    EXPECT_EQ(catalog.error().code, ErrorCode::kInvalid);
    EXPECT_EQ(catalog.error().details.size(), 4U);
    EXPECT_TRUE(catalog.error().message.starts_with("provider \"good\": "))
        << catalog.error().message;
    EXPECT_TRUE(os::removeTree(dir));
}

}  // namespace
}  // namespace aegis::models
