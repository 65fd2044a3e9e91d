#pragma once

#include <fmt/format.h>

#include <string>
#include <vector>

#include "models/dialect.h"

namespace aegis::models::test {

inline ports::Message message(ports::Message::Role role, std::string text) {
    ports::Message out;
    out.role = role;
    out.content = std::make_shared<const std::string>(std::move(text));
    return out;
}

/// What came of reading a body.
struct Reading {
    Result<ports::ModelAnswer> answer = Error();
    std::vector<std::string> deltas;
    Fault fault = Fault::kNone;
};

/// Feeds `body` in pieces of `piece` bytes.
inline Reading readWith(AnswerReader& reader, std::string_view body, std::size_t piece) {
    Reading out;
    auto delta = [&](std::string_view text) { out.deltas.emplace_back(text); };
    for (; !body.empty(); body.remove_prefix(std::min(piece, body.size())))
        if (auto status = reader.feed(body.substr(0, piece), delta); !status) break;
    out.answer = reader.finish(delta);
    out.fault = reader.fault();
    return out;
}

/// The tool calls, a line each: id, name, arguments.
inline std::string calls(const ports::ModelAnswer& answer) {
    std::string out;
    for (const auto& call : answer.tool_calls)
        out += fmt::format("{} {} {}\n", call.id, call.name, call.arguments);
    return out;
}

/// Everything of an answer but how its text was cut into deltas.
inline std::string describe(const Reading& reading) {
    if (!reading.answer) return "error: " + reading.answer.error().message;
    std::string streamed;
    for (const auto& delta : reading.deltas)
        streamed += delta;
    return fmt::format("{}\n{}\n{}{} {} {}", reading.answer->content, streamed,
                       calls(*reading.answer), reading.answer->finish_reason,
                       reading.answer->usage.prompt_tokens,
                       reading.answer->usage.completion_tokens);
}

}  // namespace aegis::models::test
