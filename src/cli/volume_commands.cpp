// aegis volume list | get | delete (files and cp: volume_files.cpp)

#include <fmt/format.h>

#include <memory>

#include "base/ids.h"
#include "cli/commands.h"
#include "cli/table.h"
#include "cli/volume_files.h"
#include "cli/yaml_out.h"

namespace aegis::cli {
namespace {

std::string str(const json::Value& record, std::string_view key) {
    return std::string(json::getString(record, key));
}

/// As manifests write sizes; rounded down where no unit fits.
std::string sizeText(std::int64_t bytes) {
    constexpr std::int64_t kKi = 1 << 10;
    constexpr std::int64_t kMi = 1 << 20;
    constexpr std::int64_t kGi = 1 << 30;
    if (bytes >= kGi && bytes % kGi == 0) return fmt::format("{}Gi", bytes / kGi);
    if (bytes >= kMi) return fmt::format("{}Mi", bytes / kMi);
    return bytes >= kKi ? fmt::format("{}Ki", bytes / kKi) : fmt::format("{}", bytes);
}

int list(Context& context, std::string execution) {
    auto* service = context.service();
    if (service == nullptr) return context.serviceExit();
    if (!execution.empty()) {
        auto record = service->getExecution({}, execution);
        if (!record) return context.fail(record.error());
        execution = str(*record, "id");
    }
    return show(context, service->listVolumes({}), [&](const json::Value& page) {
        json::Array items;
        for (const auto& item : itemsOf(page)) {
            if (execution.empty() || str(item, "execution_id") == execution) items.push_back(item);
        }
        if (context.format() != OutputFormat::kTable) {
            context.printValue(json::Value(items));
            return;
        }
        Table table({"ID", "NAME", "CLASS", "SIZE", "USED", "EXECUTION", "EXPIRES"});
        for (const auto& item : items) {
            table.row({shortId(str(item, "id")), str(item, "name"), str(item, "storage_class"),
                       sizeText(json::getInt(item, "size_limit_bytes")),
                       sizeText(json::getInt(item, "used_bytes")),
                       shortId(str(item, "execution_id")), str(item, "expires_at")});
        }
        context.print(table.str(context.width(), context.color()));
    });
}

}  // namespace

void addVolumeCommands(CLI::App& app, Context& context) {
    auto* group = app.add_subcommand("volume", "Inspect and delete volumes");
    group->require_subcommand(1);

    auto execution = std::make_shared<std::string>();
    auto* command = group->add_subcommand("list", "List volumes");
    command->add_option("--execution", *execution, "Only of this execution");
    command->callback([&context, execution] {
        context.action = [&context, execution] { return list(context, *execution); };
    });

    auto id = std::make_shared<std::string>();
    command = group->add_subcommand("get", "Show a volume");
    command->add_option("id", *id, "Id or unique prefix")->required();
    command->callback([&context, id] {
        context.action = [&context, id] {
            auto* service = context.service();
            if (service == nullptr) return context.serviceExit();
            return show(context, service->getVolume({}, *id), [&](const json::Value& record) {
                if (context.json())
                    context.printValue(record);
                else
                    context.print(yamlText(record));
            });
        };
    });

    command = group->add_subcommand("delete", "Delete a volume that nothing uses");
    command->add_option("id", *id, "Id or unique prefix")->required();
    command->callback([&context, id] {
        context.action = [&context, id] {
            auto* service = context.service();
            if (service == nullptr) return context.serviceExit();
            auto record = service->getVolume({}, *id);
            if (!record) return context.fail(record.error());
            if (auto done = service->deleteVolume({}, str(*record, "id")); !done)
                return context.fail(done.error());
            if (context.format() == OutputFormat::kTable)
                context.print(fmt::format("Deleted volume {}\n", str(*record, "id")));
            else
                context.printValue(*record);
            return 0;
        };
    });
    addVolumeFileCommands(*group, context);
}

}  // namespace aegis::cli
