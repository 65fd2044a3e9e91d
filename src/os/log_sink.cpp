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

/// The length of the character of two bytes and more at the front of `text`; 0 if it is ill-formed.
std::size_t multibyte(std::string_view text) {
    auto lead = static_cast<unsigned char>(text.front());
    std::size_t size = lead >= 0xf0 && lead <= 0xf4   ? 4
                       : lead >= 0xe0 && lead <= 0xef ? 3
                       : lead >= 0xc2 && lead <= 0xdf ? 2
                                                      : 0;
    if (size == 0 || size > text.size()) return 0;
    std::uint32_t code = lead & (0xffU >> (size + 1));
    for (std::size_t i = 1; i < size; ++i) {
        auto byte = static_cast<unsigned char>(text[i]);
        if ((byte & 0xc0U) != 0x80) return 0;
        code = (code << 6U) | (byte & 0x3fU);
    }
    bool shortest = code >= (size == 2 ? 0x80U : size == 3 ? 0x800U : 0x10000U);
    bool surrogate = code >= 0xd800 && code <= 0xdfff;
    // C1 controls drive terminals as ESC sequences do.
    bool control = code >= 0x80 && code <= 0x9f;
    return shortest && !surrogate && !control && code <= 0x10ffff ? size : 0;
}

void appendEscaped(std::string& out, std::string_view text) {
    while (!text.empty()) {
        auto byte = static_cast<unsigned char>(text.front());
        std::size_t size = 1;
        if (byte == '"' || byte == '\\') {
            out += '\\';
            out += text.front();
        } else if (byte < 0x20 || byte == 0x7f) {
            out += fmt::format("\\u{:04x}", byte);
        } else if (byte < 0x80) {
            out += text.front();
        } else if ((size = multibyte(text)) > 0) {
            out += text.substr(0, size);
        } else {
            out += "\\ufffd";
            size = 1;
        }
        text.remove_prefix(size);
    }
}

bool isPlain(std::string_view text) {
    for (char c : text) {
        auto byte = static_cast<unsigned char>(c);
        if (byte <= 0x20 || byte >= 0x7f || c == '"' || c == '\\' || c == '=') return false;
    }
    return !text.empty();
}

std::string jsonLine(std::string_view time, LogLevel level, std::string_view message,
                     std::initializer_list<LogField> fields) {
    auto line = fmt::format(R"({{"time":"{}","level":"{}","message":")", time,
                            kJsonNames[static_cast<std::size_t>(level)]);
    appendEscaped(line, message);
    line += '"';
    for (const auto& field : fields) {
        line += fmt::format(R"(,"{}":)", field.key);
        if (!field.is_number) line += '"';
        appendEscaped(line, field.value);
        if (!field.is_number) line += '"';
    }
    return line + "}\n";
}

std::string textLine(std::string_view time, LogLevel level, std::string_view message,
                     std::initializer_list<LogField> fields) {
    auto line = fmt::format("{} {:5} ", time, kTextNames[static_cast<std::size_t>(level)]);
    appendEscaped(line, message);
    for (const auto& field : fields) {
        line += fmt::format(" {}=", field.key);
        bool plain = isPlain(field.value);
        if (!plain) line += '"';
        appendEscaped(line, field.value);
        if (!plain) line += '"';
    }
    return line + '\n';
}

}  // namespace

void FdLogSink::write(LogLevel level, std::string_view message,
                      std::initializer_list<LogField> fields) {
    auto time = systemClock().utc().rfc3339();
    auto line = format_ == LogFormat::kJson ? jsonLine(time, level, message, fields)
                                            : textLine(time, level, message, fields);
    [[maybe_unused]] auto ignored = ::write(fd_, line.data(), line.size());
}

}  // namespace aegis::os
