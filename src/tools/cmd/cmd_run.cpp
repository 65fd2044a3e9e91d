#include "tools/cmd/cmd_run.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>

#include "tools/args/args.h"

namespace aegis::tools {
namespace {

constexpr std::string_view kName = "cmd.run";
/// The kernel takes 128 KiB for one argument (MAX_ARG_STRLEN) and 2 MiB in all with usual limits.
constexpr std::size_t kMaxArgumentBytes = 128 * 1024 - 1;
constexpr std::size_t kMaxTotalBytes = 1 << 20;
constexpr std::size_t kMaxArguments = 4096;

constexpr std::array<ArgSpec, 5> kArgs{{
    {"command", ArgType::kString, true,
     "The program: a name that is looked up in PATH, or a path. It is not a shell line: use "
     "command "
     "\"sh\" with args [\"-c\", \"...\"] for pipes, redirections and &&."},
    {"args", ArgType::kStringList, false, "The program's arguments, one string each."},
    {"cwd", ArgType::kString, false, "The directory to run in. Default: the working directory."},
    {"env", ArgType::kStringMap, false, "Environment variables to add."},
    {"timeout", ArgType::kNumber, false, "Seconds after which the program is killed, 1 to 3600."},
}};

bool isVariableName(std::string_view name) {
    if (name.empty() || (name[0] >= '0' && name[0] <= '9')) return false;
    return std::ranges::all_of(name, [](char c) {
        return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') ||
               c == '_';
    });
}

Status checkText(std::string_view what, std::string_view text) {
    if (text.find('\0') != std::string_view::npos)
        return {ErrorCode::kInvalid, fmt::format("{} must not contain a NUL character", what)};
    if (text.size() > kMaxArgumentBytes)
        return {ErrorCode::kInvalid,
                fmt::format("{} is longer than {} bytes; write it to a file first", what,
                            kMaxArgumentBytes)};
    return {};
}

Status checkSizes(const ports::DispatchCommand& command) {
    if (command.args.size() > kMaxArguments)
        return {ErrorCode::kInvalid, fmt::format("more than {} args", kMaxArguments)};
    AEGIS_CHECK(checkText("command", command.command));
    AEGIS_CHECK(checkText("cwd", command.cwd));
    std::size_t total = command.command.size();
    for (const auto& arg : command.args) {
        AEGIS_CHECK(checkText("an element of args", arg));
        total += arg.size() + 1;
    }
    for (const auto& [name, value] : command.env) {
        if (!isVariableName(name))
            return {ErrorCode::kInvalid, "a name in env may only have letters, digits and _"};
        AEGIS_CHECK(checkText("a value of env", value));
        total += name.size() + value.size() + 2;
    }
    if (total > kMaxTotalBytes)
        return {ErrorCode::kInvalid,
                fmt::format("args and env are larger than {} bytes together", kMaxTotalBytes)};
    return {};
}

/// A model's most common mistake: a whole shell line as the program.
Status checkCommand(const ports::DispatchCommand& command) {
    if (command.command.empty()) return {ErrorCode::kInvalid, "argument \"command\" is empty"};
    bool spaces = command.command.find_first_of(" \t\n") != std::string::npos;
    if (spaces && command.args.empty() && command.command.find_first_of("/.") != 0)
        return {ErrorCode::kInvalid,
                "\"command\" must be one program, with its arguments in \"args\"; for a shell line "
                "use {\"command\":\"sh\",\"args\":[\"-c\",\"...\"]}"};
    return {};
}

Status checkAllowlist(const agent::SubcommandAllowlist& allowed, std::string_view owner,
                      const ports::DispatchCommand& command) {
    if (allowed.empty()) return {};
    auto entry = allowed.find(command.command);
    if (entry == allowed.end()) {
        std::vector<std::string> names;
        for (const auto& [name, ignored] : allowed)
            names.push_back(name);
        return {ErrorCode::kPermissionDenied, fmt::format("not allowed by {}; allowed commands: {}",
                                                          owner, fmt::join(names, ", "))};
    }
    if (entry->second.empty()) return {};
    if (!command.args.empty() && std::ranges::count(entry->second, command.args[0]) > 0) return {};
    return {ErrorCode::kPermissionDenied,
            fmt::format("not allowed by {}; allowed first arguments: {}", owner,
                        fmt::join(entry->second, ", "))};
}

Status checkAllowlists(const CmdOptions& options, const agent::Manifest& manifest,
                       const ports::DispatchCommand& command) {
    AEGIS_CHECK(
        checkAllowlist(options.subcommand_allowlist, "the node's subcommand_allowlist", command));
    if (!manifest.tools) return {};
    for (const auto& grant : *manifest.tools)
        if (grant.name == kName)
            AEGIS_CHECK(checkAllowlist(grant.subcommand_allowlist,
                                       "the manifest's subcommand_allowlist", command));
    return {};
}

std::string lineOf(const json::Value& arguments) {
    std::string line(json::getString(arguments, "command"));
    if (const auto* args = json::find(arguments, "args"))
        for (const auto& arg : args->get_array()) {
            if (line.size() > 2 * execution::kMaxSummaryBytes) break;
            line += ' ';
            line += json::view(arg.get_string());
        }
    return line;
}

/// What of the call can be shown, however wrong it is.
std::string lineOf(const ports::ToolCall& call) {
    auto arguments = parseArguments(call.arguments, kArgs);
    return arguments ? lineOf(*arguments) : std::string();
}

Result<int> timeoutOf(const json::Value& arguments, int fallback) {
    const auto* value = json::find(arguments, "timeout");
    if (value == nullptr) return fallback;
    double seconds = value->to_number<double>();
    if (!(seconds >= 1 && seconds <= kMaxTimeoutSecs))
        return {ErrorCode::kInvalid,
                fmt::format("argument \"timeout\" must be 1 to {} seconds", kMaxTimeoutSecs)};
    return static_cast<int>(std::ceil(seconds));
}

}  // namespace

ports::ToolSpec CmdRun::spec() {
    return {
        .name = std::string(kName),
        .description =
            "Runs a program in the sandbox and waits for it. The answer has exit_code, stdout and "
            "stderr; long output keeps its end and truncated is true. Standard input is empty.",
        .parameters = schemaOf(kArgs)};
}

Result<ports::DispatchCommand> CmdRun::parse(const agent::Manifest& manifest,
                                             const ports::ToolCall& call) const {
    AEGIS_TRY(json::Value arguments, parseArguments(call.arguments, kArgs));
    ports::DispatchCommand command;
    command.command = json::getString(arguments, "command");
    if (const auto* args = json::find(arguments, "args"))
        for (const auto& arg : args->get_array())
            command.args.emplace_back(json::view(arg.get_string()));
    if (const auto* env = json::find(arguments, "env"))
        for (const auto& member : env->get_object())
            command.env.emplace_back(member.key(), json::view(member.value().get_string()));
    command.cwd = agent::defaultCwd(manifest);
    std::string cwd(json::getString(arguments, "cwd"));
    if (cwd.starts_with('/'))
        command.cwd = cwd;
    else if (!cwd.empty() && cwd != ".")
        command.cwd += "/" + cwd;
    AEGIS_TRY(command.timeout_secs, timeoutOf(arguments, options_.timeout_secs));
    command.max_output_bytes = options_.output_limit_bytes;
    AEGIS_CHECK(checkCommand(command));
    AEGIS_CHECK(checkSizes(command));
    AEGIS_CHECK(checkAllowlists(options_, manifest, command));
    return command;
}

ports::ToolAdmission CmdRun::admit(const agent::Manifest& manifest,
                                   const ports::ToolCall& call) const {
    auto line = lineOf(call);
    auto command = parse(manifest, call);
    if (!command) return refusal(summaryOf(line), reasonOf(kName, line, command.error().message));
    return {.verdict = ports::ToolAdmission::Verdict::kDispatch,
            .summary = summaryOf(line),
            .barrier = true,
            .reason = {},
            .dispatch = std::move(*command)};
}

ports::ToolOutcome CmdRun::finish(const ports::ToolCall& call,
                                  const ports::DispatchOutcome& outcome) const {
    ports::ToolOutcome result;
    result.ok = outcome.exit_code == 0;
    result.exit_code = outcome.exit_code;
    result.summary = summaryOf(lineOf(call));
    if (!result.ok) result.reason = fmt::format("exit code {}", outcome.exit_code);
    result.text = fmt::format(R"({{"exit_code":{},"stdout":{},"stderr":{},"truncated":{}}})",
                              outcome.exit_code, json::quote(outcome.standard_output),
                              json::quote(outcome.standard_error), outcome.truncated);
    return result;
}

}  // namespace aegis::tools
