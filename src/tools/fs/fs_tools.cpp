#include "tools/fs/fs_tools.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <span>

#include "tools/args/args.h"
#include "tools/fs/request.h"

namespace aegis::tools {
namespace {

using Verdict = ports::ToolAdmission::Verdict;

constexpr ArgSpec kPath{"path", ArgType::kString, true,
                        "Absolute, or relative to the working directory."};
constexpr ArgSpec kWhere{"path", ArgType::kString, false,
                         "Where to look. Default: the working directory."};

constexpr std::array<ArgSpec, 3> kReadArgs{{
    kPath,
    {"offset", ArgType::kInteger, false, "The first line to read, counted from 1. Default: 1."},
    {"limit", ArgType::kInteger, false, "How many lines to read. Default: all, up to 256 KiB."},
}};
constexpr std::array<ArgSpec, 2> kWriteArgs{
    {kPath, {"content", ArgType::kString, true, "The whole new content, at most 8 MiB."}}};
constexpr std::array<ArgSpec, 4> kEditArgs{{
    kPath,
    {"old_string", ArgType::kString, true,
     "The text to replace, exactly as it is in the file, with enough around it to be unique."},
    {"new_string", ArgType::kString, true, "What to put there."},
    {"replace_all", ArgType::kBoolean, false, "Replace every occurrence. Default: false."},
}};
constexpr std::array<ArgSpec, 2> kListArgs{
    {kPath, {"recursive", ArgType::kBoolean, false, "Directories below it too. Default: false."}}};
constexpr std::array<ArgSpec, 2> kCreateArgs{
    {kPath, {"recursive", ArgType::kBoolean, false, "Make missing parents too. Default: true."}}};
constexpr std::array<ArgSpec, 2> kDeleteArgs{
    {kPath,
     {"recursive", ArgType::kBoolean, false,
      "Delete a directory with all it holds. Default: false."}}};
constexpr std::array<ArgSpec, 2> kGlobArgs{{{"pattern", ArgType::kString, true,
                                             "Like **/*.py: * and ? stay within a name, ** goes "
                                             "through directories, [ab] and {a,b} choose."},
                                            kWhere}};
constexpr std::array<ArgSpec, 3> kGrepArgs{
    {{"pattern", ArgType::kString, true,
      "A regular expression in RE2 syntax, matched in each line."},
     kWhere,
     {"glob", ArgType::kString, false,
      "Only files whose path below `path` matches it, like *.py."}}};

struct ToolEntry {
    std::string_view name;
    FsOp op;
    bool writes;
    bool barrier;  ///< twice is not the same as once
    std::span<const ArgSpec> args;
    std::string_view description;
    FsAnswer (*run)(const SandboxView&, const FsRequest&, Deadline);
};

constexpr std::array<ToolEntry, 8> kTools{{
    {"fs.read", FsOp::kRead, false, false, kReadArgs,
     "Reads a text file. At most 256 KiB at a time; the end of the answer says where to go on.",
     &readText},
    {"fs.write", FsOp::kWrite, true, false, kWriteArgs,
     "Writes a text file, replacing what was there. Makes missing directories.", &writeFile},
    {"fs.edit", FsOp::kEdit, true, true, kEditArgs,
     "Replaces text in a file. old_string must occur exactly once unless replace_all is true.",
     &editFile},
    {"fs.list", FsOp::kList, false, false, kListArgs,
     "Lists a directory: name, type and size of each entry, sorted, at most 2000.", &listDirectory},
    {"fs.create_dir", FsOp::kCreateDir, true, false, kCreateArgs, "Makes a directory.",
     &createDirectory},
    {"fs.delete", FsOp::kDelete, true, true, kDeleteArgs,
     "Deletes a file, a link or a directory. Never follows links.", &deletePath},
    {"fs.glob", FsOp::kGlob, false, false, kGlobArgs,
     "Finds files by name. The answer has one path on each line, sorted.", &globFiles},
    {"fs.grep", FsOp::kGrep, false, false, kGrepArgs,
     "Searches text files below a path. The answer has lines like path:line:text.", &grepFiles},
}};

const ToolEntry* entryOf(std::string_view name) {
    auto entry = std::ranges::find(kTools, name, &ToolEntry::name);
    return entry == kTools.end() ? nullptr : &*entry;
}

Result<std::int64_t> lineArgument(const json::Value& arguments, std::string_view name,
                                  std::int64_t fallback) {
    auto value = json::getInt(arguments, name, fallback);
    if (value < 1 && json::find(arguments, name) != nullptr)
        return {ErrorCode::kInvalid, fmt::format("argument \"{}\" must be at least 1", name)};
    return value;
}

Status checkEdit(const FsRequest& request) {
    if (request.old_string.empty())
        return {ErrorCode::kInvalid,
                "argument \"old_string\" is empty; use fs.write for a new file"};
    if (request.old_string == request.new_string)
        return {ErrorCode::kInvalid, "\"old_string\" and \"new_string\" are the same"};
    return {};
}

Result<FsRequest> fill(const ToolEntry& tool, const json::Value& arguments,
                       const agent::Manifest& manifest) {
    auto text = [&](std::string_view name) {
        return std::string(json::getString(arguments, name));
    };
    FsRequest request{
        .op = tool.op,
        .content = text("content"),
        .old_string = text("old_string"),
        .new_string = text("new_string"),
        .pattern = text("pattern"),
        .glob = text("glob"),
        .replace_all = json::getBool(arguments, "replace_all"),
        .recursive = json::getBool(arguments, "recursive", tool.op == FsOp::kCreateDir)};
    auto cwd = agent::defaultCwd(manifest);
    AEGIS_TRY(request.path, normalisePath(json::find(arguments, "path") != nullptr
                                              ? json::getString(arguments, "path")
                                              : cwd,
                                          cwd));
    AEGIS_TRY(request.offset, lineArgument(arguments, "offset", 1));
    AEGIS_TRY(request.limit, lineArgument(arguments, "limit", 0));
    if (request.content.size() > kMaxWriteBytes)
        return {ErrorCode::kTooLarge, "the content is larger than 8 MiB; write it in parts"};
    if (tool.op == FsOp::kEdit) AEGIS_CHECK(checkEdit(request));
    if ((tool.op == FsOp::kGlob || tool.op == FsOp::kGrep) && request.pattern.empty())
        return {ErrorCode::kInvalid, "argument \"pattern\" is empty"};
    return request;
}

std::string summaryFor(const FsRequest& request) {
    if (request.op == FsOp::kWrite) {
        auto tail = fmt::format(" ({} bytes)", request.content.size());
        auto path = summaryOf(request.path);
        if (path.size() + tail.size() > execution::kMaxSummaryBytes)
            return summaryOf(request.path.substr(0, execution::kMaxSummaryBytes / 4)) + tail;
        return path + tail;
    }
    return summaryOf(request.path);
}

/// A call that passed every lexical check; or its refusal.
struct Checked {
    const ToolEntry* tool = nullptr;
    FsRequest request;
    std::string summary;
    std::string refusal;  ///< empty: none
};

Checked check(const agent::Manifest& manifest, const FsPolicy& policy,
              const ports::ToolCall& call) {
    Checked checked{.tool = entryOf(call.name)};
    if (checked.tool == nullptr) {
        checked.refusal = reasonOf(call.name, "", "unknown tool");
        return checked;
    }
    auto arguments = parseArguments(call.arguments, checked.tool->args);
    if (!arguments) {
        checked.refusal = reasonOf(call.name, "", arguments.error().message);
        return checked;
    }
    auto request = fill(*checked.tool, *arguments, manifest);
    if (!request) {
        auto path = json::getString(*arguments, "path");
        checked.summary = summaryOf(path);
        checked.refusal = reasonOf(call.name, path, request.error().message);
        return checked;
    }
    checked.summary = summaryFor(*request);
    if (!policy.mayRead(request->path) && !checked.tool->writes)
        checked.refusal = reasonOf(call.name, request->path, notAllowed("read").message);
    else if (checked.tool->writes && !policy.mayWrite(request->path))
        checked.refusal = reasonOf(call.name, request->path, notAllowed("write").message);
    checked.request = std::move(*request);
    return checked;
}

}  // namespace

const std::vector<ports::ToolSpec>& FsTools::specs() {
    static const std::vector<ports::ToolSpec> all = [] {
        std::vector<ports::ToolSpec> specs;
        for (const auto& tool : kTools)
            specs.push_back({.name = std::string(tool.name),
                             .description = std::string(tool.description),
                             .parameters = schemaOf(tool.args)});
        return specs;
    }();
    return all;
}

bool FsTools::has(std::string_view tool) { return entryOf(tool) != nullptr; }

ports::ToolAdmission FsTools::admit(const agent::Manifest& manifest, const ports::ToolCall& call) {
    auto checked = check(manifest, FsPolicy(manifest), call);
    if (!checked.refusal.empty())
        return refusal(std::move(checked.summary), std::move(checked.refusal));
    return {.verdict = Verdict::kRun,
            .summary = std::move(checked.summary),
            .barrier = checked.tool->barrier,
            .reason = {},
            .dispatch = {}};
}

ports::ToolOutcome FsTools::run(const agent::Manifest& manifest, const ports::ToolCall& call,
                                int root, Deadline deadline) {
    FsPolicy policy(manifest);
    auto checked = check(manifest, policy, call);
    ports::ToolOutcome outcome;
    outcome.summary = std::move(checked.summary);
    if (checked.refusal.empty()) {
        auto view = SandboxView::forTools(root, policy);
        auto answer =
            view ? checked.tool->run(*view, checked.request, deadline) : FsAnswer(view.error());
        if (answer) {
            outcome.text = std::move(*answer);
            return outcome;
        }
        checked.refusal = reasonOf(call.name, checked.request.path, answer.error().message);
    }
    outcome.ok = false;
    outcome.reason = checked.refusal;
    outcome.text = std::move(checked.refusal);
    return outcome;
}

Result<std::string> FsTools::readFile(int root, const std::string& path, std::uint64_t limit,
                                      Deadline deadline) {
    auto read = [&]() -> Result<std::string> {
        AEGIS_TRY(auto normal, normalisePath(path, "/"));
        AEGIS_TRY(auto view, SandboxView::forValidators(root));
        AEGIS_TRY(Found file, view.find(normal));
        return readWhole(file, limit, deadline);
    }();
    if (!read) return std::move(read.error()).within(summaryOf(path));
    return read;
}

}  // namespace aegis::tools
