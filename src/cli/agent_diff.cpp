// aegis agent diff

#include <fmt/format.h>

#include "cli/agent_files.h"
#include "cli/color.h"
#include "cli/commands.h"
#include "cli/manifest_files.h"
#include "text/escape.h"
#include "text/line_diff.h"

namespace aegis::cli {
namespace {

struct Change {
    std::string name;
    std::string id;             ///< empty: a new agent
    std::int64_t revision = 0;  ///< the stored one; 0: a new agent
    std::string diff;           ///< empty: nothing would change

    std::string_view result() const {
        return revision == 0 ? "created" : diff.empty() ? "unchanged" : "updated";
    }
    json::Object record() const {
        return {{"name", name},
                {"id", id.empty() ? json::Value(nullptr) : json::Value(id)},
                {"result", result()},
                {"revision", revision == 0 ? json::Value(nullptr) : json::Value(revision)},
                {"diff", diff}};
    }
};

/// What deploying this document would do to the agent of its name.
Result<Change> changeOf(service::Service& service, const json::Value& item) {
    Change out;
    out.name = json::getString(item, "name");
    auto text = json::getString(item, "manifest_yaml");
    auto stored = service.getAgent({}, out.name, 0);
    if (!stored && stored.error().code != ErrorCode::kNotFound) return stored.error();
    // A name may also be the beginning of another agent's id.
    bool there = stored && json::getString(*stored, "name") == out.name &&
                 json::getString(*stored, "status") != "archived";
    if (!there) {
        out.diff = text::unifiedDiff("", text, "/dev/null", fmt::format("{} (new)", out.name));
        return out;
    }
    out.id = json::getString(*stored, "id");
    out.revision = json::getInt(*stored, "revision");
    out.diff = text::unifiedDiff(json::getString(*stored, "manifest_yaml"), text,
                                 fmt::format("{} (revision {})", out.name, out.revision),
                                 fmt::format("{} (revision {})", out.name, out.revision + 1));
    return out;
}

std::string colored(std::string_view diff, bool on) {
    std::string out;
    while (!diff.empty()) {
        auto line = diff.substr(0, diff.find('\n'));
        diff.remove_prefix(std::min(line.size() + 1, diff.size()));
        auto color = line.starts_with("---") || line.starts_with("+++") ? Color::kBold
                     : line.starts_with("@@")                           ? Color::kCyan
                     : line.starts_with('-')                            ? Color::kRed
                     : line.starts_with('+')                            ? Color::kGreen
                                                                        : Color::kNone;
        out += painted(text::escapeControl(line, text::Lines::kKeep), color, on) + "\n";
    }
    return out;
}

}  // namespace

int diffManifests(Context& context, const std::vector<std::string>& names) {
    auto files = readManifests(names);
    if (!files) return context.fail(files.error());
    auto* service = context.service();
    if (service == nullptr) return context.serviceExit();
    auto checked = service->deploy({}, *files, true);
    if (!checked) return context.fail(checked.error());
    const auto& items = itemsOf(*checked);
    printDeployWarnings(context, items);
    std::vector<Change> changes;
    for (const auto& item : items) {
        auto change = changeOf(*service, item);
        if (!change) return context.fail(change.error());
        changes.push_back(std::move(*change));
    }
    if (context.format() != OutputFormat::kTable) {
        json::Array records;
        for (const auto& change : changes)
            records.push_back(change.record());
        context.printValue(records.size() == 1 ? records.front() : json::Value(records));
        return 0;
    }
    for (const auto& change : changes) {
        if (change.diff.empty())
            context.print(fmt::format("Agent \"{}\": no changes\n", change.name));
        else
            context.print(colored(change.diff, context.color()));
    }
    return 0;
}

}  // namespace aegis::cli
