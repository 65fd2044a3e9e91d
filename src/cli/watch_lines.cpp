#include "cli/watch_lines.h"

#include <fmt/format.h>

#include "base/ids.h"
#include "base/time.h"
#include "cli/color.h"
#include "text/escape.h"

namespace aegis::cli {
namespace {

std::string stamp(const json::Value& event) {
    auto time = UtcTime::parse(json::getString(event, "time"));
    return fmt::format("[{}] ", time ? time->rfc3339Seconds() : std::string("?"));
}

std::string text(const json::Value& value, std::string_view key) {
    return text::escapeControl(json::getString(value, key));
}

const json::Value& dataOf(const json::Value& event) {
    static const json::Value kNone = json::Object{};
    const auto* data = json::find(event, "data");
    return data == nullptr ? kNone : *data;
}

/// 1 to 3 decimals: "1.0", "0.75", "0.333".
std::string scoreText(double score) {
    auto out = fmt::format("{:.3f}", score);
    while (out.ends_with('0') && out[out.size() - 2] != '.')
        out.pop_back();
    return out;
}

double numberOf(const json::Value& value, std::string_view key) {
    const auto* number = json::find(value, key);
    if (number == nullptr || !number->is_number()) return 0;
    return number->is_double() ? number->get_double()
                               : static_cast<double>(json::getInt(value, key));
}

std::string firstLine(std::string_view message) {
    return std::string(message.substr(0, message.find('\n')));
}

std::string failureText(const json::Value& data) {
    const auto* failure = json::find(data, "failure");
    if (failure == nullptr) failure = json::find(data, "error");
    if (failure == nullptr) return "";
    return text::escapeControl(firstLine(json::getString(*failure, "message")));
}

/// A reason names the call for the model, who sees nothing else of it; on a line of the call that
/// would be said twice. "<path> (<n> bytes)" is in the reason as its path alone.
std::string_view withoutCall(std::string_view reason, std::string_view tool,
                             std::string_view summary) {
    if (!reason.starts_with(tool)) return reason;
    auto rest = reason.substr(tool.size());
    if (rest.starts_with(": ")) return rest.substr(2);
    if (!rest.starts_with(' ')) return reason;
    rest.remove_prefix(1);
    for (auto subject : {summary, summary.substr(0, summary.rfind(" ("))}) {
        if (subject.empty() || !rest.starts_with(subject)) continue;
        if (auto why = rest.substr(subject.size()); why.starts_with(": ")) return why.substr(2);
    }
    return reason;
}

}  // namespace

int exitCodeOf(std::string_view status) {
    return status == "completed" ? 0 : status == "cancelled" ? 7 : 6;
}

std::string_view statusOfEvent(std::string_view type) {
    if (type == "ExecutionCompleted") return "completed";
    if (type == "ExecutionFailed") return "failed";
    if (type == "ExecutionCancelled") return "cancelled";
    return {};
}

std::string secondsText(std::int64_t ms) {
    return fmt::format("{:.1f}s", static_cast<double>(ms) / 1000.0);
}

std::string WatchLines::add(const json::Value& event) {
    auto type = json::getString(event, "type");
    const auto& data = dataOf(event);
    auto id = shortId(json::getString(event, "execution_id"));
    auto iteration = json::getInt(event, "iteration");
    if (type == "ExecutionStarted") return stamp(event) + fmt::format("Execution {} Started\n", id);
    if (type == "IterationStarted")
        return stamp(event) + fmt::format("Iteration {} Started\n", iteration);
    if (type == "ToolCallStarted") {
        running_[json::getInt(data, "call")] = json::getString(data, "summary");
        return {};
    }
    if (type == "ToolCallCompleted" || type == "ToolCallDenied") {
        auto line = toolLine(event);
        running_.erase(json::getInt(data, "call"));
        return line;
    }
    if (type == "IterationCompleted") {
        auto failure = failureText(data);
        return stamp(event) + (failure.empty() ? fmt::format("Iteration {} Completed\n", iteration)
                                               : fmt::format("Iteration {} {}: {}\n", iteration,
                                                             word("Failed"), failure));
    }
    if (type == "ValidationCompleted") return validationLines(event);
    if (type == "ExecutionCompleted") return endLine(event, "Completed");
    if (type == "ExecutionFailed") return endLine(event, "Failed");
    if (type == "ExecutionCancelled") return endLine(event, "Cancelled");
    return {};
}

std::string WatchLines::word(std::string_view text) const {
    return painted(text, statusColor(text), color_);
}

std::string WatchLines::toolLine(const json::Value& event) const {
    const auto& data = dataOf(event);
    std::string summary(json::getString(data, "summary"));
    auto begun = running_.find(json::getInt(data, "call"));
    if (summary.empty() && begun != running_.end()) summary = begun->second;
    auto line =
        stamp(event) + toolCallText(data, summary, firstLine(json::getString(data, "reason")));
    return line + "\n";
}

std::string toolCallText(const json::Value& call, std::string_view summary,
                         std::string_view reason) {
    auto tool = json::getString(call, "tool");
    auto line = "Tool: " + text::escapeControl(tool);
    if (!summary.empty()) line += " " + text::escapeControl(summary);
    const auto* exit_code = json::find(call, "exit_code");
    bool exited = exit_code != nullptr && exit_code->is_int64();
    if (exited && exit_code->get_int64() != 0)
        line += fmt::format(" -> exit {}", exit_code->get_int64());
    else if (auto why = withoutCall(reason, tool, summary); !why.empty() && !exited)
        line += " -> " + text::escapeControl(why);
    return line;
}

std::string WatchLines::validationLines(const json::Value& event) const {
    const auto& data = dataOf(event);
    std::string line = stamp(event) + "Validation:";
    std::string details;
    const auto* results = json::find(data, "results");
    if (results != nullptr && results->is_array()) {
        for (const auto& result : results->get_array()) {
            bool passed = json::getBool(result, "passed");
            line +=
                fmt::format(" {}={}", text(result, "validator"), word(passed ? "PASS" : "FAIL"));
            if (passed) continue;
            details +=
                stamp(event) +
                fmt::format("  {}: {}\n", text(result, "validator"),
                            text::escapeControl(firstLine(json::getString(result, "detail"))));
        }
    }
    return line + fmt::format(" (score={})\n", scoreText(numberOf(data, "score"))) + details;
}

std::string WatchLines::endLine(const json::Value& event, std::string_view verb) const {
    const auto& data = dataOf(event);
    auto count = json::getInt(data, "iterations");
    auto line = stamp(event) + fmt::format("Execution {} {} ({} iteration{}, {})",
                                           shortId(json::getString(event, "execution_id")),
                                           word(verb), count, count == 1 ? "" : "s",
                                           secondsText(json::getInt(data, "duration_ms")));
    auto failure = failureText(data);
    if (!failure.empty()) line += ": " + failure;
    return line + "\n";
}

}  // namespace aegis::cli
