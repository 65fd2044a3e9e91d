#include "os/log_sink.h"

#include <fmt/format.h>
#include <unistd.h>

#include <array>
#include <string>

#include "os/clock.h"

namespace aegis::os {
namespace {

constexpr std::array<std::string_view, 4> kTextNames{"DEBUG", "INFO", "WARN", "ERROR"};
constexpr std::array<std::string_view, 4> kJsonNames{"debug", "info", "warn", "error"};

void appendEscaped(std::string& out, std::string_view text) {
    for (char c : text) {
        auto u = static_cast<unsigned char>(c);
        if (c == '"' || c == '\\') {
            out += '\\';
            out += c;
        } else if (u < 0x20 || u == 0x7f) {
            out += fmt::format("\\u{:04x}", static_cast<unsigned>(u));
        } else {
            out += c;
        }
    }
}

bool needsQuotes(std::string_view text) {
    return text.empty() || text.find_first_of(" \t\r\n\"\\=") != std::string_view::npos;
}

}  // namespace

void FdLogSink::write(LogLevel level, std::string_view message,
                      std::initializer_list<LogField> fields) {
    auto index = static_cast<std::size_t>(level);
    std::string line;
    auto time = systemClock().utc().rfc3339();
    if (format_ == LogFormat::kJson) {
        line = fmt::format(R"({{"time":"{}","level":"{}","message":")", time, kJsonNames[index]);
        appendEscaped(line, message);
        line += '"';
        for (const auto& field : fields) {
            line += fmt::format(R"(,"{}":")", field.key);
            appendEscaped(line, field.value);
            line += '"';
        }
        line += "}\n";
    } else {
        line = fmt::format("{} {:5} ", time, kTextNames[index]);
        appendEscaped(line, message);
        for (const auto& field : fields) {
            line += fmt::format(" {}=", field.key);
            if (!needsQuotes(field.value)) {
                line += field.value;
                continue;
            }
            line += '"';
            appendEscaped(line, field.value);
            line += '"';
        }
        line += '\n';
    }
    [[maybe_unused]] auto ignored = ::write(fd_, line.data(), line.size());
}

}  // namespace aegis::os
