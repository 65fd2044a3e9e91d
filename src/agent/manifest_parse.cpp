#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>

#include "agent/parse_context.h"
#include "text/json_schema.h"
#include "text/template.h"

namespace aegis::agent {
namespace detail {
namespace {

constexpr std::size_t kMaxNameBytes = 63;

bool isNameCharacter(char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'); }

bool isAgentName(std::string_view text) {
    return !text.empty() && text.size() <= kMaxNameBytes && text.front() != '-' &&
           std::ranges::all_of(text, [](char c) { return isNameCharacter(c) || c == '-'; });
}

bool isNumericIdentifier(std::string_view text) {
    return !text.empty() && (text == "0" || text.front() != '0') &&
           std::ranges::all_of(text, [](char c) { return c >= '0' && c <= '9'; });
}

// Identifiers between dots; those of a pre-release must not be numbers with leading zeros.
bool areIdentifiers(std::string_view text, bool pre_release) {
    for (std::size_t at = 0;;) {
        auto dot = text.find('.', at);
        auto part = text.substr(at, dot == std::string_view::npos ? dot : dot - at);
        bool digits = std::ranges::all_of(part, [](char c) { return c >= '0' && c <= '9'; });
        bool letters = std::ranges::all_of(part, [](char c) {
            return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                   c == '-';
        });
        if (part.empty() || !letters) return false;
        if (pre_release && digits && !isNumericIdentifier(part)) return false;
        if (dot == std::string_view::npos) return true;
        at = dot + 1;
    }
}

// Semantic Versioning 2.0.0, 2, 9 and 10.
bool isSemanticVersion(std::string_view text) {
    if (auto plus = text.find('+'); plus != std::string_view::npos) {
        if (!areIdentifiers(text.substr(plus + 1), false)) return false;
        text = text.substr(0, plus);
    }
    if (auto dash = text.find('-'); dash != std::string_view::npos) {
        if (!areIdentifiers(text.substr(dash + 1), true)) return false;
        text = text.substr(0, dash);
    }
    auto first = text.find('.');
    auto second = first == std::string_view::npos ? first : text.find('.', first + 1);
    return second != std::string_view::npos && isNumericIdentifier(text.substr(0, first)) &&
           isNumericIdentifier(text.substr(first + 1, second - first - 1)) &&
           isNumericIdentifier(text.substr(second + 1));
}

void readMetadata(const Node& node, const Node* older_description, Metadata& out,
                  Context& context) {
    Reader r(node, "metadata", context.problems, Reader::Unknown::kLenient);
    constexpr std::string_view kName =
        "lower-case letters, digits and dashes, at most 63, not beginning with a dash";
    if (r.require("name", kName) && r.string("name", out.name) && !isAgentName(out.name))
        r.error("name",
                fmt::format("{} is not a name (expected {})", yaml::shown(out.name), kName));
    constexpr std::string_view kVersion = "a semantic version such as 1.0.0";
    if (r.require("version", kVersion) && r.string("version", out.version) &&
        !isSemanticVersion(out.version))
        r.error("version", fmt::format("{} is not a version (expected {})",
                                       yaml::shown(out.version), kVersion));
    if (!r.string("description", out.description) && older_description) {
        auto text = yaml::readString(*older_description, "spec.description", context.problems);
        if (text) out.description = *text;
    }
    r.stringMap("labels", out.labels);
    r.stringMap("annotations", out.annotations);
    r.finish();
}

// The place of a template's line and column in the file: exact inside a literal block, whose lines
// are the file's lines less their indentation; nullopt elsewhere.
std::optional<std::pair<int, int>> placeInBlock(const Node& node, std::string_view file, int line,
                                                int column) {
    if (node.style != Node::Style::kLiteral || node.line == 0) return std::nullopt;
    auto lineOf = [](std::string_view text, int number) {
        std::size_t at = 0;
        for (int i = 1; i < number && at != std::string_view::npos; ++i) {
            at = text.find('\n', at);
            if (at != std::string_view::npos) ++at;
        }
        if (at == std::string_view::npos) return std::string_view();
        auto found = text.substr(at, text.find('\n', at) - at);
        if (found.ends_with('\r')) found.remove_suffix(1);
        return found;
    };
    auto in_file = lineOf(file, node.line + line);
    auto in_text = lineOf(node.scalar, line);
    if (!in_file.ends_with(in_text)) return std::nullopt;
    // The template counts bytes; places in files count characters.
    auto before = in_text.substr(0, static_cast<std::size_t>(std::max(column, 1) - 1));
    auto characters = std::ranges::count_if(before, [](char c) { return (c & 0xC0) != 0x80; });
    auto indent = in_file.size() - in_text.size();
    return std::pair(node.line + line, static_cast<int>(indent) + static_cast<int>(characters) + 1);
}

void checkTemplate(const Node& node, const std::string& text, Context& context) {
    auto parsed = text::Template::parse(text);
    if (parsed) return;
    const Error& error = parsed.error();
    int line = error.details.empty() ? 1 : error.details[0].line;
    int column = error.details.empty() ? 1 : error.details[0].column;
    const std::string& what = error.details.empty() ? error.message : error.details[0].message;
    auto place = placeInBlock(node, context.text, line, column);
    std::string message =
        fmt::format("{} (line {}, column {} of the template)", what, line, column);
    context.problems.error("spec.task.prompt_template", place ? place->first : node.line,
                           place ? place->second : node.column, message);
}

// The node that a JSON pointer (RFC 6901) leads to, as far as it does; `path` grows along.
const Node& follow(const Node& from, std::string_view pointer, std::string& path) {
    const Node* at = &from;
    while (pointer.starts_with('/')) {
        pointer.remove_prefix(1);
        auto slash = pointer.find('/');
        std::string key;
        for (std::string_view rest = pointer.substr(0, slash); !rest.empty();) {
            bool escaped = rest.starts_with("~0") || rest.starts_with("~1");
            key += escaped ? (rest[1] == '0' ? '~' : '/') : rest[0];
            rest.remove_prefix(escaped ? 2 : 1);
        }
        pointer.remove_prefix(std::min(slash, pointer.size()));
        std::size_t index = 0;
        auto [end, ec] = std::from_chars(key.data(), key.data() + key.size(), index);
        if (const Node* member = at->find(key)) {
            path = yaml::childPath(path, key);
            at = member;
        } else if (at->isSequence() && ec == std::errc{} && index < at->items.size()) {
            path = yaml::itemPath(path, index);
            at = &at->items[index];
        } else {
            break;
        }
    }
    return *at;
}

void readSpec(const Node& node, const Node* metadata, Manifest& out, Context& context) {
    Reader r(node, "spec", context.problems, Reader::Unknown::kLenient);
    const Node* runtime = r.get("runtime");
    const Node* task = r.get("task");
    const Node* input_schema = r.get("input_schema");
    const Node* execution = r.get("execution");
    const Node* security = r.get("security");
    const Node* volumes = r.get("volumes");
    const Node* tools = r.get("tools");
    const Node* env = r.get("env");
    if (const Node* items = r.get("context")) readContext(*items, out.context, context);
    if (const Node* schedule = r.get("schedule")) readSchedule(*schedule, out.schedule, context);
    if (const Node* advanced = r.get("advanced")) readAdvanced(*advanced, out.advanced, context);

    const Node* description = r.older("description", "metadata.description");
    if (metadata) readMetadata(*metadata, description, out.metadata, context);
    const Node* image = r.older("image", "spec.runtime.image");
    if (runtime || image) {
        readRuntime(runtime, image, out.runtime, context);
    } else if (node.isMapping()) {
        r.error("runtime", "is required (expected language and version, or image)");
    }
    if (task) readTask(*task, out.task, context);
    if (input_schema) readSchema(*input_schema, "spec.input_schema", out.input_schema, context);
    readExecution(execution,
                  {r.older("max_iterations", "spec.execution.max_iterations"),
                   r.older("validation", "spec.execution.validation")},
                  out.execution, context);
    std::size_t errors = context.problems.errorCount();
    if (volumes) readVolumes(*volumes, out.volumes, context);
    bool volumes_ok = errors == context.problems.errorCount();
    readSecurity(security,
                 {r.older("network_policy", "spec.security.network"),
                  r.older("filesystem_policy", "spec.security.filesystem"),
                  r.older("resources", "spec.security.resources")},
                 out.volumes, volumes_ok, out.security, context);
    if (tools) readTools(*tools, out.tools, context);
    const Node* environment = r.older("environment", "spec.env");
    if (env) readEnv(*env, "spec.env", out.env, context);
    if (env && environment) r.error("environment", "is given as spec.env too");
    if (!env && environment) readEnv(*environment, "spec.environment", out.env, context);
    for (auto key : {"capabilities", "security_context"}) {
        if (r.get(key))
            r.warning(key,
                      "an older spelling, without effect: code always runs as an unprivileged "
                      "user without capabilities");
    }
    r.finish();
}

}  // namespace

void Context::demand(std::string_view capability, const std::string& path, const Node& at,
                     std::string_view what) {
    if (!facts || facts->capabilities.contains(capability)) return;
    problems.error(path, at, fmt::format("{} not available on this node", what));
}

json::Value canonical(json::Value value) {
    constexpr double kExact = 9007199254740992.0;
    if (auto* object = value.if_object()) {
        for (auto& member : *object)
            member.value() = canonical(std::move(member.value()));
    } else if (auto* array = value.if_array()) {
        for (auto& element : *array)
            element = canonical(std::move(element));
    } else if (value.is_double()) {
        double number = value.get_double();
        if (std::trunc(number) == number && std::abs(number) < kExact)
            return static_cast<std::int64_t>(number);
    }
    return value;
}

void readTask(const Node& node, TaskSpec& out, Context& context) {
    Reader r(node, "spec.task", context.problems, Reader::Unknown::kLenient);
    r.string("instruction", out.instruction);
    if (r.string("prompt_template", out.prompt_template) && context.checks())
        checkTemplate(*r.get("prompt_template"), out.prompt_template, context);
    if (const Node* data = r.get("input_data")) {
        if (!data->isMapping()) {
            r.error("input_data", fmt::format("is {} (expected a mapping)", describe(*data)));
        } else if (auto value = yaml::toJson(*data); !value) {
            const ErrorDetail& detail = value.error().details.front();
            context.problems.error(r.path("input_data"), detail.line, detail.column,
                                   detail.message);
        } else {
            out.input_data = canonical(std::move(*value)).as_object();
        }
    }
    r.finish();
}

void readSchema(const Node& node, const std::string& path, std::optional<json::Value>& out,
                Context& context) {
    auto value = yaml::toJson(node);
    if (!value) {
        const ErrorDetail& detail = value.error().details.front();
        context.problems.error(path, detail.line, detail.column, detail.message);
        return;
    }
    out = canonical(std::move(*value));
    if (!context.checks()) return;
    auto schema = text::JsonSchema::compile(*out);
    if (schema) return;
    const Error& error = schema.error();
    for (const ErrorDetail& detail : error.details) {
        std::string where = path;
        const Node& at = follow(node, detail.path, where);
        context.problems.error(where, at, detail.message);
    }
    if (error.details.empty()) context.problems.error(path, node, error.message);
}

Manifest readManifest(const Node& root, Context& context) {
    Manifest manifest;
    Reader r(root, "", context.problems, Reader::Unknown::kLenient);
    auto constant = [&](std::string_view key, std::string_view expected) {
        std::string value;
        if (r.require(key, expected) && r.string(key, value) && value != expected)
            r.error(key,
                    fmt::format("{} is not supported (expected {})", yaml::shown(value), expected));
    };
    constant("apiVersion", kApiVersion);
    constant("kind", "Agent");
    const Node* metadata = r.get("metadata");
    if (!metadata) r.require("metadata", "a mapping with name and version");
    if (r.require("spec", "a mapping with runtime, task and more")) {
        readSpec(*r.get("spec"), metadata, manifest, context);
    } else if (metadata) {
        readMetadata(*metadata, nullptr, manifest.metadata, context);
    }
    r.finish();
    return manifest;
}

}  // namespace detail

namespace {

Error inFile(Error error, std::string_view file) {
    for (ErrorDetail& detail : error.details)
        detail.file = file;
    error.message = "invalid manifest: " + error.message;
    return error;
}

Error invalid(std::vector<ErrorDetail> details) {
    Error error(ErrorCode::kInvalid,
                details.size() == 1 ? std::string("invalid manifest")
                                    : fmt::format("invalid manifest: {} problems", details.size()));
    error.details = std::move(details);
    return error;
}

// JSON text that YAML refuses (escaped surrogate pairs, say) is still a manifest.
Result<std::vector<yaml::Document>> documentsOf(std::string_view text) {
    auto documents = yaml::parse(text, {.max_bytes = kMaxManifestBytes});
    if (documents || text.size() > kMaxManifestBytes) return documents;
    auto first = text.find_first_not_of(" \t\r\n");
    if (first == std::string_view::npos || text[first] != '{') return documents;
    auto value = json::parse(text);
    if (!value) return documents;
    return std::vector<yaml::Document>{{yaml::fromJson(*value), 0, text.size()}};
}

}  // namespace

Result<std::vector<ParsedManifest>> parseManifests(std::string_view text, std::string_view file,
                                                   const NodeFacts& facts) {
    auto documents = documentsOf(text);
    if (!documents) return inFile(std::move(documents.error()), file);
    yaml::Problems problems{std::string(file)};
    std::vector<ParsedManifest> manifests;
    std::set<std::string> names;
    for (const auto& document : *documents) {
        if (document.root.isNull()) continue;
        yaml::Problems of_this{std::string(file)};
        detail::Context context{of_this, &facts, text};
        ParsedManifest parsed;
        parsed.manifest = detail::readManifest(document.root, context);
        parsed.source = text.substr(document.begin, document.end - document.begin);
        const std::string& name = parsed.manifest.metadata.name;
        if (!name.empty() && !names.insert(name).second) {
            const yaml::Node* metadata = document.root.find("metadata");
            of_this.error("metadata.name", *metadata->find("name"),
                          fmt::format("another document is named {} too", yaml::shown(name)));
        }
        parsed.warnings = of_this.takeWarnings();
        for (ErrorDetail& e : of_this.takeErrors())
            problems.error(e.path, e.line, e.column, std::move(e.message));
        manifests.push_back(std::move(parsed));
    }
    if (manifests.empty())
        problems.error("", 1, 1, "there is no manifest here (expected apiVersion, kind, ...)");
    if (!problems.ok()) return invalid(problems.takeErrors());
    return manifests;
}

}  // namespace aegis::agent
