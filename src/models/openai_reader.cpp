#include <fmt/format.h>

#include <map>

#include "models/openai.h"
#include "models/stream_reader.h"

namespace aegis::models {
namespace {

// A member that may be missing or null.
const json::Value* present(const json::Value& value, std::string_view key) {
    const json::Value* member = json::find(value, key);
    return member != nullptr && member->is_null() ? nullptr : member;
}

Result<std::string_view> optionalString(const json::Value& value, std::string_view key) {
    const json::Value* member = present(value, key);
    if (member == nullptr) return std::string_view();
    if (!member->is_string()) return nonsense(fmt::format("{} is no string", key));
    return json::view(member->get_string());
}

class OpenAiReader : public StreamReader {
  public:
    OpenAiReader(WireNames tools, std::uint64_t max_bytes)
        : StreamReader(std::move(tools), max_bytes) {}

  protected:
    Status onEvent(std::string_view type, std::string_view data, const DeltaFn& delta) override;
    Status onDocument(const json::Value& document, const DeltaFn& delta) override;

  private:
    Status onCommon(const json::Value& value);
    Result<const json::Value*> choiceOf(const json::Value& value);
    Status onMessage(const json::Value& message, const DeltaFn& delta);
    Status onToolCalls(const json::Value& calls);
    Result<std::size_t> positionOf(const json::Value& call, std::string_view id,
                                   std::string_view name);
    Status onFinish(const json::Value& choice);

    std::map<std::int64_t, std::size_t> positions_;  ///< a call's index -> its position
    bool finished_ = false;
    bool streams_ = true;
};

Status OpenAiReader::onEvent(std::string_view, std::string_view data, const DeltaFn& delta) {
    if (data == "[DONE]") {
        if (!finished_) return nonsense("the stream ends without a finish_reason");
        setComplete();
        return {};
    }
    auto chunk_or = json::parse(data);
    if (!chunk_or) return nonsense(std::move(chunk_or.error().message));
    const json::Value& chunk = *chunk_or;
    AEGIS_CHECK(onCommon(chunk));
    AEGIS_TRY(const json::Value* choice, choiceOf(chunk));
    if (choice == nullptr) return {};  // the last chunk, which has only the usage
    if (const json::Value* message = present(*choice, "delta"))
        AEGIS_CHECK(onMessage(*message, delta));
    return onFinish(*choice);
}

Status OpenAiReader::onDocument(const json::Value& document, const DeltaFn& delta) {
    streams_ = false;
    AEGIS_CHECK(onCommon(document));
    AEGIS_TRY(const json::Value* choice, choiceOf(document));
    if (choice == nullptr) return nonsense("choices is empty");
    const json::Value* message = present(*choice, "message");
    if (message == nullptr) return nonsense("message is missing");
    AEGIS_CHECK(onMessage(*message, delta));
    AEGIS_CHECK(onFinish(*choice));
    if (!finished_) return nonsense("finish_reason is missing");
    setComplete();
    return {};
}

// Errors, the model's name and the usage, which a chunk and a document have in the same places.
Status OpenAiReader::onCommon(const json::Value& value) {
    if (!value.is_object()) return nonsense("not a JSON object");
    if (const json::Value* error = present(value, "error")) return reported(*error);
    AEGIS_TRY(std::string_view model, optionalString(value, "model"));
    if (!model.empty()) builder_.setModel(model);
    if (const json::Value* usage = present(value, "usage")) {
        if (!usage->is_object()) return nonsense("usage is no object");
        builder_.setUsage(json::getInt(*usage, "prompt_tokens"),
                          json::getInt(*usage, "completion_tokens"));
    }
    return {};
}

Result<const json::Value*> OpenAiReader::choiceOf(const json::Value& value) {
    const json::Value* choices = json::find(value, "choices");
    if (choices == nullptr) return nonsense("choices is missing");
    const auto* array = choices->if_array();
    if (array == nullptr) return nonsense("choices is no array");
    if (array->empty()) return static_cast<const json::Value*>(nullptr);
    const json::Value& choice = array->front();
    if (array->size() > 1 || json::getInt(choice, "index", 0) != 0)
        return nonsense("more than the one choice that was asked for");
    if (!choice.is_object()) return nonsense("a choice is no object");
    return &choice;
}

Status OpenAiReader::onMessage(const json::Value& message, const DeltaFn& delta) {
    if (!message.is_object())
        return nonsense(fmt::format("{} is no object", streams_ ? "delta" : "message"));
    AEGIS_TRY(std::string_view content, optionalString(message, "content"));
    AEGIS_TRY(std::string_view refusal, optionalString(message, "refusal"));
    if (finished_ && !(content.empty() && refusal.empty()))
        return nonsense("text after the finish_reason");
    AEGIS_CHECK(builder_.addText(content, delta));
    AEGIS_CHECK(builder_.addText(refusal, delta));
    if (const json::Value* calls = present(message, "tool_calls")) return onToolCalls(*calls);
    return {};
}

Status OpenAiReader::onToolCalls(const json::Value& calls) {
    const auto* array = calls.if_array();
    if (array == nullptr) return nonsense("tool_calls is no array");
    if (finished_ && !array->empty()) return nonsense("a tool call after the finish_reason");
    for (const json::Value& call : *array) {
        if (!call.is_object()) return nonsense("a tool call is no object");
        const json::Value* function = present(call, "function");
        static const json::Value kNone = json::Object{};
        if (function == nullptr) function = &kNone;
        if (!function->is_object()) return nonsense("a tool call's function is no object");
        AEGIS_TRY(std::string_view id, optionalString(call, "id"));
        AEGIS_TRY(std::string_view name, optionalString(*function, "name"));
        AEGIS_TRY(std::string_view arguments, optionalString(*function, "arguments"));
        AEGIS_TRY(std::size_t position, positionOf(call, id, name));
        AEGIS_CHECK(builder_.addArguments(position, arguments));
    }
    return {};
}

// Deltas of one call share its index. Some compatible servers send each call whole, without an
// index or all with index 0; a new id means a new call then.
Result<std::size_t> OpenAiReader::positionOf(const json::Value& call, std::string_view id,
                                             std::string_view name) {
    const json::Value* index_value = present(call, "index");
    if (!streams_ || index_value == nullptr) {
        if (name.empty()) return nonsense("a tool call has neither index nor name");
        return builder_.openCall(id, name);
    }
    std::int64_t index = json::getInt(call, "index", -1);
    if (index < 0) return nonsense("a tool call's index is no number from 0");
    if (index >= static_cast<std::int64_t>(kMaxToolCalls)) return builder_.tooManyCalls();
    auto known = positions_.find(index);
    bool is_new = known == positions_.end() || (!id.empty() && id != builder_.idOf(known->second));
    if (!is_new) {
        AEGIS_CHECK(builder_.nameCall(known->second, name));
        return known->second;
    }
    AEGIS_TRY(std::size_t position, builder_.openCall(id, name));
    positions_[index] = position;
    return position;
}

Status OpenAiReader::onFinish(const json::Value& choice) {
    AEGIS_TRY(std::string_view reason, optionalString(choice, "finish_reason"));
    if (reason.empty()) return {};
    builder_.setFinishReason(reason);
    finished_ = true;
    return {};
}

}  // namespace

std::unique_ptr<AnswerReader> OpenAiDialect::reader(WireNames tools) const {
    return std::make_unique<OpenAiReader>(std::move(tools), settings_.max_response_bytes);
}

}  // namespace aegis::models
