#include <fmt/format.h>

#include "agent/parse_context.h"
#include "text/regex.h"

namespace aegis::agent::detail {
namespace {

constexpr std::int64_t kMaxCalls = 1'000'000;
constexpr std::int64_t kMaxIterations = 100;
constexpr double kSemanticMinScore = 0.7;

bool checkOutputTarget(Reader& r, RegexCheck& out) {
    if (!r.string("target", out.target)) return false;
    if (out.target == "output" || out.target == "stdout" || out.target == "stderr") return true;
    auto path = normalisePath(out.target);
    if (path) {
        out.target = *path;
    } else {
        r.error("target", fmt::format("{} is not valid (expected output, stdout, stderr or an "
                                      "absolute path)",
                                      yaml::shown(out.target)));
    }
    return path.has_value();
}

void readPattern(Reader& r, std::string& out, Context& context) {
    if (!r.require("pattern", "a regular expression in RE2 syntax")) return;
    if (!r.string("pattern", out) || !context.checks()) return;
    if (auto regex = text::Regex::compile(out); !regex) r.error("pattern", regex.error().message);
}

ExitCodeCheck readExitCode(Reader& r) {
    ExitCodeCheck check;
    r.integer("expected", check.expected, 0, 255);
    r.boolean("allow_stderr", check.allow_stderr);
    return check;
}

JsonSchemaCheck readJsonSchema(Reader& r, bool with_target, Context& context) {
    JsonSchemaCheck check;
    bool inline_schema = r.has("schema");
    if (const Node* schema = r.get("schema"))
        readSchema(*schema, r.path("schema"), check.schema, context);
    bool path = r.has("schema_path");
    readPath(r, "schema_path", check.schema_path);
    if (inline_schema && path)
        r.error("schema_path", "cannot be used with schema (expected one of the two)");
    if (!inline_schema && !path) r.error("schema", "is required (expected schema or schema_path)");
    if (with_target) readPath(r, "target_path", check.target_path);
    return check;
}

CommandCheck readCommand(Reader& r) {
    CommandCheck check;
    if (r.require("command", "a list: the program and its arguments") &&
        r.strings("command", check.command) &&
        (check.command.empty() || check.command.front().empty()))
        r.error("command", "is empty (expected a list: the program and its arguments)");
    r.duration("timeout", check.timeout_ms, kUpToADay);
    return check;
}

void warnOfUnknownJudge(Reader& r, std::string_view key, const std::string& judge,
                        const Context& context) {
    if (context.checks() && !context.facts->agents.contains(judge))
        r.warning(key, fmt::format("the judge {} is not deployed yet", yaml::shown(judge)));
}

SemanticCheck readSemantic(Reader& r, bool with_judge, Context& context) {
    SemanticCheck check;
    if (with_judge) {
        if (r.string("judge_agent", check.judge_agent))
            warnOfUnknownJudge(r, "judge_agent", check.judge_agent, context);
        bool model = r.string("model", check.model);
        if (model && !check.judge_agent.empty())
            r.error("model", "cannot be used with judge_agent (expected one of the two)");
        if (!r.has("model") && !r.has("judge_agent"))
            r.error("judge_agent", "is required (expected judge_agent or model)");
    }
    if (r.require("criteria", "text that tells the judge what is good"))
        r.string("criteria", check.criteria);
    r.duration("timeout", check.timeout_ms, kUpToADay);
    r.choice("on_unavailable", check.on_unavailable, onUnavailables());
    return check;
}

MultiJudgeCheck readMultiJudge(Reader& r, Context& context) {
    MultiJudgeCheck check;
    if (r.require("judges", "a list of agents") && r.strings("judges", check.judges)) {
        if (check.judges.empty()) r.error("judges", "is empty (expected a list of agents)");
        for (const auto& judge : check.judges)
            warnOfUnknownJudge(r, "judges", judge, context);
    }
    r.choice("consensus", check.consensus, consensuses());
    r.integer("min_judges_required", check.min_judges_required, 1,
              std::max<std::int64_t>(1, static_cast<std::int64_t>(check.judges.size())));
    check.common = readSemantic(r, false, context);
    return check;
}

void readScores(Reader& r, Validator& out) {
    r.number("min_score", out.min_score, 0, 1);
    r.number("min_confidence", out.min_confidence, 0, 1);
}

void readOf(Reader& r, std::string_view type, Validator& out, Context& context) {
    const std::string& path = r.path();
    if (type == "exit_code") out.check = readExitCode(r);
    if (type == "json_schema") out.check = readJsonSchema(r, true, context);
    if (type == "command") out.check = readCommand(r);
    if (type == "regex") {
        RegexCheck check;
        readPattern(r, check.pattern, context);
        checkOutputTarget(r, check);
        out.check = std::move(check);
    }
    if (type == "semantic") {
        context.demand(capability::kSemanticValidator, path, r.node(), "the semantic validator is");
        out.min_score = kSemanticMinScore;
        out.check = readSemantic(r, true, context);
    }
    if (type == "multi_judge") {
        context.demand(capability::kMultiJudgeValidator, path, r.node(),
                       "the multi_judge validator is");
        out.min_score = kSemanticMinScore;
        out.check = readMultiJudge(r, context);
    }
    readScores(r, out);
}

std::vector<std::pair<std::string_view, std::string_view>> typesOf(
    std::initializer_list<std::string_view> types) {
    std::vector<std::pair<std::string_view, std::string_view>> words;
    for (auto type : types)
        words.emplace_back(type, type);
    return words;
}

void readList(const Node& node, const std::string& path, std::vector<Validator>& out,
              std::initializer_list<std::string_view> types, Context& context) {
    auto words = typesOf(types);
    out.clear();
    for (std::size_t i = 0; i < node.items.size(); ++i) {
        Reader r(node.items[i], yaml::itemPath(path, i), context.problems,
                 Reader::Unknown::kLenient);
        std::string_view type;
        if (!r.require("type", "exit_code, json_schema, regex or command")) continue;
        if (!r.choice("type", type, Words<std::string_view>(words))) continue;
        Validator validator;
        readOf(r, type, validator, context);
        out.push_back(std::move(validator));
        r.finish();
    }
}

void readOutputForm(const Node& node, const std::string& path, std::vector<Validator>& out,
                    Context& context) {
    Reader r(node, path, context.problems, Reader::Unknown::kLenient);
    constexpr std::pair<std::string_view, std::string_view> kFormats[] = {{"json", "json"},
                                                                          {"regex", "regex"}};
    std::string_view format;
    if (!r.require("format", "json or regex") ||
        !r.choice("format", format, Words<std::string_view>(kFormats)))
        return;
    Validator validator;
    if (format == "json") {
        validator.check = readJsonSchema(r, false, context);
    } else {
        RegexCheck check;
        readPattern(r, check.pattern, context);
        validator.check = std::move(check);
    }
    readScores(r, validator);
    r.finish();
    out.push_back(std::move(validator));
}

// {system, output, semantic}: the same as a list of them in this order.
void readObjectForm(const Node& node, const std::string& path, std::vector<Validator>& out,
                    Context& context) {
    Reader r(node, path, context.problems, Reader::Unknown::kLenient);
    out.clear();
    auto part = [&](std::string_view key, std::string_view type) {
        const Node* value = r.get(key);
        if (!value) return;
        Reader fields(*value, r.path(key), context.problems, Reader::Unknown::kLenient);
        Validator validator;
        readOf(fields, type, validator, context);
        fields.finish();
        out.push_back(std::move(validator));
    };
    part("system", "exit_code");
    if (const Node* output = r.get("output"))
        readOutputForm(*output, r.path("output"), out, context);
    part("semantic", "semantic");
    r.finish();
}

void readBudget(const Node& node, std::optional<Budget>& out, Context& context) {
    Reader r(node, "spec.execution.budget", context.problems, Reader::Unknown::kLenient);
    context.demand(capability::kBudget, r.path(), node, "a budget is");
    Budget budget;
    r.number("usd", budget.usd, 0, 1e9);
    auto whole = [&](std::string_view key, std::optional<std::int64_t>& field) {
        if (std::int64_t value = 0; r.integer(key, value, 0, 1'000'000'000'000)) field = value;
    };
    whole("tokens", budget.tokens);
    whole("llm_calls", budget.llm_calls);
    whole("tool_calls", budget.tool_calls);
    r.finish();
    out = budget;
}

void readIterations(Reader& r, const OlderExecution& older, ExecutionSpec& out, Context& context) {
    bool given = r.integer("max_iterations", out.max_iterations, 1, kMaxIterations);
    const Node* retries = r.older("max_retries", "max_iterations, which is one more");
    if (r.has("max_iterations") && (older.max_iterations || retries)) {
        r.error("max_iterations", "is given twice, in an older spelling too");
    } else if (older.max_iterations) {
        auto value = yaml::readInteger(*older.max_iterations, "spec.max_iterations", 1,
                                       kMaxIterations, context.problems);
        out.max_iterations = static_cast<int>(value.value_or(out.max_iterations));
        given = value.has_value();
    } else if (retries) {
        auto value = yaml::readInteger(*retries, r.path("max_retries"), 0, kMaxIterations - 1,
                                       context.problems);
        if (value) out.max_iterations = static_cast<int>(*value) + 1;
        given = value.has_value();
    }
    if (out.mode != Mode::kOneShot) return;
    if (given && out.max_iterations != 1)
        r.warning("max_iterations", "without effect: one-shot means exactly one iteration");
    out.max_iterations = 1;
}

}  // namespace

void readValidation(const Node& node, const std::string& path, std::vector<Validator>& out,
                    Context& context) {
    if (node.isMapping()) return readObjectForm(node, path, out, context);
    if (node.isSequence())
        return readList(node, path, out,
                        {"exit_code", "json_schema", "regex", "command", "semantic", "multi_judge"},
                        context);
    context.problems.error(path, node,
                           fmt::format("is {} (expected a list of validators, or a mapping with "
                                       "system, output and semantic)",
                                       describe(node)));
}

void readToolValidation(const Node& node, const std::string& path, std::vector<Validator>& out,
                        Context& context) {
    if (!node.isSequence()) {
        context.problems.error(
            path, node, fmt::format("is {} (expected a list of semantic judges)", describe(node)));
        return;
    }
    if (node.items.empty()) return;
    if (context.checks() && !context.facts->capabilities.contains(capability::kToolValidation)) {
        context.demand(capability::kToolValidation, path, node, "tool validation is");
        return;
    }
    readList(node, path, out, {"semantic"}, context);
}

void readExecution(const Node* node, const OlderExecution& older, ExecutionSpec& out,
                   Context& context) {
    Node empty;
    empty.kind = Node::Kind::kMapping;
    Reader r(node ? *node : empty, "spec.execution", context.problems, Reader::Unknown::kLenient);
    r.choice("mode", out.mode, modes());
    readIterations(r, older, out, context);
    r.duration("iteration_timeout", out.iteration_timeout_ms, kUpToADay);
    r.integer("max_tool_calls", out.max_tool_calls, 0, kMaxCalls);
    r.integer("max_model_calls", out.max_model_calls, 1, kMaxCalls);
    const Node* validation = r.get("validation");
    if (validation) readValidation(*validation, r.path("validation"), out.validation, context);
    if (validation && older.validation) r.error("validation", "is given as spec.validation too");
    if (!validation && older.validation)
        readValidation(*older.validation, "spec.validation", out.validation, context);
    if (const Node* tools = r.get("tool_validation"))
        readToolValidation(*tools, r.path("tool_validation"), out.tool_validation, context);
    if (const Node* budget = r.get("budget")) readBudget(*budget, out.budget, context);
    r.finish();
}

}  // namespace aegis::agent::detail
