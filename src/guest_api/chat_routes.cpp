#include "guest_api/chat_routes.h"

#include <fmt/format.h>

namespace aegis::guest_api {
namespace {

namespace chat = proto::chat;
using runner::GuestMessage;

constexpr std::int64_t kLookMs = 1000;

/// Counts while it lives.
class Counted {
  public:
    explicit Counted(std::atomic<int>& count) : count_(count), value_(++count) {}
    ~Counted() { --count_; }
    Counted(const Counted&) = delete;
    Counted& operator=(const Counted&) = delete;
    int value() const { return value_; }

  private:
    std::atomic<int>& count_;
    int value_;
};

/// However this ends, nobody asks the connection any more.
struct Abandoned {
    runner::GuestCall& call;
    ~Abandoned() { call.abandon(); }
};

}  // namespace

std::optional<chat::Format> chatFormat(std::string_view path) {
    if (path == chat::kOpenAiPath) return chat::Format::kOpenAi;
    if (path == chat::kAnthropicPath) return chat::Format::kAnthropic;
    return std::nullopt;
}

void Chat::serve(const ports::SandboxId& id, const net::Request& request,
                 std::atomic<int>& under_way) {
    if (request.method != "POST") {
        auto body = chat::errorBody(
            format_, {ErrorCode::kInvalid,
                      fmt::format("Not allowed to {} on {}", request.method, request.path)});
        (void)writer_.send(405, {{"Allow", "POST"}, {"Content-Type", "application/json"}}, body);
        return;
    }
    auto asked = chat::parseRequest(format_, request.body);
    if (!asked) return refuse(asked.error());
    Counted counted(under_way);
    if (counted.value() > kMaxChats) {
        constexpr std::int64_t kSoonMs = 1000;
        return refuse({ErrorCode::kTooMany,
                       fmt::format("this sandbox has {} calls of the model under way", kMaxChats)},
                      kSoonMs);
    }
    converse(id, *asked);
}

void Chat::converse(const ports::SandboxId& id, const chat::Request& asked) {
    auto call = std::make_shared<runner::GuestCall>();
    call->watch([this] { return writer_.clientGone(); });
    Abandoned at_the_end{*call};
    runner_.chat(id, std::string(chat::nameOf(format_)), asked.model, asked.prompt, call);
    while (!writer_.clientGone()) {
        auto message = call->next(Deadline::in(clock_.boot(), kLookMs), clock_);
        if (!message && !call->open()) break;
        if (message && !tell(asked, *message, *call)) break;
    }
}

chat::AnswerHead Chat::headOf(const chat::Request& asked, const runner::GuestCall& call) const {
    return {call.id(), asked.model, clock_.utc().ms / 1000};
}

/// False: that was the last, or nobody reads.
bool Chat::tell(const chat::Request& asked, const GuestMessage& message, runner::GuestCall& call) {
    if (message.kind == GuestMessage::Kind::kError) {
        refuse({message.error, message.message}, message.retry_after_ms);
        return false;
    }
    if (asked.stream && !stream_)
        stream_.emplace(format_, headOf(asked, call), asked.include_usage);
    if (message.kind == GuestMessage::Kind::kDelta)
        return !asked.stream || push(stream_->delta(message.content));
    // Before the last byte: who has it may ask the same again, and means something new.
    call.setDelivered(true);
    if (!tellEnd(asked, message, call)) call.setDelivered(false);
    return false;
}

bool Chat::tellEnd(const chat::Request& asked, const GuestMessage& message,
                   runner::GuestCall& call) {
    auto answer = json::parse(message.content);
    if (!answer) {
        refuse({ErrorCode::kInternal, "the recorded answer cannot be read"});
        return true;
    }
    if (stream_) return pushLast(stream_->finish(*answer));
    return writer_.sendJson(200, chat::document(format_, headOf(asked, call), *answer)).has_value();
}

bool Chat::push(const std::string& events) {
    if (writer_.begun()) return writer_.write(events).has_value();
    wire::Headers headers{{"Content-Type", "text/event-stream; charset=utf-8"},
                          {"Cache-Control", "no-cache"}};
    return writer_.begin(200, std::move(headers), events).has_value();
}

bool Chat::pushLast(const std::string& events) {
    if (writer_.begun()) return writer_.end(events).has_value();
    return push(events) && writer_.end();
}

void Chat::refuse(const Error& error, std::optional<std::int64_t> retry_after_ms) {
    if (writer_.begun()) {
        (void)pushLast(stream_->fail(error));
        return;
    }
    wire::Headers headers{{"Content-Type", "application/json"}};
    if (retry_after_ms) headers.add("Retry-After", std::to_string((*retry_after_ms + 999) / 1000));
    (void)writer_.send(chat::statusOf(format_, error.code), std::move(headers),
                       chat::errorBody(format_, error));
}

}  // namespace aegis::guest_api
