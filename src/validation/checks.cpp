#include "validation/checks.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "text/json_schema.h"
#include "text/regex.h"

namespace aegis::validation {
namespace {

constexpr std::size_t kMaxOutputTail = 4096;

Verdict pass() { return {1, 1, {}}; }
Verdict refuse(std::string detail) { return {0, 1, std::move(detail)}; }

std::string_view tail(std::string_view text) {
    return text.size() <= kMaxOutputTail ? text : text.substr(text.size() - kMaxOutputTail);
}

std::string withOutputs(std::string detail, std::string_view out, std::string_view err) {
    if (!out.empty()) detail += fmt::format("\nstdout:\n{}", tail(out));
    if (!err.empty()) detail += fmt::format("\nstderr:\n{}", tail(err));
    return detail;
}

std::string_view trim(std::string_view text) {
    constexpr std::string_view kSpace = " \t\r\n";
    auto first = text.find_first_not_of(kSpace);
    if (first == std::string_view::npos) return {};
    return text.substr(first, text.find_last_not_of(kSpace) - first + 1);
}

}  // namespace

Verdict unreadable(std::string_view what) { return refuse(std::string(what)); }

Verdict checkExitCode(const agent::ExitCodeCheck& check, std::optional<int> exit_code,
                      std::string_view standard_error) {
    if (!exit_code) return refuse("the bootstrap did not end by itself");
    if (*exit_code != check.expected) {
        return refuse(withOutputs(
            fmt::format("exit code {}, expected {}", *exit_code, check.expected), {},
            standard_error));
    }
    if (!check.allow_stderr && !standard_error.empty())
        return refuse(withOutputs("something was written to stderr", {}, standard_error));
    return pass();
}

Verdict checkJsonSchema(const json::Value& schema, std::string_view text, bool strip_fence) {
    auto compiled = text::JsonSchema::compile(schema);
    if (!compiled)
        return refuse(fmt::format("the schema is not usable: {}", compiled.error().message));
    auto document = json::parse(strip_fence ? stripFence(text) : text);
    if (!document) return refuse(document.error().message);
    auto violations = compiled->validate(*document);
    if (violations.empty()) return pass();
    std::string detail;
    for (const auto& violation : violations) {
        if (!detail.empty()) detail += '\n';
        detail += fmt::format("{}: {}", violation.pointer, violation.message);
    }
    return refuse(std::move(detail));
}

Verdict checkRegex(const agent::RegexCheck& check, std::string_view text) {
    auto pattern = text::Regex::compile(check.pattern);
    if (!pattern)
        return refuse(fmt::format("the pattern is not usable: {}", pattern.error().message));
    if (pattern->search(text)) return pass();
    return refuse(fmt::format("{} does not match {}", check.target, check.pattern));
}

Verdict checkCommand(const std::vector<std::string>& command, int exit_code, bool timed_out,
                     std::string_view standard_output, std::string_view standard_error) {
    if (!timed_out && exit_code == 0) return pass();
    auto name = fmt::format("{}", fmt::join(command, " "));
    auto what = timed_out ? fmt::format("{}: timed out", name)
                          : fmt::format("{}: exit code {}", name, exit_code);
    return refuse(withOutputs(std::move(what), standard_output, standard_error));
}

std::string_view stripFence(std::string_view text) {
    auto body = trim(text);
    if (!body.starts_with("```") || !body.ends_with("```")) return text;
    auto first_line = body.find('\n');
    auto last_line = body.rfind('\n');
    if (first_line == std::string_view::npos || last_line <= first_line) return text;
    if (trim(body.substr(last_line)) != "```") return text;
    if (body.substr(3, first_line - 3).find('`') != std::string_view::npos) return text;
    return body.substr(first_line + 1, last_line - first_line - 1);
}

bool Chain::add(const agent::Validator& validator, Verdict verdict) {
    bool passed = verdict.score >= validator.min_score &&
                  verdict.confidence >= validator.min_confidence;
    std::string name(agent::typeName(validator));
    score_ = std::min(score_, verdict.score);
    if (!passed) {
        passed_ = false;
        if (verdict.detail.empty()) {
            verdict.detail = fmt::format("score {} (at least {}), confidence {} (at least {})",
                                         verdict.score, validator.min_score, verdict.confidence,
                                         validator.min_confidence);
        }
        error_ = fmt::format("{}: {}", name, verdict.detail);
    }
    results_.push_back({std::move(name), passed, verdict.score, verdict.confidence,
                        std::move(verdict.detail)});
    return passed_;
}

execution::ValidationCompleted Chain::result() const {
    execution::ValidationCompleted out;
    out.results = results_;
    out.score = score_;
    out.passed = passed_;
    return out;
}

}  // namespace aegis::validation
