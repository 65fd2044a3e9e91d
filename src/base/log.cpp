#include "base/log.h"

#include <atomic>
#include <cstdio>
#include <cstdlib>

#include "base/assert.h"

namespace aegis {
namespace {
std::atomic<LogSink*> g_sink{nullptr};
std::atomic<LogLevel> g_level{LogLevel::kInfo};
}  // namespace

LogLevel logLevelNamed(std::string_view name) {
    return name == "debug"   ? LogLevel::kDebug
           : name == "warn"  ? LogLevel::kWarn
           : name == "error" ? LogLevel::kError
                             : LogLevel::kInfo;
}

void setLogSink(LogSink* sink) { g_sink.store(sink); }
void setLogLevel(LogLevel level) { g_level.store(level); }

void log(LogLevel level, std::string_view message, std::initializer_list<LogField> fields) {
    if (level < g_level.load(std::memory_order_relaxed)) return;
    if (LogSink* sink = g_sink.load()) sink->write(level, message, fields);
}

void assertFailed(const char* expression, const char* file, int line) {
    std::fprintf(stderr, "aegis: assertion failed: %s (%s:%d)\n", expression, file, line);
    std::abort();
}

}  // namespace aegis
