// aegis execution export

#include <fmt/format.h>
#include <unistd.h>

#include <memory>

#include "cli/commands.h"
#include "cli/local_file.h"

namespace aegis::cli {
namespace {

int exportExecution(Context& context, const std::string& reference, std::string file) {
    if (file == "-" && ::isatty(STDOUT_FILENO) == 1)
        return context.fail({ErrorCode::kInvalid, "an archive is not for a terminal",
                             "send it on: --file - > execution.tar.gz"});
    auto* service = context.service();
    if (service == nullptr) return context.serviceExit();
    // The whole id names the file, and everything that follows is of this one execution.
    auto record = service->getExecution({}, reference);
    if (!record) return context.fail(record.error());
    std::string id(json::getString(*record, "id"));
    if (file.empty()) file = id + ".tar.gz";
    auto bytes = downloadTo(file, context.flags.yes, [&](const service::DownloadSink& sink) {
        return service->exportExecution({}, id, sink);
    });
    if (!bytes) return context.fail(bytes.error());
    if (file == "-") return 0;
    if (context.format() == OutputFormat::kTable)
        context.print(fmt::format("Exported execution {} to {} ({} bytes)\n", id, file, *bytes));
    else
        context.printValue(json::Object{{"id", id}, {"file", file}, {"bytes", *bytes}});
    return 0;
}

}  // namespace

void addExportCommand(CLI::App& group, Context& context) {
    auto id = std::make_shared<std::string>();
    auto file = std::make_shared<std::string>();
    auto* command =
        group.add_subcommand("export", "Write record, manifest, events and logs to one archive");
    command->add_option("id", *id, "Id, unique prefix, or @last")->required();
    command->add_option("-f,--file", *file, "Where to (default <id>.tar.gz; - for stdout)")
        ->type_name("<path>");
    command->callback([&context, id, file] {
        context.action = [&context, id, file] { return exportExecution(context, *id, *file); };
    });
}

}  // namespace aegis::cli
