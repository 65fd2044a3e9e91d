#include "cli/context.h"

#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <cstring>

#include "cli/color.h"
#include "cli/yaml_out.h"
#include "os/files.h"
#include "text/escape.h"

namespace aegis::cli {
namespace {

void writeTo(int fd, std::string_view text) {
    // Nothing can be told to anybody if this fails: the reader is gone.
    if (!os::writeAll(fd, text)) std::_Exit(fd == STDOUT_FILENO ? 0 : 1);
}

json::Object errorJson(const Error& error) {
    json::Array details;
    for (const auto& d : error.details)
        details.push_back(json::Object{{"path", d.path},
                                       {"file", d.file},
                                       {"line", d.line},
                                       {"column", d.column},
                                       {"message", d.message}});
    json::Object body{{"code", errorTraits(error.code).name}, {"message", error.message}};
    if (!error.hint.empty()) body["hint"] = error.hint;
    body["details"] = std::move(details);
    return {{"error", std::move(body)}};
}

}  // namespace

OutputFormat Context::format() const {
    if (flags.output == "json") return OutputFormat::kJson;
    if (flags.output == "yaml") return OutputFormat::kYaml;
    return OutputFormat::kTable;
}

Result<service::Service*> Context::connect() {
    if (!service_) {
        AEGIS_TRY(service_, factory_(flags));
    }
    return service_.get();
}

service::Service* Context::service() {
    auto made = connect();
    if (made) return *made;
    service_exit_ = fail(made.error());
    return nullptr;
}

std::string Context::prefix(std::string_view word) const {
    auto color = word == "error" ? Color::kRed : word == "warning" ? Color::kYellow : Color::kCyan;
    return painted(fmt::format("{}:", word), color, colorsOn(STDERR_FILENO, flags.no_color)) + " ";
}

int Context::fail(const Error& error) const {
    int code = errorTraits(error.code).exit_code;
    if (json()) {
        writeTo(STDERR_FILENO, json::dump(errorJson(error)) + "\n");
        return code;
    }
    std::string text = prefix("error") + text::escapeControl(error.message) + "\n";
    for (const auto& detail : error.details)
        text += "  " + text::escapeControl(detail.str()) + "\n";
    if (!error.hint.empty()) text += prefix("hint") + text::escapeControl(error.hint) + "\n";
    writeTo(STDERR_FILENO, text);
    return code;
}

void Context::warn(const std::string& message) const {
    writeTo(STDERR_FILENO, prefix("warning") + text::escapeControl(message) + "\n");
}

void Context::hint(const std::string& message) const {
    writeTo(STDERR_FILENO, prefix("hint") + text::escapeControl(message) + "\n");
}

void Context::note(const std::string& message) const {
    constexpr std::string_view kHint = "hint: ";
    if (message.starts_with(kHint)) return hint(message.substr(kHint.size()));
    writeTo(STDERR_FILENO, text::escapeControl(message) + "\n");
}

void Context::debug(const std::string& message) const {
    if (flags.debug) writeTo(STDERR_FILENO, prefix("debug") + text::escapeControl(message) + "\n");
}

void Context::print(std::string_view text) const { writeTo(STDOUT_FILENO, text); }

void Context::printValue(const json::Value& value) const {
    if (format() == OutputFormat::kYaml)
        print(yamlText(value));
    else
        print(json::dumpPretty(value) + "\n");
}

bool Context::color() const { return colorsOn(STDOUT_FILENO, flags.no_color); }

std::string Context::status(std::string_view word) const {
    return painted(word, statusColor(word), color());
}

int Context::width() const {
    if (::isatty(STDOUT_FILENO) != 1) return 0;
    constexpr int kWidest = 10'000;
    if (const char* columns = std::getenv("COLUMNS"); columns != nullptr) {
        int given = 0;
        auto end = columns + std::strlen(columns);
        auto [stop, error] = std::from_chars(columns, end, given);
        if (error == std::errc{} && stop == end && given > 0) return std::min(given, kWidest);
    }
    winsize size{};
    return ::ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 ? size.ws_col : 0;
}

bool Context::interactive() const {
    return ::isatty(STDIN_FILENO) == 1 && ::isatty(STDERR_FILENO) == 1;
}

bool Context::confirm(const std::string& question) const {
    writeTo(STDERR_FILENO, text::escapeControl(question) + " [y/N] ");
    std::string answer;
    // Byte by byte: what follows the line is not ours.
    for (char c = 0; ::read(STDIN_FILENO, &c, 1) == 1;) {
        if (c == '\n') return answer == "y" || answer == "Y" || answer == "yes";
        answer += c;
    }
    writeTo(STDERR_FILENO, "\n");
    return false;
}

}  // namespace aegis::cli
