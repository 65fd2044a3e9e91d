#include "cli/context.h"

#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <cstdlib>
#include <iostream>

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

service::Service* Context::service() {
    if (!service_) {
        auto made = factory_(flags);
        if (!made) {
            service_exit_ = fail(made.error());
            return nullptr;
        }
        service_ = std::move(*made);
    }
    return service_.get();
}

int Context::fail(const Error& error) const {
    int code = errorTraits(error.code).exit_code;
    if (json()) {
        writeTo(STDERR_FILENO, json::dump(errorJson(error)) + "\n");
        return code;
    }
    std::string text = "error: " + text::escapeControl(error.message) + "\n";
    for (const auto& detail : error.details)
        text += "  " + text::escapeControl(detail.str()) + "\n";
    if (!error.hint.empty()) text += "hint: " + text::escapeControl(error.hint) + "\n";
    writeTo(STDERR_FILENO, text);
    return code;
}

void Context::warn(const std::string& message) const {
    writeTo(STDERR_FILENO, "warning: " + text::escapeControl(message) + "\n");
}

void Context::note(const std::string& message) const {
    writeTo(STDERR_FILENO, text::escapeControl(message) + "\n");
}

void Context::print(std::string_view text) const { writeTo(STDOUT_FILENO, text); }

void Context::printValue(const json::Value& value) const {
    if (format() == OutputFormat::kYaml)
        print(yamlText(value));
    else
        print(json::dumpPretty(value) + "\n");
}

bool Context::color() const {
    const char* term = std::getenv("TERM");
    bool dumb = term == nullptr || std::string_view(term) == "dumb";
    const char* no_color = std::getenv("NO_COLOR");
    bool refused = flags.no_color || (no_color != nullptr && *no_color != '\0');
    return !refused && !dumb && ::isatty(STDOUT_FILENO) == 1;
}

int Context::width() const {
    winsize size{};
    if (::isatty(STDOUT_FILENO) != 1 || ::ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) != 0) return 0;
    return size.ws_col;
}

bool Context::interactive() const {
    return ::isatty(STDIN_FILENO) == 1 && ::isatty(STDERR_FILENO) == 1;
}

bool Context::confirm(const std::string& question) const {
    writeTo(STDERR_FILENO, question + " [y/N] ");
    std::string answer;
    if (!std::getline(std::cin, answer)) return false;
    return answer == "y" || answer == "Y" || answer == "yes";
}

}  // namespace aegis::cli
