#include "models/stream_reader.h"

#include <fmt/format.h>

namespace aegis::models {
namespace {

// What an answer of the allowed size may need beside its text.
constexpr std::uint64_t kEnvelopeBytes = 64 * 1024;

// Whether a line, which may be cut, is one of an event stream.
bool isStreamLine(std::string_view line) {
    if (line.empty()) return false;
    for (std::string_view field : {":", "data", "event", "id", "retry"})
        if (line.starts_with(field) || field.starts_with(line)) return true;
    return false;
}

}  // namespace

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
        mode_ = bytes[first] == '{' ? Mode::kDocument : Mode::kStream;
    }
    Status status;
    if (mode_ == Mode::kStream) {
        status = feedStream(bytes, delta);
    } else if (line_.size() + bytes.size() > max_bytes_ + kEnvelopeBytes) {
        status = tooLarge("the answer");
    } else {
        line_ += bytes;
    }
    if (!status) return failed(std::move(status.error()));
    return {};
}

Status StreamReader::feedStream(std::string_view bytes, const DeltaFn& delta) {
    while (!bytes.empty() && !complete_) {
        if (after_cr_ && bytes.front() == '\n') bytes.remove_prefix(1);
        after_cr_ = false;
        std::size_t end = bytes.find_first_of("\r\n");
        std::string_view part = bytes.substr(0, end);
        if (line_.size() + data_.size() + part.size() > max_bytes_ + kEnvelopeBytes)
            return tooLarge("one event of the answer");
        line_ += part;
        if (end == std::string_view::npos) return {};
        after_cr_ = bytes[end] == '\r';
        bytes.remove_prefix(end + 1);
        AEGIS_CHECK(onLine(delta));
        line_.clear();
    }
    return {};
}

Status StreamReader::onLine(const DeltaFn& delta) {
    if (line_.empty()) {
        std::string data = std::move(data_), type = std::move(type_);
        data_.clear();
        type_.clear();
        if (!std::exchange(has_data_, false)) return {};
        return onEvent(type, data, delta);
    }
    std::string_view line = line_;
    is_stream_ = is_stream_ || isStreamLine(line);
    std::size_t colon = line.find(':');
    std::string_view field = line.substr(0, colon);
    std::string_view value = colon == std::string_view::npos ? "" : line.substr(colon + 1);
    if (value.starts_with(' ')) value.remove_prefix(1);
    if (field == "event") {
        type_ = value;
    } else if (field == "data") {
        if (has_data_) data_ += '\n';
        has_data_ = true;
        data_ += value;
    }
    return {};
}

Status StreamReader::finishDocument(const DeltaFn& delta) {
    auto document = json::parse(line_);
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
        if (mode_ == Mode::kStream && !is_stream_ && !isStreamLine(line_))
            return failed(nonsense("neither a stream of events nor JSON"));
        reported_ = Fault::kCut;
        return failed({ErrorCode::kUnreachable, "the answer ended before it was complete"});
    }
    auto answer = builder_.take();
    if (!answer) return failed(std::move(answer.error()));
    return answer;
}

}  // namespace aegis::models
