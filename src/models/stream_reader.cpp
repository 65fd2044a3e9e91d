#include "models/stream_reader.h"

#include <fmt/format.h>

namespace aegis::models {
namespace {

// What an answer of the allowed size may need beside its text.
constexpr std::uint64_t kEnvelopeBytes = 64 * 1024;

constexpr std::size_t kHeadBytes = 8;

// Whether a text, which may be cut, starts as an event stream does.
bool startsAsStream(std::string_view head) {
    for (std::string_view field : {":", "data:", "event:", "id:", "retry:"})
        if (head.starts_with(field) || field.starts_with(head)) return true;
    return false;
}

}  // namespace

StreamReader::StreamReader(WireNames tools, std::uint64_t max_bytes)
    : builder_(std::move(tools), max_bytes),
      max_bytes_(max_bytes),
      events_(static_cast<std::size_t>(max_bytes + kEnvelopeBytes)) {}

Error StreamReader::failed(Error error) {
    if (fault_ != Fault::kNone) return error_;
    fault_ = builder_.fault();
    if (fault_ == Fault::kNone) fault_ = reported_;
    if (fault_ == Fault::kNone) fault_ = Fault::kNonsense;
    error_ = std::move(error);
    return error_;
}

Status StreamReader::tooLarge(std::string_view what) {
    reported_ = Fault::kTooLarge;
    return Error(ErrorCode::kTooLarge,
                 fmt::format("{} is larger than {} bytes (max_response_bytes)", what, max_bytes_));
}

Error StreamReader::reported(const json::Value& what) {
    json::Object wrapped;
    wrapped["error"] = what;
    std::string message = providerMessage(json::dump(wrapped));
    std::string_view type = json::getString(what, "type");
    std::string_view code = json::getString(what, "code");
    bool refused = type.starts_with("invalid_request") || type.starts_with("authentication") ||
                   type.starts_with("permission") || type.starts_with("not_found") ||
                   code == "context_length_exceeded" || code == "invalid_api_key";
    reported_ = refused ? Fault::kRefused : Fault::kOverloaded;
    bool limited = type.starts_with("rate_limit") || code.starts_with("rate_limit");
    ErrorCode error_code = refused   ? ErrorCode::kInvalid
                           : limited ? ErrorCode::kTooMany
                                     : ErrorCode::kUnavailable;
    if (message.empty()) message = type.empty() ? "no reason given" : oneLine(type);
    return {error_code, fmt::format("the provider reports an error in its answer: {}", message)};
}

Status StreamReader::feed(std::string_view bytes, const DeltaFn& delta) {
    if (fault_ != Fault::kNone) return error_;
    if (complete_) return {};
    if (mode_ == Mode::kUnknown) {
        std::size_t first = bytes.find_first_not_of(" \t\r\n");
        if (first == std::string_view::npos) return {};
        bytes.remove_prefix(first);
        mode_ = bytes.front() == '{' ? Mode::kDocument : Mode::kStream;
    }
    Status status;
    if (mode_ == Mode::kStream) {
        status = feedStream(bytes, delta);
    } else if (document_.size() + bytes.size() > max_bytes_ + kEnvelopeBytes) {
        status = tooLarge("the answer");
    } else {
        document_ += bytes;
    }
    if (!status) return failed(std::move(status.error()));
    return {};
}

Status StreamReader::feedStream(std::string_view bytes, const DeltaFn& delta) {
    if (head_.size() < kHeadBytes) head_ += bytes.substr(0, kHeadBytes - head_.size());
    Status status;
    auto read = events_.feed(bytes, [&](const wire::SseEvent& event) {
        if (status && !complete_) status = onEvent(event.event, event.data, delta);
    });
    if (!status) return status;
    if (!read) return tooLarge("one event of the answer");
    return {};
}

Status StreamReader::finishDocument(const DeltaFn& delta) {
    auto document = json::parse(document_);
    if (!document) {
        // A text that ends too early is a cut connection, not nonsense.
        if (document.error().message.ends_with("the text ends too early")) reported_ = Fault::kCut;
        return nonsense(std::move(document.error().message));
    }
    return onDocument(*document, delta);
}

Result<ports::ModelAnswer> StreamReader::finish(const DeltaFn& delta) {
    if (fault_ != Fault::kNone) return error_;
    if (mode_ == Mode::kDocument) {
        if (auto status = finishDocument(delta); !status) return failed(std::move(status.error()));
    }
    if (!complete_) {
        if (mode_ == Mode::kStream && !startsAsStream(head_))
            return failed(nonsense("neither a stream of events nor JSON"));
        reported_ = Fault::kCut;
        return failed({ErrorCode::kUnreachable, "the answer ended before it was complete"});
    }
    auto answer = builder_.take();
    if (!answer) return failed(std::move(answer.error()));
    return answer;
}

}  // namespace aegis::models
