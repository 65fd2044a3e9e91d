#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/secret.h"
#include "base/time.h"
#include "service/service.h"

namespace CLI {
class App;
}

namespace aegis::cli {

enum class OutputFormat : std::uint8_t { kTable, kJson, kYaml };

/// The flags that every command takes.
struct GlobalFlags {
    std::string config;  ///< empty: ./aegis-config.yaml if it is there
    std::string daemon_addr;
    std::string token;
    std::string output = "table";
    bool yes = false;
    bool no_color = false;
    bool debug = false;
};

/// What a command works with. Lives for one run of the program; one thread.
class Context {
  public:
    using ServiceFactory =
        std::function<Result<std::unique_ptr<service::Service>>(const GlobalFlags&)>;

    Context(Clock& clock, ServiceFactory factory) : clock_(clock), factory_(std::move(factory)) {}
    /// The same flags with a connection of its own, for another thread.
    Context(const Context& other)
        : flags(other.flags), clock_(other.clock_), factory_(other.factory_) {}

    GlobalFlags flags;
    /// What the chosen subcommand does; its result is the exit code.
    std::function<int()> action;

    Clock& clock() { return clock_; }
    OutputFormat format() const;
    bool json() const { return format() == OutputFormat::kJson; }
    /// The daemon's service, connected when first asked for. On failure the error has been printed.
    service::Service* service();
    /// The same, and nothing is printed.
    Result<service::Service*> connect();
    /// The exit code of the failure of service().
    int serviceExit() const { return service_exit_; }

    /// Prints an error as the manual says and returns its exit code.
    int fail(const Error& error) const;
    /// "warning: …" on stderr.
    void warn(const std::string& message) const;
    /// "hint: …" on stderr.
    void hint(const std::string& message) const;
    /// A line on stderr that is neither.
    void note(const std::string& message) const;
    /// "debug: …" on stderr, with --debug only. Never a token, an input or an answer's body.
    void debug(const std::string& message) const;
    /// Text to stdout; a closed pipe ends the program quietly.
    void print(std::string_view text) const;
    /// A record or a list as JSON or YAML; not for tables.
    void printValue(const json::Value& value) const;
    /// Whether stdout is a terminal that takes colours.
    bool color() const;
    /// A status word for stdout, in its colour.
    std::string status(std::string_view word) const;
    /// Columns of the terminal on stdout ($COLUMNS, if set, instead); 0 if it is none.
    int width() const;
    /// "y" or "yes" on the terminal; false for anything else, an end of input too.
    bool confirm(const std::string& question) const;
    bool interactive() const;

  private:
    /// "error: " and its like, in colour on a terminal.
    std::string prefix(std::string_view word) const;

    Clock& clock_;
    ServiceFactory factory_;
    std::unique_ptr<service::Service> service_;
    int service_exit_ = 0;
};

/// Runs a service call's result: prints the error, or hands the value to `show`.
template <class F>
int show(Context& context, const Result<json::Value>& result, F&& with) {
    if (!result) return context.fail(result.error());
    with(*result);
    return 0;
}

}  // namespace aegis::cli
