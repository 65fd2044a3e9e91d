#include <fmt/format.h>

#include <map>
#include <optional>

#include "models/anthropic.h"
#include "models/stream_reader.h"

namespace aegis::models {
namespace {

// A string member that must be there.
Result<std::string_view> stringOf(const json::Value& value, std::string_view key) {
    const json::Value* member = json::find(value, key);
    if (member == nullptr || !member->is_string())
        return nonsense(fmt::format("{} is missing or no string", key));
    return json::view(member->get_string());
}

Result<const json::Value*> objectOf(const json::Value& value, std::string_view key) {
    const json::Value* member = json::find(value, key);
    if (member == nullptr || !member->is_object())
        return nonsense(fmt::format("{} is missing or no object", key));
    return member;
}

class AnthropicReader : public StreamReader {
  public:
    AnthropicReader(WireNames tools, std::uint64_t max_bytes)
        : StreamReader(std::move(tools), max_bytes) {}

  protected:
    Status onEvent(std::string_view type, std::string_view data, const DeltaFn& delta) override;
    Status onDocument(const json::Value& document, const DeltaFn& delta) override;

  private:
    struct Block {
        std::optional<std::size_t> call;  ///< a tool call's position; none: another kind of block
        bool is_text = false;
        bool open = true;
    };

    Status onMessageStart(const json::Value& event);
    Status onBlockStart(const json::Value& event, const DeltaFn& delta);
    Status onBlockDelta(const json::Value& event, const DeltaFn& delta);
    Status onBlockStop(const json::Value& event);
    Status onMessageDelta(const json::Value& event);
    Status onMessageStop();
    Result<Block*> openBlock(const json::Value& event);
    Result<Block> begin(const json::Value& content, const DeltaFn& delta);
    void onUsage(const json::Value& holder);
    Status onStopReason(const json::Value& holder);

    std::map<std::int64_t, Block> blocks_;
    std::int64_t prompt_tokens_ = 0;
    std::int64_t completion_tokens_ = 0;
    bool started_ = false;
    bool finished_ = false;
};

Status AnthropicReader::onEvent(std::string_view, std::string_view data, const DeltaFn& delta) {
    auto event = json::parse(data);
    if (!event) return nonsense(std::move(event.error().message));
    if (!event->is_object()) return nonsense("not a JSON object");
    AEGIS_TRY(std::string_view type, stringOf(*event, "type"));
    if (type == "error") {
        AEGIS_TRY(const json::Value* error, objectOf(*event, "error"));
        return reported(*error);
    }
    if (type == "message_start") return onMessageStart(*event);
    bool known = type.starts_with("content_block_") || type.starts_with("message_");
    // New kinds of events may come at any time, says the API's versioning policy.
    if (!known) return {};
    if (!started_) return nonsense("an event before message_start");
    if (type == "content_block_start") return onBlockStart(*event, delta);
    if (type == "content_block_delta") return onBlockDelta(*event, delta);
    if (type == "content_block_stop") return onBlockStop(*event);
    if (type == "message_delta") return onMessageDelta(*event);
    if (type == "message_stop") return onMessageStop();
    return {};
}

void AnthropicReader::onUsage(const json::Value& holder) {
    const json::Value* usage = json::find(holder, "usage");
    if (usage == nullptr) return;
    if (json::find(*usage, "input_tokens") != nullptr)
        prompt_tokens_ = json::getInt(*usage, "input_tokens") +
                         json::getInt(*usage, "cache_creation_input_tokens") +
                         json::getInt(*usage, "cache_read_input_tokens");
    completion_tokens_ = json::getInt(*usage, "output_tokens", completion_tokens_);
    builder_.setUsage(prompt_tokens_, completion_tokens_);
}

Status AnthropicReader::onMessageStart(const json::Value& event) {
    if (started_) return nonsense("a second message_start");
    started_ = true;
    AEGIS_TRY(const json::Value* message, objectOf(event, "message"));
    builder_.setModel(json::getString(*message, "model"));
    onUsage(*message);
    return {};
}

Result<AnthropicReader::Block> AnthropicReader::begin(const json::Value& content,
                                                      const DeltaFn& delta) {
    Block block;
    AEGIS_TRY(std::string_view type, stringOf(content, "type"));
    if (type == "text") {
        block.is_text = true;
        AEGIS_TRY(std::string_view text, stringOf(content, "text"));
        AEGIS_CHECK(builder_.addText(text, delta));
    } else if (type == "tool_use") {
        AEGIS_TRY(std::string_view id, stringOf(content, "id"));
        AEGIS_TRY(std::string_view name, stringOf(content, "name"));
        AEGIS_TRY(block.call, builder_.openCall(id, name));
    }
    return block;
}

Status AnthropicReader::onBlockStart(const json::Value& event, const DeltaFn& delta) {
    std::int64_t index = json::getInt(event, "index", -1);
    if (index < 0 || blocks_.contains(index)) return nonsense("a block's index is bad or used");
    if (finished_) return nonsense("a block after the stop_reason");
    AEGIS_TRY(const json::Value* content, objectOf(event, "content_block"));
    AEGIS_TRY(Block block, begin(*content, delta));
    blocks_.emplace(index, block);
    // Calls count for themselves; other kinds of blocks must not grow without end either.
    if (blocks_.size() > 2 * kMaxToolCalls) return builder_.tooManyCalls();
    return {};
}

Result<AnthropicReader::Block*> AnthropicReader::openBlock(const json::Value& event) {
    auto found = blocks_.find(json::getInt(event, "index", -1));
    if (found == blocks_.end() || !found->second.open)
        return nonsense(fmt::format("{} for no open block", json::getString(event, "type")));
    return &found->second;
}

Status AnthropicReader::onBlockDelta(const json::Value& event, const DeltaFn& delta) {
    AEGIS_TRY(Block * block, openBlock(event));
    AEGIS_TRY(const json::Value* change, objectOf(event, "delta"));
    AEGIS_TRY(std::string_view type, stringOf(*change, "type"));
    if (type == "text_delta") {
        if (!block->is_text) return nonsense("text for a block that is none");
        AEGIS_TRY(std::string_view text, stringOf(*change, "text"));
        return builder_.addText(text, delta);
    }
    if (type == "input_json_delta" && block->call) {
        AEGIS_TRY(std::string_view text, stringOf(*change, "partial_json"));
        return builder_.addArguments(*block->call, text);
    }
    return {};  // thinking, signatures, citations, input of the provider's own tools
}

Status AnthropicReader::onBlockStop(const json::Value& event) {
    AEGIS_TRY(Block * block, openBlock(event));
    block->open = false;
    return {};
}

Status AnthropicReader::onStopReason(const json::Value& holder) {
    const json::Value* reason = json::find(holder, "stop_reason");
    if (reason == nullptr || reason->is_null()) return {};
    if (!reason->is_string()) return nonsense("stop_reason is no string");
    builder_.setFinishReason(json::view(reason->get_string()));
    builder_.setStopSequence(json::getString(holder, "stop_sequence"));
    finished_ = true;
    return {};
}

Status AnthropicReader::onMessageDelta(const json::Value& event) {
    AEGIS_TRY(const json::Value* change, objectOf(event, "delta"));
    AEGIS_CHECK(onStopReason(*change));
    onUsage(event);
    return {};
}

Status AnthropicReader::onMessageStop() {
    for (const auto& [index, block] : blocks_)
        if (block.open) return nonsense("the message stops within a block");
    if (!finished_) return nonsense("the message stops without a stop_reason");
    setComplete();
    return {};
}

Status AnthropicReader::onDocument(const json::Value& document, const DeltaFn& delta) {
    if (json::getString(document, "type") == "error") {
        AEGIS_TRY(const json::Value* error, objectOf(document, "error"));
        return reported(*error);
    }
    const json::Value* content = json::find(document, "content");
    if (content == nullptr || !content->is_array())
        return nonsense("content is missing or no array");
    builder_.setModel(json::getString(document, "model"));
    for (const json::Value& part : content->get_array()) {
        AEGIS_TRY(Block block, begin(part, delta));
        if (!block.call) continue;
        AEGIS_TRY(const json::Value* input, objectOf(part, "input"));
        AEGIS_CHECK(builder_.addArguments(*block.call, json::dump(*input)));
    }
    AEGIS_CHECK(onStopReason(document));
    if (!finished_) return nonsense("stop_reason is missing");
    onUsage(document);
    setComplete();
    return {};
}

}  // namespace

std::unique_ptr<AnswerReader> AnthropicDialect::reader(WireNames tools) const {
    return std::make_unique<AnthropicReader>(std::move(tools), settings_.max_response_bytes);
}

}  // namespace aegis::models
