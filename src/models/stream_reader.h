#pragma once

#include "models/answer_builder.h"
#include "wire/sse.h"

namespace aegis::models {

/// The part of reading that all dialects share: tells a stream of server-sent events from one JSON
/// document (servers that do not stream), keeps the limits, and remembers the first fault. Nothing
/// is buffered but one event or, without a stream, the document.
class StreamReader : public AnswerReader {
  public:
    Status feed(std::string_view bytes, const DeltaFn& delta) final;
    Result<ports::ModelAnswer> finish(const DeltaFn& delta) final;
    bool complete() const final { return complete_ && fault_ == Fault::kNone; }
    Fault fault() const final { return fault_; }

  protected:
    StreamReader(WireNames tools, std::uint64_t max_bytes);

    /// One event of a stream.
    virtual Status onEvent(std::string_view type, std::string_view data, const DeltaFn& delta) = 0;
    /// A body that is one document: an object.
    virtual Status onDocument(const json::Value& document, const DeltaFn& delta) = 0;

    void setComplete() { complete_ = true; }
    /// The error that the provider itself reports inside a 200; `what` is its error object or text.
    Error reported(const json::Value& what);

    AnswerBuilder builder_;

  private:
    Status feedStream(std::string_view bytes, const DeltaFn& delta);
    Status finishDocument(const DeltaFn& delta);
    Status tooLarge(std::string_view what);
    Error failed(Error error);

    enum class Mode : std::uint8_t { kUnknown, kStream, kDocument } mode_ = Mode::kUnknown;
    std::uint64_t max_bytes_;
    wire::SseReader events_;
    std::string head_;      ///< kStream: its first bytes
    std::string document_;  ///< kDocument: everything so far
    bool complete_ = false;
    Fault fault_ = Fault::kNone;
    Fault reported_ = Fault::kNone;
    Error error_;
};

}  // namespace aegis::models
