// aegis execution replay

#include <fmt/format.h>

#include <memory>

#include "base/ids.h"
#include "cli/commands.h"
#include "os/files.h"

namespace aegis::cli {
namespace {

constexpr std::uint64_t kMaxArchiveBytes = 1ULL << 30U;

/// An exported archive, and not an execution's id: it says so by its name.
bool isArchive(const std::string& reference) {
    return reference.ends_with(".tar.gz") || reference.ends_with(".tgz");
}

Result<json::Value> replayFile(const NodeCommands& node, const std::string& path) {
    auto bytes = os::readFile(path, kMaxArchiveBytes);
    if (!bytes) return Error(ErrorCode::kInvalid, bytes.error().message);
    auto result = node.replay_archive(*bytes);
    if (!result) return std::move(result.error()).within(path);
    return result;
}

/// The difference as an error: where, and both sides.
Error divergedError(const json::Value& result) {
    const auto& d = *json::find(result, "divergence");
    auto seq = json::getInt(d, "seq");
    auto where = seq > 0 ? fmt::format("event {}", seq) : std::string("the record");
    Error error(
        ErrorCode::kInternal,
        fmt::format("execution {} diverges at {} ({})", json::getString(result, "execution_id"),
                    where, json::getString(d, "what")),
        "the record was changed, or it was made by other rules than this version's");
    error.details.push_back({"recorded", "", 0, 0, std::string(json::getString(d, "recorded"))});
    error.details.push_back({"replayed", "", 0, 0, std::string(json::getString(d, "replayed"))});
    return error;
}

int replay(Context& context, const NodeCommands& node, const std::string& reference) {
    Result<json::Value> result(json::Value(nullptr));
    if (isArchive(reference)) {
        result = replayFile(node, reference);
    } else {
        auto* service = context.service();
        if (service == nullptr) return context.serviceExit();
        result = service->replayExecution({}, reference);
    }
    if (!result) return context.fail(result.error());
    if (json::getString(*result, "status") != "reproduced")
        return context.fail(divergedError(*result));
    if (context.format() != OutputFormat::kTable) {
        context.printValue(*result);
        return 0;
    }
    auto iterations = json::getInt(*result, "iterations");
    context.print(fmt::format(
        "Reproduced execution {}: {} events of {} iteration{}, {} prompts, {} verdicts, {} texts\n",
        json::getString(*result, "execution_id"), json::getInt(*result, "events"), iterations,
        iterations == 1 ? "" : "s", json::getInt(*result, "prompts"),
        json::getInt(*result, "verdicts"), json::getInt(*result, "bodies")));
    return 0;
}

}  // namespace

void addReplayCommand(CLI::App& group, Context& context, const NodeCommands& node) {
    auto id = std::make_shared<std::string>();
    auto* command = group.add_subcommand("replay", "Run an ended execution again from its record");
    command->add_option("id", *id, "Id, unique prefix, @last, or an exported .tar.gz")->required();
    command->callback([&context, &node, id] {
        context.action = [&context, &node, id] { return replay(context, node, *id); };
    });
}

}  // namespace aegis::cli
