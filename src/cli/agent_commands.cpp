// aegis agent deploy | list | get | pause | resume | delete | diff | init

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <memory>

#include "base/ids.h"
#include "cli/agent_files.h"
#include "cli/commands.h"
#include "cli/manifest_files.h"
#include "cli/table.h"
#include "cli/yaml_out.h"
#include "text/escape.h"

namespace aegis::cli {
namespace {

std::string str(const json::Value& record, std::string_view key) {
    return std::string(json::getString(record, key));
}

int deploy(Context& context, const std::vector<std::string>& names, bool validate_only) {
    auto files = readManifests(names);
    if (!files) return context.fail(files.error());
    auto* service = context.service();
    if (service == nullptr) return context.serviceExit();
    auto result = service->deploy({}, *files, validate_only);
    if (!result) return context.fail(result.error());
    const auto& items = itemsOf(*result);
    printDeployWarnings(context, items);
    if (context.format() != OutputFormat::kTable) {
        context.printValue(items.size() == 1 ? items.front() : json::Value(items));
        return 0;
    }
    for (const auto& item : items) {
        auto what = str(item, "result");
        auto name = str(item, "name");
        if (what == "valid") {
            context.print(fmt::format("Manifest of agent \"{}\" is valid\n", name));
            continue;
        }
        context.print(fmt::format("Deployed agent \"{}\" (id: {})\n", name, str(item, "id")));
        if (what == "unchanged") context.note("unchanged");
        if (what == "updated")
            context.note(fmt::format("revision {}", json::getInt(item, "revision")));
        if (str(item, "status") == "paused")
            context.note(fmt::format("hint: the agent is paused; aegis agent resume {}", name));
    }
    return 0;
}

std::string labelsText(const json::Value& record) {
    std::string out;
    const auto* labels = json::find(record, "labels");
    if (labels == nullptr || !labels->is_object()) return out;
    for (const auto& [key, value] : labels->get_object()) {
        if (!out.empty()) out += ',';
        out += fmt::format("{}={}", std::string_view(key), json::view(value.as_string()));
    }
    return out;
}

struct ListFlags {
    service::ListAgents query;
    std::vector<std::string> labels;
    bool quiet = false;
    bool wide = false;
};

void printAgents(Context& context, const json::Array& items, bool wide) {
    std::vector<std::string> header{"ID", "NAME", "STATUS", "RUNTIME", "LABELS"};
    if (wide) header.insert(header.begin() + 4, {"VERSION", "REVISION", "AGE"});
    Table table(header);
    for (const auto& item : items) {
        const auto* runtime = json::find(item, "runtime");
        std::vector<std::string> row{wide ? str(item, "id") : shortId(str(item, "id")),
                                     str(item, "name"), str(item, "status"),
                                     runtime == nullptr ? "" : str(*runtime, "isolation"),
                                     labelsText(item)};
        if (wide) {
            auto created = UtcTime::parse(json::getString(item, "created_at"));
            auto age = created ? ageText(context.clock().utc().ms - created->ms) : "";
            row.insert(row.begin() + 4,
                       {str(item, "version"), std::to_string(json::getInt(item, "revision")), age});
        }
        table.row(std::move(row));
    }
    context.print(table.str(context.width(), context.color()));
}

int list(Context& context, ListFlags& flags) {
    auto labels = parseLabels(flags.labels);
    if (!labels) return context.fail(labels.error());
    flags.query.labels = std::move(*labels);
    auto* service = context.service();
    if (service == nullptr) return context.serviceExit();
    auto all = collectPages(flags.query.limit, [&](int limit, const std::string& cursor) {
        flags.query.limit = limit;
        flags.query.cursor = cursor;
        return service->listAgents({}, flags.query);
    });
    return show(context, all, [&](const json::Value& list) {
        const auto& items = list.get_array();
        if (flags.quiet) {
            for (const auto& item : items)
                context.print(str(item, "id") + "\n");
        } else if (context.format() != OutputFormat::kTable) {
            context.printValue(json::Value(items));
        } else {
            printAgents(context, items, flags.wide);
        }
    });
}

int get(Context& context, const std::string& agent, int revision) {
    auto* service = context.service();
    if (service == nullptr) return context.serviceExit();
    return show(context, service->getAgent({}, agent, revision), [&](const json::Value& record) {
        if (context.format() != OutputFormat::kTable) {
            context.printValue(record);
            return;
        }
        json::Object head;
        for (auto key : {"id", "name", "version", "description", "status", "revision", "labels",
                         "runtime", "created_at", "updated_at"}) {
            const auto* value = json::find(record, key);
            bool empty = value == nullptr || value->is_null() ||
                         (value->is_object() && value->get_object().empty()) ||
                         (value->is_string() && value->get_string().empty());
            if (!empty) head[key] = *value;
        }
        context.print(yamlText(head));
        context.print("\nManifest:\n");
        context.print(
            text::escapeControl(json::getString(record, "manifest_yaml"), text::Lines::kKeep));
    });
}

using Change = Result<json::Value> (service::Service::*)(const service::Principal&,
                                                         const std::string&);

int change(Context& context, const std::vector<std::string>& agents, Change function,
           std::string_view verb) {
    auto* service = context.service();
    if (service == nullptr) return context.serviceExit();
    int worst = 0;
    json::Array records;
    for (const auto& agent : agents) {
        auto record = (service->*function)({}, agent);
        if (!record) {
            // The others all the same: what was done for one does not depend on the order.
            worst = std::max(worst, context.fail(record.error()));
            continue;
        }
        if (context.format() == OutputFormat::kTable)
            context.print(fmt::format("{} agent \"{}\" (id: {})\n", verb, str(*record, "name"),
                                      str(*record, "id")));
        records.push_back(std::move(*record));
    }
    if (context.format() != OutputFormat::kTable) printNamed(context, records, agents.size());
    return worst;
}

int remove(Context& context, const std::vector<std::string>& agents) {
    if (!context.flags.yes) {
        if (!context.interactive())
            return context.fail({ErrorCode::kInvalid, "agent delete asks for confirmation",
                                 "without a terminal, give --yes"});
        auto names = fmt::format("{}", fmt::join(agents, ", "));
        if (!context.confirm(fmt::format("Delete {}? It cannot be restored.", names))) {
            context.note("nothing deleted");
            return 130;
        }
    }
    return change(context, agents, &service::Service::deleteAgent, "Deleted");
}

}  // namespace

void printDeployWarnings(const Context& context, const json::Array& items) {
    for (const auto& item : items) {
        const auto* warnings = json::find(item, "warnings");
        if (warnings == nullptr || !warnings->is_array()) continue;
        for (const auto& w : warnings->get_array())
            context.warn(std::string(json::view(w.as_string())));
    }
}

namespace {

void addFileCommands(CLI::App& group, Context& context) {
    auto files = std::make_shared<std::vector<std::string>>();
    auto* command = group.add_subcommand("diff", "Show what a deploy would change");
    command->add_option("file", *files, "Manifest files, directories, or - for stdin")->required();
    command->callback([&context, files] {
        context.action = [&context, files] { return diffManifests(context, *files); };
    });

    auto name = std::make_shared<std::string>();
    auto file = std::make_shared<std::string>();
    command = group.add_subcommand("init", "Write a commented starter manifest");
    command->add_option("name", *name, "The agent's name (default my-agent), or - for stdout");
    command->add_option("-f,--file", *file, "Where to (default <name>.yaml), or - for stdout");
    command->callback([&context, name, file] {
        context.action = [&context, name, file] { return initManifest(context, *name, *file); };
    });
}

}  // namespace

void addAgentCommands(CLI::App& app, Context& context) {
    auto* group = app.add_subcommand("agent", "Deploy and manage agents");
    group->require_subcommand(1);

    auto files = std::make_shared<std::vector<std::string>>();
    auto validate = std::make_shared<bool>(false);
    auto* command = group->add_subcommand("deploy", "Validate and store a manifest");
    command->add_option("file", *files, "Manifest files, directories, or - for stdin")->required();
    command->add_flag("--validate-only", *validate, "Check without storing");
    command->callback([&context, files, validate] {
        context.action = [&context, files, validate] { return deploy(context, *files, *validate); };
    });

    auto flags = std::make_shared<ListFlags>();
    command = group->add_subcommand("list", "List agents");
    command->add_option("--status", flags->query.status, "deployed, paused or archived")
        ->check(CLI::IsMember({"deployed", "paused", "archived"}));
    command->add_option("--label", flags->labels, "Only agents with this label (key=value)");
    command->add_option("--limit", flags->query.limit, "At most so many")
        ->check(CLI::Range(1, kMostListed));
    command->add_flag("--all", flags->query.all, "Archived agents too");
    command->add_flag("-q,--quiet", flags->quiet, "Only ids");
    command->add_flag("--wide", flags->wide, "Full ids, version, revision and age");
    command->callback([&context, flags] {
        context.action = [&context, flags] { return list(context, *flags); };
    });

    auto agent = std::make_shared<std::string>();
    auto revision = std::make_shared<int>(0);
    command = group->add_subcommand("get", "Show an agent with its manifest");
    command->add_option("agent", *agent, "Name, id or unique id prefix")->required();
    command->add_option("--revision", *revision, "An older revision")->check(CLI::PositiveNumber);
    command->callback([&context, agent, revision] {
        context.action = [&context, agent, revision] { return get(context, *agent, *revision); };
    });

    auto agents = std::make_shared<std::vector<std::string>>();
    auto add = [&](const char* name, const char* help, std::function<int()> action) {
        auto* sub = group->add_subcommand(name, help);
        sub->add_option("agent", *agents, "Names, ids or unique id prefixes")->required();
        sub->callback([&context, action = std::move(action)] { context.action = action; });
    };
    add("pause", "Refuse new executions", [&context, agents] {
        return change(context, *agents, &service::Service::pauseAgent, "Paused");
    });
    add("resume", "Accept executions again", [&context, agents] {
        return change(context, *agents, &service::Service::resumeAgent, "Resumed");
    });
    add("delete", "Archive an agent", [&context, agents] { return remove(context, *agents); });
    addFileCommands(*group, context);
}

}  // namespace aegis::cli
