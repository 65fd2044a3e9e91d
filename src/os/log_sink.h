#pragma once

#include <atomic>

#include "base/log.h"

namespace aegis::os {

enum class LogFormat { kText, kJson };

/// Writes each line with one write(2) to a descriptor (stderr), so lines of threads never mix.
/// Text: "2026-02-23T10:00:01.250Z INFO message key=value"; JSON:
/// {"time","level","message",…fields}. Control characters are escaped in both, bytes that are not
/// UTF-8 replaced. Safe on any thread; failures to write are ignored.
class FdLogSink : public LogSink {
  public:
    FdLogSink(int fd, LogFormat format) : fd_(fd), format_(format) {}
    void setFormat(LogFormat format) { format_ = format; }
    void write(LogLevel level, std::string_view message,
               std::initializer_list<LogField> fields) override;

  private:
    int fd_;
    std::atomic<LogFormat> format_;
};

}  // namespace aegis::os
