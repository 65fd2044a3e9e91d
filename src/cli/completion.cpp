#include "cli/completion.h"

#include <CLI/App.hpp>
#include <algorithm>
#include <utility>

#include "cli/help.h"
#include "text/escape.h"

namespace aegis::cli {
namespace {

bool isFlag(std::string_view word) { return word.size() > 1 && word.front() == '-'; }

const CLI::Option* findIn(const CLI::App& command, std::string_view word) {
    for (const auto* option : command.get_options()) {
        auto is = [&](const auto& names, std::string_view dashes) {
            return std::ranges::any_of(
                names, [&](const auto& name) { return word == std::string(dashes) + name; });
        };
        if (is(option->get_lnames(), "--") || is(option->get_snames(), "-")) return option;
    }
    return nullptr;
}

/// How far the words before the one in question have come.
struct Walk {
    CLI::App* command = nullptr;
    const CLI::Option* awaited = nullptr;  ///< a flag whose value comes next
    std::size_t arguments = 0;
    bool flags_ended = false;
    std::vector<const CLI::Option*> given;

    const CLI::Option* find(std::string_view word) const {
        if (const auto* option = findIn(*command, word)) return option;
        return findIn(rootOf(*command), word);
    }

    void take(const std::string& word) {
        if (std::exchange(awaited, nullptr) != nullptr) return;
        if (flags_ended || !isFlag(word)) return takeWord(word);
        if (word == "--") {
            flags_ended = true;
            return;
        }
        auto equals = word.find('=');
        const auto* option = find(std::string_view(word).substr(0, equals));
        if (option == nullptr) return;
        given.push_back(option);
        if (equals == std::string::npos && takesValue(*option)) awaited = option;
    }

    void takeWord(const std::string& word) {
        for (auto* sub : commandsOf(*command)) {
            if (sub->get_name() != word || arguments > 0) continue;
            command = sub;
            return;
        }
        ++arguments;
    }
};

class Completer {
  public:
    Completer(Walk walk, const NameLister& names) : walk_(std::move(walk)), names_(names) {}

    Completion run(const std::string& word) {
        auto equals = word.find('=');
        if (walk_.awaited != nullptr) {
            value(*walk_.awaited, word, "");
        } else if (!walk_.flags_ended && word.starts_with('-') && equals != std::string::npos) {
            const auto* option = walk_.find(word.substr(0, equals));
            if (option != nullptr && takesValue(*option))
                value(*option, word.substr(equals + 1), word.substr(0, equals + 1));
        } else if (!walk_.flags_ended && word.starts_with('-')) {
            flags(word);
        } else {
            wordOrArgument(word);
        }
        return std::move(out_);
    }

  private:
    void offer(std::string_view word, std::string value, std::string description) {
        if (value.starts_with(word))
            out_.candidates.push_back({std::move(value), std::move(description)});
    }

    void flags(const std::string& word) {
        auto list = [&](const CLI::App& command) {
            for (const auto* flag : flagsOf(command)) {
                bool again = std::ranges::find(walk_.given, flag) != walk_.given.end();
                if ((again && !isRepeatable(*flag)) || flag->get_lnames().empty()) continue;
                offer(word, "--" + flag->get_lnames().front(), flag->get_description());
            }
        };
        list(*walk_.command);
        if (walk_.command->get_parent() != nullptr) list(rootOf(*walk_.command));
        for (const auto* flag : flagsOf(*walk_.command)) {
            for (const auto& name : flag->get_snames())
                if (word == "-" + name) offer(word, word, flag->get_description());
        }
    }

    void commands(const CLI::App& command, const std::string& word) {
        for (const auto* sub : commandsOf(command))
            offer(word, sub->get_name(), sub->get_description());
    }

    void wordOrArgument(const std::string& word) {
        if (walk_.arguments == 0) commands(*walk_.command, word);
        auto arguments = argumentsOf(*walk_.command);
        if (arguments.empty()) return;
        auto at = std::min(walk_.arguments, arguments.size() - 1);
        bool full = walk_.arguments >= arguments.size() && !isRepeatable(*arguments[at]);
        if (!full) value(*arguments[at], word, "");
    }

    void value(const CLI::Option& option, const std::string& word, const std::string& before) {
        auto info = valueOf(*walk_.command, option);
        auto path = pathBelow(*walk_.command);
        auto from = out_.candidates.size();
        switch (info.kind) {
            case ValueKind::kText:
                break;
            case ValueKind::kWords:
                for (const auto& choice : info.words)
                    offer(word, choice, "");
                break;
            case ValueKind::kFile:
                out_.action = ShellAction::kFiles;
                break;
            case ValueKind::kInput:
                out_.action = ShellAction::kAtFiles;
                break;
            case ValueKind::kCommand:
                commands(rootOf(*walk_.command), word);
                break;
            case ValueKind::kAgent:
            case ValueKind::kExecution:
            case ValueKind::kVolume:
            case ValueKind::kModel:
                for (auto& name : names_({info.kind, path, word}))
                    offer(word, std::move(name.value), std::move(name.description));
                break;
        }
        for (auto& candidate :
             std::ranges::subrange(out_.candidates.begin() + from, out_.candidates.end()))
            candidate.value = before + candidate.value;
    }

    Walk walk_;
    const NameLister& names_;
    Completion out_;
};

}  // namespace

std::string globalValue(const std::vector<std::string>& words, std::string_view flag) {
    for (std::size_t i = 0; i < words.size(); ++i) {
        const auto& word = words[i];
        if (word == flag && i + 1 < words.size()) return words[i + 1];
        if (word.starts_with(flag) && word.substr(flag.size()).starts_with('='))
            return word.substr(flag.size() + 1);
    }
    return "";
}

Completion complete(CLI::App& app, const std::vector<std::string>& words, const NameLister& names) {
    if (words.empty()) return {};
    Walk walk;
    walk.command = &app;
    for (std::size_t i = 0; i + 1 < words.size(); ++i)
        walk.take(words[i]);
    return Completer(std::move(walk), names).run(words.back());
}

std::string completionText(const Completion& completion) {
    std::string out;
    for (const auto& candidate : completion.candidates) {
        out += text::escapeControl(candidate.value);
        if (!candidate.description.empty())
            out += "\t" + text::escapeControl(candidate.description);
        out += "\n";
    }
    if (completion.action == ShellAction::kFiles) out += ":files\n";
    if (completion.action == ShellAction::kAtFiles) out += ":at-files\n";
    return out;
}

}  // namespace aegis::cli
