#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"

namespace aegis::wire {

/// One server-sent event (WHATWG HTML, section 9.2).
struct SseEvent {
    std::string event;  ///< empty: "message"
    std::string id;     ///< empty: none is sent; when read: the last id seen
    std::string data;   ///< may hold several lines
    std::optional<std::int64_t> retry_ms;
};

/// The event as bytes, blank line included. Line breaks in event and id are left out, CR and CRLF
/// in data become line breaks.
std::string encodeSse(const SseEvent& event);

/// A comment, as a heartbeat: ": text\n\n".
std::string encodeSseComment(std::string_view text);

/// Reads a stream in pieces cut anywhere: LF, CR or CRLF, BOM, comments, unknown fields; an event
/// without data is not delivered. One thread.
class SseReader {
  public:
    using OnEvent = std::function<void(const SseEvent&)>;

    /// `limit` bounds one event in bytes (kTooLarge beyond).
    explicit SseReader(std::size_t limit) : limit_(limit) {}

    /// Calls `on_event` for each event that `bytes` completes. Stays failed after an error.
    Status feed(std::string_view bytes, const OnEvent& on_event);
    /// Whether bytes of an unfinished event are held: at the end of a stream these are dropped (the
    /// standard says so), which a protocol over it may call a cut.
    bool midEvent() const { return !line_.empty() || has_data_; }

  private:
    void onLine(const OnEvent& on_event);
    void onField(std::string_view name, std::string_view value);

    std::size_t limit_;
    std::string line_;
    SseEvent current_;
    bool has_data_ = false;
    bool at_start_ = true;
    bool after_cr_ = false;
    bool failed_ = false;
};

}  // namespace aegis::wire
