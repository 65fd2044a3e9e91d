#include <fmt/format.h>

#include <algorithm>

#include "agent/parse_context.h"

namespace aegis::agent {
namespace detail {
namespace {

constexpr std::size_t kMaxEnvBytes = 128 << 10;  // the kernel's MAX_ARG_STRLEN, name included
constexpr std::int64_t kMaxWarmPool = 64;
constexpr std::size_t kMaxScriptBytes = 32 << 10;  // an argument, beside the prompt
constexpr std::size_t kMaxToolNameBytes = 128;

bool isToolName(std::string_view text) {
    return !text.empty() && text.size() <= kMaxToolNameBytes &&
           std::ranges::all_of(text, [](unsigned char c) { return c > 0x20 && c < 0x7F; });
}

void warnUnlessOffered(const std::string& tool, const Node& node, const std::string& path,
                       const Context& context) {
    if (!context.checks() || context.facts->tools.contains(tool)) return;
    auto dot = tool.find('.');
    if (dot != std::string::npos && context.facts->mcp_servers.contains(tool.substr(0, dot)))
        return;
    std::vector<std::string> known(context.facts->tools.begin(), context.facts->tools.end());
    context.problems.warning(path, node,
                             fmt::format("nothing on this node offers the tool {}{}",
                                         yaml::shown(tool), yaml::didYouMean(tool, known)));
}

// {name, server, config}: what is now "<server>.<name>".
void readOlderTool(Reader& r, ToolGrant& out) {
    const Node* server = r.get("server");
    const Node* config = r.get("config");
    if (server) {
        r.older("server", "the name as <server>.<tool>");
        auto text = yaml::readString(*server, r.path("server"), r.problems());
        std::string_view id = text ? std::string_view(*text) : std::string_view();
        if (id.starts_with("mcp:")) id.remove_prefix(4);
        bool builtin = std::ranges::find(builtinTools(), out.name) != builtinTools().end();
        std::string prefix = std::string(id) + ".";
        if (!id.empty() && !builtin && !out.name.starts_with(prefix)) out.name = prefix + out.name;
    }
    if (config && !(config->isMapping() && config->entries.empty()))
        r.error("config",
                "is no longer supported: what it restricts would not be restricted "
                "(expected security, or subcommand_allowlist)");
}

void readTool(const Node& node, const std::string& path, ToolGrant& out, Context& context) {
    if (node.isScalar()) {
        out.name = yaml::readString(node, path, context.problems).value_or("");
    } else {
        Reader r(node, path, context.problems, Reader::Unknown::kLenient);
        if (r.require("name", "a tool's name")) r.string("name", out.name);
        if (const Node* allowed = r.get("subcommand_allowlist")) {
            auto lists =
                yaml::readStringLists(*allowed, r.path("subcommand_allowlist"), context.problems);
            if (lists) out.subcommand_allowlist = std::move(*lists);
            if (!out.name.empty() && out.name != "cmd.run")
                r.error("subcommand_allowlist", "only cmd.run has one");
        }
        if (!out.name.empty()) readOlderTool(r, out);
        r.finish();
        if (!r.has("name")) return;
    }
    if (out.name.empty() && node.isScalar() && node.isNull()) return;
    if (!isToolName(out.name))
        context.problems.error(path, node,
                               fmt::format("{} is not a tool's name", yaml::shown(out.name)));
    else
        warnUnlessOffered(out.name, node, path, context);
}

bool isVariableName(std::string_view text) {
    auto letter = [](char c) {
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
    };
    return !text.empty() && letter(text.front()) &&
           std::ranges::all_of(text, [&](char c) { return letter(c) || (c >= '0' && c <= '9'); });
}

void checkVariable(const std::string& key, const std::string& value, const std::string& path,
                   const Node& at, Context& context) {
    if (!isVariableName(key))
        context.problems.error(path, at,
                               "is not a variable's name (expected letters, digits and "
                               "underscores)");
    if (key.starts_with("AEGIS_"))
        context.problems.error(path, at, "names beginning with AEGIS_ are reserved");
    if (key.size() + value.size() + 2 > kMaxEnvBytes)
        context.problems.error(path, at, "is too long (expected at most 128 KiB)");
    if (value.starts_with("env:"))
        context.demand(capability::kEnvFromNode, path, at, "env:NAME is");
    if (value.starts_with("secret:"))
        context.demand(capability::kEnvSecret, path, at, "secret:NAME is");
}

bool readContextItem(const Node& node, const std::string& path, ContextItem& item,
                     Context& context) {
    Reader r(node, path, context.problems, Reader::Unknown::kLenient);
    if (!r.require("type", "text, file or url") || !r.choice("type", item.type, contextTypes()))
        return false;
    std::string_view key;
    switch (item.type) {
        case ContextItem::Type::kText:
            key = r.has("text") ? "text" : "content";
            break;
        case ContextItem::Type::kFile:
            key = "path";
            break;
        case ContextItem::Type::kUrl:
            key = "url";
            break;
    }
    r.get("text");
    if (r.require(key, "what is added to {{context}}")) r.string(key, item.value);
    r.string("description", item.description);
    r.finish();
    if (item.type == ContextItem::Type::kFile)
        context.demand(capability::kContextFile, path, node, "context of type file is");
    if (item.type == ContextItem::Type::kUrl)
        context.demand(capability::kContextUrl, path, node, "context of type url is");
    return true;
}

// Five fields, or a word such as @daily; what the fields mean is the scheduler's to say.
bool looksLikeCron(std::string_view text) {
    constexpr std::string_view kWords[] = {"@hourly",  "@daily",  "@midnight", "@weekly",
                                           "@monthly", "@yearly", "@annually"};
    if (std::ranges::find(kWords, text) != std::end(kWords)) return true;
    int fields = 0;
    bool inside = false;
    for (char c : text) {
        bool blank = c == ' ' || c == '\t';
        bool allowed = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                       c == '*' || c == '/' || c == ',' || c == '-' || c == '?' || c == '#';
        if (!blank && !allowed) return false;
        if (!blank && !inside) ++fields;
        inside = !blank;
    }
    return fields == 5;
}

}  // namespace

void readTools(const Node& node, std::optional<std::vector<ToolGrant>>& out, Context& context) {
    out.emplace();
    if (!node.isSequence()) {
        context.problems.error("spec.tools", node,
                               fmt::format("is {} (expected a list)", describe(node)));
        return;
    }
    for (std::size_t i = 0; i < node.items.size(); ++i) {
        auto path = yaml::itemPath("spec.tools", i);
        ToolGrant grant;
        readTool(node.items[i], path, grant, context);
        bool twice = std::ranges::any_of(
            *out, [&](const ToolGrant& other) { return other.name == grant.name; });
        if (twice && !grant.name.empty())
            context.problems.error(path, node.items[i],
                                   fmt::format("{} is listed twice", yaml::shown(grant.name)));
        out->push_back(std::move(grant));
    }
}

void readEnv(const Node& node, const std::string& path, StringMap& out, Context& context) {
    if (!node.isMapping()) {
        context.problems.error(path, node,
                               fmt::format("is {} (expected a mapping)", describe(node)));
        return;
    }
    for (const auto& entry : node.entries) {
        auto where = yaml::childPath(path, entry.key);
        auto value = yaml::readString(entry.value, where, context.problems);
        checkVariable(entry.key, value.value_or(""), where, entry.value, context);
        out[entry.key] = value.value_or("");
    }
}

void readContext(const Node& node, std::vector<ContextItem>& out, Context& context) {
    if (!node.isSequence()) {
        context.problems.error("spec.context", node,
                               fmt::format("is {} (expected a list)", describe(node)));
        return;
    }
    for (std::size_t i = 0; i < node.items.size(); ++i) {
        ContextItem item;
        if (readContextItem(node.items[i], yaml::itemPath("spec.context", i), item, context))
            out.push_back(std::move(item));
    }
}

void readSchedule(const Node& node, std::optional<Schedule>& out, Context& context) {
    Reader r(node, "spec.schedule", context.problems, Reader::Unknown::kLenient);
    Schedule schedule;
    constexpr std::string_view kCron = "five fields, such as \"0 6 * * 1\", or @daily";
    if (r.require("cron", kCron) && r.string("cron", schedule.cron) &&
        !looksLikeCron(schedule.cron))
        r.error("cron",
                fmt::format("{} is not valid (expected {})", yaml::shown(schedule.cron), kCron));
    r.string("timezone", schedule.timezone);
    r.boolean("enabled", schedule.enabled);
    r.finish();
    if (schedule.enabled)
        context.demand(capability::kSchedule, "spec.schedule", node, "a schedule is");
    out = std::move(schedule);
}

void readAdvanced(const Node& node, Advanced& out, Context& context) {
    Reader r(node, "spec.advanced", context.problems, Reader::Unknown::kLenient);
    if (int size = 0; r.integer("warm_pool_size", size, 0, kMaxWarmPool)) {
        out.warm_pool_size = size;
        if (size > 0)
            context.demand(capability::kWarmPool, r.path("warm_pool_size"),
                           *r.get("warm_pool_size"), "a warm pool of one's own is");
    }
    readPath(r, "bootstrap_path", out.bootstrap_path);
    if (r.string("startup_script", out.startup_script) && !out.startup_script.empty())
        context.demand(capability::kStartupScript, r.path("startup_script"),
                       *r.get("startup_script"), "a startup script is");
    if (out.startup_script.size() > kMaxScriptBytes)
        r.error("startup_script", "is too long (expected at most 32 KiB)");
    if (out.startup_script.find('\0') != std::string::npos)
        r.error("startup_script", "has a NUL character");
    r.finish();
}

}  // namespace detail

const std::vector<std::string>& builtinTools() {
    static const std::vector<std::string> kTools{"fs.read",       "fs.write",  "fs.edit", "fs.list",
                                                 "fs.create_dir", "fs.delete", "fs.glob", "fs.grep",
                                                 "cmd.run",       "web.fetch"};
    return kTools;
}

}  // namespace aegis::agent
