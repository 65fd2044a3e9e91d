#pragma once

#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>

namespace aegis {

enum class LogLevel : std::uint8_t { kDebug, kInfo, kWarn, kError };
/// "debug", "warn" or "error"; anything else is kInfo.
LogLevel logLevelNamed(std::string_view name);

/// One named value of a log line.
struct LogField {
    std::string_view key;
    std::string value;
    bool is_number = false;  ///< JSON lines show it without quotes
};

/// Where log lines go. The real sink is os/log_sink.h (text or JSON lines on stderr). Safe on any
/// thread.
class LogSink {
  public:
    virtual ~LogSink() = default;
    virtual void write(LogLevel level, std::string_view message,
                       std::initializer_list<LogField> fields) = 0;
};

/// Sets the process's sink; nullptr silences. The sink must outlive every thread that logs.
void setLogSink(LogSink* sink);
void setLogLevel(LogLevel level);

/// Writes one line if `level` is enabled. Never put a Secret, a prompt or a model's text in here.
void log(LogLevel level, std::string_view message, std::initializer_list<LogField> fields = {});

}  // namespace aegis
