#include "cli/help.h"

#include <fmt/format.h>

#include <CLI/App.hpp>
#include <algorithm>

#include "cli/color.h"
#include "cli/tree.h"

namespace aegis::cli {
namespace {

constexpr std::size_t kMargin = 2;
constexpr std::size_t kGap = 2;
constexpr std::size_t kWidestName = 34;

struct Row {
    std::string name;
    std::string description;
};

class Page {
  public:
    Page(std::size_t width, bool color) : width_(width), color_(color) {}

    void paragraph(std::string_view text) { out_ += wrapped(text, width_, 0) + "\n"; }
    void heading(std::string_view text) {
        out_ += "\n" + painted(fmt::format("{}:", text), Color::kBold, color_) + "\n";
    }
    void line(std::string_view text) { out_ += text.empty() ? "\n" : fmt::format("  {}\n", text); }

    void rows(const std::vector<Row>& rows) {
        std::size_t column = 0;
        for (const auto& row : rows) {
            if (row.name.size() <= kWidestName) column = std::max(column, row.name.size());
        }
        auto indent = kMargin + column + kGap;
        for (const auto& row : rows) {
            auto text = std::string(kMargin, ' ') + row.name;
            if (row.name.size() > column)
                text += "\n" + std::string(indent, ' ');
            else
                text.append(indent - text.size(), ' ');
            out_ += text + wrapped(row.description, width_, indent) + "\n";
        }
    }

    std::string take() { return std::move(out_); }

  private:
    std::size_t width_;
    bool color_;
    std::string out_;
};

std::vector<Row> flagRows(const CLI::App& command, bool with_version = true) {
    std::vector<Row> rows;
    for (const auto* flag : flagsOf(command)) {
        if (with_version || !flag->check_name("--version"))
            rows.push_back({flagText(command, *flag), descriptionOf(*flag)});
    }
    return rows;
}

void addCommands(Page& page, const CLI::App& command) {
    auto commands = commandsOf(command);
    if (commands.empty()) return;
    auto list = [&](std::string_view heading, auto&& belongs) {
        std::vector<Row> rows;
        for (const auto* sub : commands) {
            if (belongs(sub->get_name())) rows.push_back({sub->get_name(), sub->get_description()});
        }
        if (rows.empty()) return;
        page.heading(heading);
        page.rows(rows);
    };
    if (command.get_parent() != nullptr)
        return list("Commands", [](const std::string&) { return true; });
    for (auto heading : headings())
        list(heading, [&](const std::string& name) { return headingOf(name) == heading; });
}

void addArguments(Page& page, const CLI::App& command) {
    std::vector<Row> rows;
    for (const auto* argument : argumentsOf(command))
        rows.push_back({argumentText(command, *argument), descriptionOf(*argument)});
    if (rows.empty()) return;
    page.heading("Arguments");
    page.rows(rows);
}

void addExamples(Page& page, const HelpText* text) {
    if (text == nullptr || text->examples.empty()) return;
    page.heading("Examples");
    bool first = true;
    for (const auto& example : text->examples) {
        if (!std::exchange(first, false) && !example.what.empty()) page.line("");
        if (!example.what.empty()) page.line(fmt::format("# {}", example.what));
        page.line(example.line);
    }
}

}  // namespace

std::string pathBelow(const CLI::App& command) {
    auto path = pathOf(command);
    auto space = path.find(' ');
    return space == std::string::npos ? "" : path.substr(space + 1);
}

std::string wrapped(std::string_view text, std::size_t width, std::size_t indent) {
    constexpr std::size_t kLeast = 24;
    auto room = std::max(width > indent ? width - indent : 0, kLeast);
    std::string out, line;
    while (!text.empty()) {
        auto end = std::min(text.find_first_of(" \n"), text.size());
        auto word = text.substr(0, end);
        bool breaks = end < text.size() && text[end] == '\n';
        text.remove_prefix(std::min(end + 1, text.size()));
        if (!line.empty() && line.size() + 1 + word.size() > room) {
            out += line + "\n" + std::string(indent, ' ');
            line.clear();
        }
        line += (line.empty() ? "" : " ") + std::string(word);
        if (!breaks) continue;
        out += line + "\n" + std::string(indent, ' ');
        line.clear();
    }
    return out + line;
}

std::string helpText(const CLI::App& command, std::size_t width, bool color) {
    Page page(width, color);
    const auto* text = helpTextOf(pathBelow(command));
    page.paragraph(command.get_description());
    if (text != nullptr && !text->about.empty()) {
        page.paragraph("");
        page.paragraph(text->about);
    }
    page.heading("Usage");
    page.line(usageOf(command));
    addCommands(page, command);
    addArguments(page, command);
    bool root = command.get_parent() == nullptr;
    auto flags = flagRows(command);
    if (!root && !flags.empty()) {
        page.heading("Flags");
        page.rows(flags);
    }
    page.heading(root ? "Flags" : "Global flags");
    page.rows(flagRows(rootOf(command), root));
    addExamples(page, text);
    if (!commandsOf(command).empty())
        page.paragraph(fmt::format("\nMore of a command: {} <command> --help", pathOf(command)));
    return page.take();
}

}  // namespace aegis::cli
