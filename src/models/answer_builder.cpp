#include "models/answer_builder.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

namespace aegis::models {

Error nonsense(std::string what) {
    return {ErrorCode::kUnavailable, fmt::format("the answer makes no sense: {}", what)};
}

Status AnswerBuilder::grow(std::size_t bytes) {
    bytes_ += bytes;
    if (bytes_ <= max_bytes_) return {};
    fault_ = Fault::kTooLarge;
    return Error(
        ErrorCode::kTooLarge,
        fmt::format("the answer is larger than {} bytes (max_response_bytes)", max_bytes_));
}

Status AnswerBuilder::addText(std::string_view text, const DeltaFn& delta) {
    if (text.empty()) return {};
    AEGIS_CHECK(grow(text.size()));
    answer_.content += text;
    if (delta) delta(text);
    return {};
}

Error AnswerBuilder::tooManyCalls() {
    fault_ = Fault::kTooLarge;
    return {ErrorCode::kTooLarge,
            fmt::format("the answer has more than {} tool calls", kMaxToolCalls)};
}

Result<std::size_t> AnswerBuilder::openCall(std::string_view id, std::string_view wire_name) {
    if (answer_.tool_calls.size() >= kMaxToolCalls) return tooManyCalls();
    AEGIS_CHECK(grow(id.size()));
    answer_.tool_calls.push_back({std::string(id), "", ""});
    std::size_t position = answer_.tool_calls.size() - 1;
    AEGIS_CHECK(nameCall(position, wire_name));
    return position;
}

Status AnswerBuilder::nameCall(std::size_t position, std::string_view wire_name) {
    if (wire_name.empty()) return {};
    AEGIS_CHECK(grow(wire_name.size()));
    std::string& name = answer_.tool_calls[position].name;
    if (!name.empty() && name != wire_name) return nonsense("a tool call has two names");
    name = wire_name;
    return {};
}

Status AnswerBuilder::addArguments(std::size_t position, std::string_view text) {
    AEGIS_CHECK(grow(text.size()));
    answer_.tool_calls[position].arguments += text;
    return {};
}

void AnswerBuilder::setUsage(std::int64_t prompt_tokens, std::int64_t completion_tokens) {
    auto clamp = [](std::int64_t n) {
        return static_cast<std::uint64_t>(std::max<std::int64_t>(n, 0));
    };
    answer_.usage.prompt_tokens = clamp(prompt_tokens);
    answer_.usage.completion_tokens = clamp(completion_tokens);
}

Result<ports::ModelAnswer> AnswerBuilder::take() {
    std::set<std::string> ids;
    for (auto& call : answer_.tool_calls) {
        if (call.name.empty()) return nonsense("a tool call has no name");
        call.name = tools_.fromWire(call.name);
        // Some compatible servers leave the id or the arguments of a call without parameters empty.
        if (call.arguments.empty()) call.arguments = "{}";
        if (!call.id.empty() && !ids.insert(call.id).second)
            return nonsense("two tool calls have the same id");
    }
    int next = 1;
    for (auto& call : answer_.tool_calls) {
        while (call.id.empty()) {
            std::string id = fmt::format("call_{}", next++);
            if (ids.insert(id).second) call.id = std::move(id);
        }
    }
    answer_.usage.calls = 1;
    return std::move(answer_);
}

}  // namespace aegis::models
