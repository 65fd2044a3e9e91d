#pragma once

#include <string>
#include <vector>

namespace CLI {
class App;
}

namespace aegis::cli {

struct ManPage {
    std::string file;  ///< "aegis-agent.1"
    std::string text;  ///< troff, man(7)
};

/// aegis(1) and one page for each command of the first level, its subcommands within.
std::vector<ManPage> manPages(const CLI::App& app, std::string_view version);

/// Every command and flag as Markdown: a part of docs/cli.md.
std::string markdownReference(const CLI::App& app);

}  // namespace aegis::cli
