#pragma once

#include <cstddef>
#include <functional>
#include <string>
#include <string_view>

#include "base/result.h"

namespace aegis::wire {

/// Splits a stream of newline-delimited JSON into lines, in pieces cut anywhere. A CR before the LF
/// and empty lines are dropped; what a line holds is the caller's to parse. One thread.
class LineSplitter {
  public:
    /// The view ends with the call.
    using OnLine = std::function<void(std::string_view line)>;

    /// `limit` bounds one line in bytes (kTooLarge beyond).
    explicit LineSplitter(std::size_t limit) : limit_(limit) {}

    /// Calls `on_line` for each line that `bytes` completes. Stays failed after an error.
    Status feed(std::string_view bytes, const OnLine& on_line);
    /// Delivers a last line that lacks its newline.
    Status finish(const OnLine& on_line);

  private:
    std::size_t limit_;
    std::string line_;
    bool failed_ = false;
};

}  // namespace aegis::wire
