// aegis events: the whole node's event stream.

#include <fmt/format.h>

#include <algorithm>
#include <csignal>
#include <cstdlib>
#include <memory>
#include <utility>

#include "base/ids.h"
#include "cli/commands.h"
#include "cli/patience.h"
#include "os/interrupt.h"
#include "text/display_width.h"
#include "text/escape.h"

namespace aegis::cli {
namespace {

constexpr std::size_t kTimeColumns = 20;
constexpr std::size_t kTypeColumns = 19;
constexpr std::size_t kAgentColumns = 20;
constexpr std::size_t kIdColumns = 17;

struct Flags {
    std::string since, agent;
    std::vector<std::string> types;
    bool follow = false;
};

std::string padded(std::string_view text, std::size_t columns) {
    auto cell = text::fitWidth(text, columns);
    auto width = text::displayWidth(cell);
    return cell + std::string(columns - std::min(width, columns), ' ');
}

/// What is worth a word of the event's data, on one line.
std::string detailOf(const json::Value& event) {
    std::string out;
    auto add = [&](std::string_view text) {
        if (text.empty()) return;
        out += (out.empty() ? "" : " ") + text::escapeControl(text::shorten(text, 200));
    };
    if (auto iteration = json::getInt(event, "iteration"); iteration > 0)
        add(fmt::format("iteration {}", iteration));
    const auto* data = json::find(event, "data");
    if (data == nullptr) return out;
    if (auto revision = json::getInt(*data, "revision"); revision > 0)
        add(fmt::format("revision {}", revision));
    for (auto key : {"tool", "summary", "model", "runtime", "host", "what", "reason", "text"})
        add(json::getString(*data, key));
    if (const auto* score = json::find(*data, "score"); score != nullptr && score->is_number())
        add("score " + json::dump(*score));
    for (auto key : {"failure", "error"}) {
        if (const auto* failure = json::find(*data, key)) add(json::getString(*failure, "message"));
    }
    return out;
}

class Printer {
  public:
    explicit Printer(Context& context) : context_(context), width_(context.width()) {}

    void header() {
        if (context_.format() == OutputFormat::kTable)
            context_.print(row("TIME", "TYPE", "AGENT", "EXECUTION", "DETAIL"));
    }

    void event(const json::Value& event) {
        if (context_.format() != OutputFormat::kTable) {
            printStreamed(context_, event);
            return;
        }
        auto time = UtcTime::parse(json::getString(event, "time"));
        auto execution = json::getString(event, "execution_id");
        context_.print(row(time ? time->rfc3339Seconds() : "?", json::getString(event, "type"),
                           text::escapeControl(json::getString(event, "agent_name")),
                           execution.empty() ? "" : shortId(execution), detailOf(event)));
    }

  private:
    std::string row(std::string_view time, std::string_view type, std::string_view agent,
                    std::string_view execution, std::string_view detail) const {
        auto line = fmt::format("{}  {}  {}  {}  {}", padded(time, kTimeColumns),
                                padded(type, kTypeColumns), padded(agent, kAgentColumns),
                                padded(execution, kIdColumns), detail);
        line.erase(line.find_last_not_of(' ') + 1);
        if (width_ > 0) line = text::fitWidth(line, static_cast<std::size_t>(width_));
        return line + "\n";
    }

    Context& context_;
    int width_;
};

/// "--type A,B --type C".
std::vector<std::string> splitTypes(const std::vector<std::string>& given) {
    std::vector<std::string> out;
    for (std::string_view rest : given) {
        while (!rest.empty()) {
            auto comma = std::min(rest.find(','), rest.size());
            if (comma > 0) out.emplace_back(rest.substr(0, comma));
            rest.remove_prefix(std::min(comma + 1, rest.size()));
        }
    }
    return out;
}

int events(Context& context, const Flags& flags) {
    constexpr int kPage = 1000;
    service::NodeEventQuery query;
    auto since = parseSince(flags.since, context.clock().utc());
    if (!since) return context.fail(since.error());
    query.since = *since;
    query.agent = flags.agent;
    query.types = splitTypes(flags.types);
    query.limit = kPage;
    os::SignalWatcher watcher({SIGINT}, [](int) { std::_Exit(130); });
    auto* service = context.service();
    if (service == nullptr) return context.serviceExit();
    Printer printer(context);
    // Pages first: an error of the query is told before the header.
    bool begun = false;
    while (true) {
        auto page = service->nodeEvents({}, query);
        if (!page) return context.fail(page.error());
        if (!std::exchange(begun, true)) printer.header();
        const auto& items = itemsOf(*page);
        for (const auto& item : items)
            printer.event(item);
        query.after = json::getString(*page, "next_cursor");
        if (items.size() < kPage) break;
    }
    if (!flags.follow) return 0;
    auto done = service->watchNodeEvents({}, query, kPatienceMs, [&](const json::Value& event) {
        printer.event(event);
        return true;
    });
    return done ? 0 : context.fail(done.error());
}

}  // namespace

void addEventsCommand(CLI::App& app, Context& context) {
    auto flags = std::make_shared<Flags>();
    auto* command = app.add_subcommand("events", "Show the events of the whole node");
    command->add_option("--since", flags->since, "Since then (1h, or a time)");
    command->add_option("--agent", flags->agent, "Only of this agent");
    command->add_option("--type", flags->types, "Only of these types (A,B too)");
    command->add_flag("-f,--follow", flags->follow, "Go on as they come, until Ctrl-C");
    command->callback([&context, flags] {
        context.action = [&context, flags] { return events(context, *flags); };
    });
}

}  // namespace aegis::cli
