#include "cli/hidden_commands.h"

#include <fmt/format.h>
#include <sys/time.h>
#include <unistd.h>

#include <CLI/App.hpp>
#include <algorithm>
#include <csignal>
#include <cstdlib>

#include "cli/commands.h"
#include "cli/completion.h"
#include "cli/manual.h"
#include "os/files.h"

namespace aegis::cli {
namespace {

constexpr int kPatienceMs = 400;  // a shell waits for it while somebody types
constexpr int kMostNames = 200;

std::string str(const json::Value& record, std::string_view key) {
    return std::string(json::getString(record, key));
}

std::vector<Candidate> agentNames(service::Service& service, std::string_view command) {
    service::ListAgents query;
    query.limit = kMostNames;
    if (command == "agent pause") query.status = "deployed";
    if (command == "agent resume") query.status = "paused";
    if (command.starts_with("execution")) query.all = true;
    auto page = service.listAgents({}, query);
    std::vector<Candidate> out;
    if (!page) return out;
    for (const auto& item : itemsOf(*page))
        out.push_back({str(item, "name"), str(item, "status")});
    return out;
}

std::vector<Candidate> executionIds(service::Service& service, const NameQuery& query) {
    std::vector<Candidate> out;
    if (std::string_view("@last").starts_with(query.prefix)) out.push_back({"@last", "the newest"});
    bool live = query.command == "execution cancel" || query.command == "execution wait";
    service::ListExecutions list;
    list.limit = kMostNames;
    auto page = service.listExecutions({}, list);
    if (!page) return out;
    for (const auto& item : itemsOf(*page)) {
        auto status = str(item, "status");
        if (live && status != "pending" && status != "running") continue;
        out.push_back({str(item, "id"), fmt::format("{} {}", str(item, "agent_name"), status)});
    }
    return out;
}

std::vector<Candidate> volumeIds(service::Service& service) {
    auto page = service.listVolumes({});
    std::vector<Candidate> out;
    if (!page) return out;
    for (const auto& item : itemsOf(*page))
        out.push_back({str(item, "id"), str(item, "name")});
    return out;
}

std::vector<Candidate> modelAliases(service::Service& service) {
    auto status = service.nodeStatus({});
    std::vector<Candidate> out;
    const auto* aliases = status ? json::find(*status, "model_aliases") : nullptr;
    if (aliases == nullptr || !aliases->is_array()) return out;
    for (const auto& alias : aliases->get_array())
        if (alias.is_string()) out.push_back({std::string(json::view(alias.get_string())), ""});
    return out;
}

std::vector<Candidate> namesOf(service::Service& service, const NameQuery& query) {
    if (query.kind == ValueKind::kAgent) return agentNames(service, query.command);
    if (query.kind == ValueKind::kExecution) return executionIds(service, query);
    if (query.kind == ValueKind::kVolume) return volumeIds(service);
    return modelAliases(service);
}

/// Whatever goes wrong, or takes too long, there is nothing to offer and nothing is said.
int completeWords(CLI::App& app, Context& context, std::vector<std::string> words) {
    std::signal(SIGALRM, [](int) { ::_exit(0); });
    itimerval patience{};
    patience.it_value.tv_usec = kPatienceMs * 1000;
    ::setitimer(ITIMER_REAL, &patience, nullptr);
    auto given = [&](std::string_view flag, const char* variable, std::string fallback) {
        auto value = globalValue(words, flag);
        const char* set = std::getenv(variable);
        return !value.empty() ? value : set != nullptr ? std::string(set) : fallback;
    };
    context.flags.daemon_addr = given("--daemon-addr", "AEGIS_DAEMON_ADDR", "localhost:9090");
    context.flags.token = given("--token", "AEGIS_TOKEN", "");
    auto names = [&](const NameQuery& query) -> std::vector<Candidate> {
        auto service = context.connect();
        return service ? namesOf(**service, query) : std::vector<Candidate>();
    };
    context.print(completionText(complete(app, words, names)));
    return 0;
}

int writePages(const CLI::App& app, const Context& context, const std::string& dir,
               std::string_view version) {
    constexpr unsigned kFolder = 0755, kFile = 0644;
    if (auto made = os::makeDirs(dir, kFolder); !made) return context.fail(made.error());
    for (const auto& page : manPages(app, version)) {
        auto written = os::writeFileAtomic(dir + "/" + page.file, page.text, kFile);
        if (!written) return context.fail(written.error());
    }
    return 0;
}

}  // namespace

std::optional<int> runHidden(CLI::App& app, Context& context, const std::vector<std::string>& words,
                             std::string_view version) {
    if (words.empty()) return std::nullopt;
    if (words[0] == "__complete") {
        auto from = words.begin() + (words.size() > 1 && words[1] == "--" ? 2 : 1);
        return completeWords(app, context, {from, words.end()});
    }
    if (words[0] == "__man" && words.size() == 2)
        return writePages(app, context, words[1], version);
    return std::nullopt;
}

}  // namespace aegis::cli
