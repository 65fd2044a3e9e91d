#include "cli/tree.h"

#include <fmt/format.h>

#include <CLI/App.hpp>
#include <array>
#include <utility>

namespace aegis::cli {
namespace {

struct Known {
    std::string_view name;  ///< of an option, less its dashes, or of an argument
    ValueKind kind;
    std::string_view placeholder;
};

// Names mean the same thing wherever they stand.
constexpr std::array kKnown{
    Known{"agent", ValueKind::kAgent, "<agent>"},
    Known{"config", ValueKind::kFile, "<path>"},
    Known{"execution", ValueKind::kExecution, "<id>"},
    Known{"file", ValueKind::kFile, "<file>"},
    Known{"manifest", ValueKind::kFile, "<manifest>"},
    Known{"dest", ValueKind::kFile, "<dest>"},
    Known{"destination", ValueKind::kFile, "<dest>"},
    Known{"dir", ValueKind::kFile, "<dir>"},
    Known{"output-file", ValueKind::kFile, "<file>"},
    Known{"input", ValueKind::kInput, "<json|@file|->"},
    Known{"model", ValueKind::kModel, "<alias>"},
    Known{"command", ValueKind::kCommand, "<command>"},
    Known{"label", ValueKind::kText, "<k=v>"},
    Known{"timeout", ValueKind::kText, "<duration>"},
    Known{"since", ValueKind::kText, "<duration|time>"},
    Known{"limit", ValueKind::kText, "<n>"},
    Known{"max-iterations", ValueKind::kText, "<n>"},
    Known{"iteration", ValueKind::kText, "<n>"},
    Known{"revision", ValueKind::kText, "<n>"},
    Known{"budget-usd", ValueKind::kText, "<usd>"},
    Known{"idempotency-key", ValueKind::kText, "<key>"},
    Known{"daemon-addr", ValueKind::kText, "<host:port>"},
    Known{"token", ValueKind::kText, "<token>"},
};

/// The words of CLI::IsMember, which describes itself as "{a,b}".
std::vector<std::string> wordsOf(const CLI::Option& option) {
    auto type = option.get_type_name();
    auto open = type.rfind('{');
    auto close = type.rfind('}');
    std::vector<std::string> words;
    if (open == std::string::npos || close == std::string::npos || close < open) return words;
    for (auto at = open + 1; at < close;) {
        auto end = std::min(type.find(',', at), close);
        words.push_back(type.substr(at, end - at));
        at = end + 1;
    }
    return words;
}

std::string nameOf(const CLI::Option& option) {
    if (!option.get_lnames().empty()) return option.get_lnames().front();
    return option.get_name(true);
}

std::string_view groupOf(const CLI::App& command) {
    const CLI::App* at = &command;
    while (at->get_parent() != nullptr && at->get_parent()->get_parent() != nullptr)
        at = at->get_parent();
    return at->get_name();
}

/// --help is shown once, with the global flags.
bool isShown(const CLI::App& command, const CLI::Option* option) {
    bool help = command.get_parent() != nullptr && option == command.get_help_ptr();
    return !help && !option->get_group().empty();
}

}  // namespace

ValueInfo valueOf(const CLI::App& command, const CLI::Option& option) {
    auto name = nameOf(option);
    ValueInfo info{ValueKind::kText, "<" + name + ">", wordsOf(option)};
    if (!info.words.empty()) {
        info.kind = ValueKind::kWords;
        info.placeholder.clear();
        for (const auto& word : info.words)
            info.placeholder += (info.placeholder.empty() ? "" : "|") + word;
        return info;
    }
    if (name == "id") {
        info.kind = groupOf(command) == "volume" ? ValueKind::kVolume : ValueKind::kExecution;
        return info;
    }
    for (const auto& known : kKnown) {
        if (known.name != name) continue;
        info.kind = known.kind;
        info.placeholder = known.placeholder;
    }
    return info;
}

bool takesValue(const CLI::Option& option) { return option.get_items_expected_max() > 0; }

bool isRepeatable(const CLI::Option& option) { return option.get_expected_max() > 1; }

std::vector<CLI::App*> commandsOf(const CLI::App& command) {
    std::vector<CLI::App*> out;
    for (const auto* sub : command.get_subcommands([](const CLI::App*) { return true; })) {
        if (!sub->get_group().empty()) out.push_back(const_cast<CLI::App*>(sub));
    }
    return out;
}

std::vector<const CLI::Option*> flagsOf(const CLI::App& command) {
    std::vector<const CLI::Option*> out;
    for (const auto* option : command.get_options()) {
        if (!option->get_positional() && isShown(command, option)) out.push_back(option);
    }
    return out;
}

std::vector<const CLI::Option*> argumentsOf(const CLI::App& command) {
    std::vector<const CLI::Option*> out;
    for (const auto* option : command.get_options()) {
        if (option->get_positional() && isShown(command, option)) out.push_back(option);
    }
    return out;
}

std::string pathOf(const CLI::App& command) {
    const auto* parent = command.get_parent();
    return parent == nullptr ? command.get_name() : pathOf(*parent) + " " + command.get_name();
}

const CLI::App& rootOf(const CLI::App& command) {
    const CLI::App* at = &command;
    while (at->get_parent() != nullptr)
        at = at->get_parent();
    return *at;
}

std::string flagText(const CLI::App& command, const CLI::Option& option) {
    std::string out = option.get_snames().empty() ? "    " : "-" + option.get_snames()[0] + ", ";
    if (option.get_lnames().empty())
        out.resize(out.size() - 2);
    else
        out += "--" + option.get_lnames().front();
    if (takesValue(option)) out += " " + valueOf(command, option).placeholder;
    return out;
}

std::string argumentText(const CLI::App& command, const CLI::Option& option) {
    auto text = valueOf(command, option).placeholder;
    if (!text.starts_with('<')) text = "<" + text + ">";
    if (!option.get_required()) text = fmt::format("[{}]", text.substr(1, text.size() - 2));
    return isRepeatable(option) ? text + "..." : text;
}

std::string usageOf(const CLI::App& command) {
    auto out = pathOf(command);
    if (!commandsOf(command).empty()) out += " <command>";
    for (const auto* argument : argumentsOf(command))
        out += " " + argumentText(command, *argument);
    for (const auto* flag : flagsOf(command)) {
        if (flag->get_required()) out += fmt::format(" {}", flagText(command, *flag).substr(4));
    }
    return out + " [flags]";
}

std::string descriptionOf(const CLI::Option& option) {
    auto out = option.get_description();
    if (option.get_required() && !option.get_positional()) out += " (required)";
    if (isRepeatable(option) && !option.get_positional()) out += " (repeatable)";
    return out;
}

}  // namespace aegis::cli
