// aegis completion, schema: what is made for shells and editors.

#include <memory>

#include "cli/commands.h"
#include "cli/completion.h"

namespace aegis::cli {

void addShellCommands(CLI::App& app, Context& context, const NodeCommands& node) {
    auto* command = app.add_subcommand("schema", "Print a JSON Schema for editors");
    auto schema = std::make_shared<std::string>();
    command->add_option("name", *schema, "Of a manifest or of the node's configuration")
        ->required()
        ->check(CLI::IsMember({"agent", "config"}));
    command->callback([&context, &node, schema] {
        context.action = [&context, &node, schema] {
            auto text = node.schema(*schema);
            if (!text) return context.fail(text.error());
            if (context.format() == OutputFormat::kYaml)
                context.printValue(*text);
            else
                context.print(json::dumpPretty(*text) + "\n");
            return 0;
        };
    });

    command = app.add_subcommand("completion", "Print a shell's completion script");
    auto shell = std::make_shared<std::string>();
    command->add_option("shell", *shell, "The shell")
        ->required()
        ->check(CLI::IsMember({"bash", "zsh", "fish"}));
    command->callback([&context, shell] {
        context.action = [&context, shell] {
            context.print(completionScript(*shell));
            return 0;
        };
    });
}

}  // namespace aegis::cli
