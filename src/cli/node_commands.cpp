// aegis daemon, image, config, doctor: the machine's own commands.

#include "cli/node_commands.h"

#include <fmt/format.h>

#include <memory>

#include "cli/commands.h"
#include "cli/yaml_out.h"

namespace aegis::cli {
namespace {

int status(Context& context) {
    auto* service = context.service();
    if (service == nullptr) return context.serviceExit();
    return show(context, service->nodeStatus({}), [&](const json::Value& record) {
        if (context.json())
            context.printValue(record);
        else
            context.print(yamlText(record));
    });
}

void addDaemonCommands(CLI::App& app, Context& context, const NodeCommands& node) {
    auto* group = app.add_subcommand("daemon", "Start and stop the daemon");
    auto detach = std::make_shared<bool>(false);
    auto start = [&context, &node, detach] {
        context.action = [&context, &node, detach] {
            return node.start(context, {context.flags.config, *detach});
        };
    };
    auto* command = group->add_subcommand("start", "Run the daemon in the foreground");
    command->add_flag("--detach", *detach, "In the background; returns when it is ready");
    command->callback(start);
    command = group->add_subcommand("stop", "End the daemon cleanly");
    command->callback([&] { context.action = [&] { return node.stop(context); }; });
    command = group->add_subcommand("status", "Show what the daemon says of itself");
    command->callback([&] { context.action = [&] { return status(context); }; });
    command = group->add_subcommand("reload", "Read the configuration again");
    command->callback([&] { context.action = [&] { return node.reload(context); }; });
    group->callback([group, start] {
        if (group->get_subcommands().empty()) start();
    });
}

void addImageCommands(CLI::App& app, Context& context, const NodeCommands& node) {
    auto* group = app.add_subcommand("image", "The base images");
    group->require_subcommand(1);
    auto* command = group->add_subcommand("list", "List the base images of this machine");
    command->callback([&] { context.action = [&] { return node.list_images(context); }; });
    command = group->add_subcommand("build", "Build a base image without any registry");
    auto language = std::make_shared<std::string>();
    auto version = std::make_shared<std::string>();
    command->add_option("language", *language, "python")->required();
    command->add_option("version", *version, "3.11")->required();
    command->callback([&context, &node, language, version] {
        context.action = [&context, &node, language, version] {
            return node.build_image(context, *language, *version);
        };
    });
}

void addConfigCommands(CLI::App& app, Context& context, const NodeCommands& node) {
    auto* group = app.add_subcommand("config", "The node's configuration");
    group->require_subcommand(1);
    auto* command = group->add_subcommand("validate", "Check aegis-config.yaml");
    command->callback([&] { context.action = [&] { return node.validate_config(context); }; });
    command = group->add_subcommand("dump", "Show it resolved, secrets redacted");
    command->callback([&] { context.action = [&] { return node.dump_config(context); }; });
}

}  // namespace

void addNodeCommands(CLI::App& app, Context& context, const NodeCommands& node) {
    addDaemonCommands(app, context, node);
    addImageCommands(app, context, node);
    addConfigCommands(app, context, node);
    auto* doctor = app.add_subcommand("doctor", "Check that this machine can run agents");
    doctor->callback([&] { context.action = [&] { return node.doctor(context); }; });
}

}  // namespace aegis::cli
