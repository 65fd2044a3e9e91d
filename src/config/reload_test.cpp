#include <gtest/gtest.h>

#include "config/config.h"

namespace aegis::config {
namespace {

Config configOf(std::string_view text) {
    auto parsed = parseConfig(text, "c.yaml", "", [](std::string_view) { return std::nullopt; });
    EXPECT_TRUE(parsed) << parsed.error().message;
    return parsed ? parsed->config : Config{};
}

std::vector<std::string> changed(std::string_view before, std::string_view after) {
    return needsRestart(configOf(before), configOf(after));
}

TEST(NeedsRestart, NothingOfWhatAReloadTakesOver) {
    using V = std::vector<std::string>;
    EXPECT_EQ(changed("", ""), V{});
    EXPECT_EQ(changed("",
                      "observability: {log_level: debug, log_format: json}\n"
                      "runtime: {max_concurrent_executions: 3}\n"
                      "llm: {providers: [{name: a, type: ollama, model: m}]}"),
              V{});
    EXPECT_EQ(changed("server: {tls: {cert_file: /a, key_file: /b}}",
                      "server: {tls: {cert_file: /c, key_file: /d}}"),
              V{});
}

TEST(NeedsRestart, NamesTheRest) {
    using V = std::vector<std::string>;
    EXPECT_EQ(changed("", "server: {addr: \"127.0.0.1:1\", unix_socket: /x}"),
              (V{"server.addr", "server.unix_socket"}));
    EXPECT_EQ(changed("server: {token: a}", "server: {token: b}"), V{"server.token"});
    EXPECT_EQ(changed("", "server: {tls: {cert_file: /a, key_file: /b}}"), V{"server.tls"});
    EXPECT_EQ(changed("", "retention: {executions: 1h}").size(), 1U);
}

}  // namespace
}  // namespace aegis::config
