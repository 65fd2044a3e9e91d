#pragma once

#include "models/dialect.h"

namespace aegis::models {

/// Most tool calls that one answer may hold.
inline constexpr std::size_t kMaxToolCalls = 1024;

/// Collects an answer's pieces within their limits. One thread at a time.
class AnswerBuilder {
  public:
    AnswerBuilder(WireNames tools, std::uint64_t max_bytes)
        : tools_(std::move(tools)), max_bytes_(max_bytes) {}

    Status addText(std::string_view text, const DeltaFn& delta);
    /// Opens a tool call; its position among the calls.
    Result<std::size_t> openCall(std::string_view id, std::string_view wire_name);
    /// A call's name may come after its id, but only one.
    Status nameCall(std::size_t position, std::string_view wire_name);
    Error tooManyCalls();
    Status addArguments(std::size_t position, std::string_view text);
    const std::string& idOf(std::size_t position) const { return answer_.tool_calls[position].id; }

    void setModel(std::string_view model) { answer_.model = model; }
    void setFinishReason(std::string_view reason) { answer_.finish_reason = reason; }
    void setStopSequence(std::string_view text) { answer_.stop_sequence = text; }
    void setUsage(std::int64_t prompt_tokens, std::int64_t completion_tokens);
    Fault fault() const { return fault_; }

    /// The whole answer: each call has a name and an id of its own. Takes everything.
    Result<ports::ModelAnswer> take();

  private:
    Status grow(std::size_t bytes);

    WireNames tools_;
    std::uint64_t max_bytes_;
    std::uint64_t bytes_ = 0;
    ports::ModelAnswer answer_;
    Fault fault_ = Fault::kNone;
};

/// An error that says that the provider's answer breaks its protocol.
Error nonsense(std::string what);

}  // namespace aegis::models
