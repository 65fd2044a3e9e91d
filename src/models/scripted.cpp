#include "models/scripted.h"

#include <fmt/format.h>

#include <algorithm>

#include "models/dialect.h"
#include "os/files.h"
#include "text/yaml.h"

namespace aegis::models {
namespace {

constexpr std::uint64_t kMaxScriptBytes = 8U << 20;

std::uint64_t tokens(std::uint64_t bytes) { return (bytes + 3) / 4; }

std::uint64_t sizeOf(const ports::Message& message) {
    std::uint64_t bytes = contentOf(message).size();
    for (const auto& call : message.tool_calls)
        bytes += call.name.size() + call.arguments.size();
    return bytes;
}

std::string_view lastUserText(const ports::ModelRequest& request) {
    for (auto message = request.messages.rbegin(); message != request.messages.rend(); ++message)
        if (message->role == ports::Message::Role::kUser) return contentOf(*message);
    return {};
}

}  // namespace

// Collects every problem instead of stopping at the first.
class Script::Parser {
  public:
    explicit Parser(std::string file) : file_(std::move(file)) {}

    std::vector<Rule> rules(const yaml::Node& root) {
        std::vector<Rule> out;
        if (!root.isSequence()) {
            problem(root, "", fmt::format("{} (expected a list of rules)", yaml::describe(root)));
            return out;
        }
        for (std::size_t i = 0; i < root.items.size(); ++i)
            out.push_back(rule(root.items[i], fmt::format("[{}]", i)));
        return out;
    }

    std::vector<ErrorDetail> problems;

  private:
    void problem(const yaml::Node& node, const std::string& path, std::string message) {
        problems.push_back({path, file_, node.line, node.column, std::move(message)});
    }

    // False (and a problem) unless `node` is a mapping with known keys only.
    bool mapping(const yaml::Node& node, const std::string& path,
                 std::initializer_list<std::string_view> known) {
        if (!node.isMapping()) {
            problem(node, path, fmt::format("{} (expected a mapping)", yaml::describe(node)));
            return false;
        }
        for (const auto& entry : node.entries)
            if (std::ranges::find(known, entry.key) == known.end())
                problems.push_back({path, file_, entry.line, entry.column,
                                    fmt::format("unknown field {}", json::quote(entry.key))});
        return true;
    }

    std::string textOf(const yaml::Node& node, std::string_view key, const std::string& path,
                       bool required) {
        const yaml::Node* value = node.find(key);
        if (value == nullptr) {
            if (required) problem(node, path, fmt::format("{} is missing", key));
            return {};
        }
        if (!value->isScalar())
            problem(*value, fmt::format("{}.{}", path, key),
                    fmt::format("{} (expected text)", yaml::describe(*value)));
        return value->scalar;
    }

    const std::vector<yaml::Node>& list(const yaml::Node& node, std::string_view key,
                                        const std::string& path) {
        static const std::vector<yaml::Node> kNone;
        const yaml::Node* value = node.find(key);
        if (value != nullptr && value->isSequence()) return value->items;
        problem(value != nullptr ? *value : node, fmt::format("{}.{}", path, key),
                value != nullptr ? fmt::format("{} (expected a list)", yaml::describe(*value))
                                 : std::string("is missing"));
        return kNone;
    }

    Rule rule(const yaml::Node& node, const std::string& path) {
        Rule out;
        if (!mapping(node, path, {"match", "turns"})) return out;
        auto match = text::Regex::compile(textOf(node, "match", path, true));
        if (match)
            out.match = std::move(*match);
        else
            problem(*node.find("match"), path + ".match", std::move(match.error().message));
        const auto& turns = list(node, "turns", path);
        if (turns.empty() && node.find("turns") != nullptr && node.find("turns")->isSequence())
            problem(*node.find("turns"), path + ".turns", "is empty");
        for (std::size_t i = 0; i < turns.size(); ++i)
            out.turns.push_back(turn(turns[i], fmt::format("{}.turns[{}]", path, i)));
        return out;
    }

    Turn turn(const yaml::Node& node, const std::string& path) {
        Turn out;
        if (!mapping(node, path, {"content", "tool_calls"})) return out;
        if (node.find("tool_calls") == nullptr) {
            out.content = textOf(node, "content", path, true);
            return out;
        }
        out.content = textOf(node, "content", path, false);
        const auto& calls = list(node, "tool_calls", path);
        for (std::size_t i = 0; i < calls.size(); ++i)
            out.tool_calls.push_back(call(calls[i], fmt::format("{}.tool_calls[{}]", path, i)));
        return out;
    }

    ports::ToolCall call(const yaml::Node& node, const std::string& path) {
        ports::ToolCall out;
        if (!mapping(node, path, {"name", "arguments"})) return out;
        out.name = textOf(node, "name", path, true);
        out.arguments = "{}";
        const yaml::Node* arguments = node.find("arguments");
        if (arguments == nullptr || arguments->isNull()) return out;
        if (arguments->isScalar()) {
            out.arguments = arguments->scalar;
            return out;
        }
        auto value = yaml::toJson(*arguments);
        if (value)
            out.arguments = json::dump(*value);
        else
            problem(*arguments, path + ".arguments", value.error().message);
        return out;
    }

    std::string file_;
};

Result<Script> Script::parse(std::string_view text, const std::string& file) {
    auto documents = yaml::parse(text, {.max_bytes = kMaxScriptBytes});
    if (!documents) {
        for (auto& detail : documents.error().details)
            detail.file = file;
        return std::move(documents.error()).within(file);
    }
    if (documents->size() != 1)
        return Error(ErrorCode::kInvalid,
                     fmt::format("{}: {} documents (expected one)", file, documents->size()));
    Parser parser(file);
    Script script;
    script.file_ = file;
    script.rules_ = parser.rules(documents->front().root);
    if (parser.problems.empty()) return script;
    Error error(ErrorCode::kInvalid,
                fmt::format("{}: the script has {} problem{}", file, parser.problems.size(),
                            parser.problems.size() == 1 ? "" : "s"));
    error.details = std::move(parser.problems);
    return error;
}

Result<Script> Script::load(const std::string& path) {
    AEGIS_TRY(std::string text, os::readFile(path, kMaxScriptBytes));
    return parse(text, path);
}

Result<ports::ModelAnswer> Script::answer(const ports::ModelRequest& request) const {
    std::string_view text = lastUserText(request);
    auto rule = std::ranges::find_if(rules_, [&](const Rule& r) { return r.match->search(text); });
    if (rule == rules_.end())
        return Error(ErrorCode::kUnavailable,
                     fmt::format("no rule of the script {} matches the last user message", file_));
    auto turn = static_cast<std::size_t>(std::ranges::count(
        request.messages, ports::Message::Role::kAssistant, &ports::Message::role));
    if (turn >= rule->turns.size())
        return Error(
            ErrorCode::kUnavailable,
            fmt::format("the rule {} of the script {} has {} turns and is asked for turn {}",
                        oneLine(json::quote(rule->match->pattern())), file_, rule->turns.size(),
                        turn + 1));
    ports::ModelAnswer answer;
    answer.content = rule->turns[turn].content;
    answer.tool_calls = rule->turns[turn].tool_calls;
    std::uint64_t said = answer.content.size(), asked = 0;
    for (std::size_t i = 0; i < answer.tool_calls.size(); ++i) {
        auto& call = answer.tool_calls[i];
        call.id = fmt::format("call_{}_{}", turn + 1, i + 1);
        said += call.name.size() + call.arguments.size();
    }
    for (const auto& message : request.messages)
        asked += sizeOf(message);
    answer.usage = {1, tokens(asked), tokens(said), 0};
    answer.finish_reason = answer.tool_calls.empty() ? "stop" : "tool_calls";
    return answer;
}

std::vector<std::string_view> splitText(std::string_view text, std::size_t pieces) {
    std::vector<std::string_view> out;
    std::size_t step = std::max<std::size_t>((text.size() + pieces - 1) / pieces, 1);
    while (!text.empty()) {
        std::size_t end = std::min(step, text.size());
        while (end < text.size() && (static_cast<unsigned char>(text[end]) & 0xc0) == 0x80)
            ++end;
        out.push_back(text.substr(0, end));
        text.remove_prefix(end);
    }
    return out;
}

}  // namespace aegis::models
