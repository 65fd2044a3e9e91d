#include <fmt/format.h>

#include <algorithm>

#include "agent/parse_context.h"

namespace aegis::agent {
namespace detail {
namespace {

constexpr std::size_t kMaxImageBytes = 4096;
constexpr std::int64_t kMaxTokens = 100'000'000;

template <class Map>
std::vector<std::string> keysOf(const Map& map) {
    std::vector<std::string> keys;
    for (const auto& entry : map)
        keys.push_back(entry.first);
    return keys;
}

void checkBaseImage(Reader& r, const RuntimeSpec& runtime, const NodeFacts& facts) {
    constexpr std::string_view kWhere = "runtime.images of aegis-config.yaml lists them";
    auto language = facts.images.find(runtime.language);
    if (language == facts.images.end()) {
        auto known = keysOf(facts.images);
        r.error("language", fmt::format("this node has no base image for {} (expected {}; {}{})",
                                        yaml::shown(runtime.language), yaml::joinOr(known), kWhere,
                                        yaml::didYouMean(runtime.language, known)));
    } else if (!language->second.contains(runtime.version)) {
        r.error("version", fmt::format("this node has no base image for {} {} (expected {}; {})",
                                       runtime.language, yaml::shown(runtime.version),
                                       yaml::joinOr(keysOf(language->second)), kWhere));
    }
}

void checkImage(Reader& r, const std::string& image) {
    bool printable = std::ranges::all_of(image, [](unsigned char c) { return c > 0x20; });
    if (image.empty() || image.front() == '-' || !printable || image.size() > kMaxImageBytes)
        r.error("image", fmt::format("{} is not an image (expected a reference such as "
                                     "registry/name:tag, or the path of an archive)",
                                     yaml::shown(image)));
}

void readImage(Reader& r, const Node* older_image, RuntimeSpec& out, Context& context) {
    bool language = r.has("language"), version = r.has("version");
    r.string("language", out.language);
    r.string("version", out.version);
    bool image = r.string("image", out.image);
    if (older_image && image) {
        r.error("image", "is given as spec.image too");
    } else if (older_image) {
        auto text = yaml::readString(*older_image, "spec.image", context.problems);
        out.image = text.value_or("");
        image = text.has_value();
    }
    if (image) {
        checkImage(r, out.image);
        for (auto key : {"language", "version"}) {
            if (r.has(key)) r.error(key, "cannot be used with image (expected one of the two)");
        }
    } else if (!r.has("image") && r.node().isMapping()) {
        if (!language && !version)
            r.error("is incomplete (expected language and version, or image)");
        else if (!language)
            r.error("language", "is required with version (expected python, say)");
        else if (!version)
            r.error("version", "is required with language (expected 3.11, say)");
        else if (context.checks() && !out.language.empty() && !out.version.empty())
            checkBaseImage(r, out, *context.facts);
    }
}

void checkIsolation(Reader& r, const RuntimeSpec& runtime, const NodeFacts& facts) {
    Isolation wanted =
        runtime.isolation == Isolation::kInherit ? facts.default_isolation : runtime.isolation;
    if (facts.isolations.contains(wanted)) return;
    std::vector<std::string> offered;
    for (Isolation isolation : facts.isolations)
        offered.emplace_back(name(isolation));
    std::string expected = offered.empty() ? "no isolation is" : yaml::joinOr(offered);
    r.error(
        "isolation",
        fmt::format("{}{} is not available on this node (expected {})", name(wanted),
                    runtime.isolation == Isolation::kInherit ? ", what inherit means here," : "",
                    expected));
}

void checkModel(Reader& r, const std::string& model, const NodeFacts& facts) {
    if (model == "default" || facts.aliases.contains(model)) return;
    std::vector<std::string> known(facts.aliases.begin(), facts.aliases.end());
    if (!facts.aliases.contains("default")) known.insert(known.begin(), "default");
    r.error("model",
            fmt::format("{} is no model alias of this node (expected {}{})", yaml::shown(model),
                        yaml::joinOr(known), yaml::didYouMean(model, known)));
}

}  // namespace

void readRuntime(const Node* node, const Node* older_image, RuntimeSpec& out, Context& context) {
    Node empty;
    empty.kind = Node::Kind::kMapping;
    if (older_image) {
        empty.line = older_image->line;
        empty.column = older_image->column;
    }
    Reader r(node ? *node : empty, "spec.runtime", context.problems, Reader::Unknown::kLenient);
    readImage(r, older_image, out, context);
    r.choice("image_pull_policy", out.image_pull_policy, imagePullPolicies());
    bool isolation_ok = !r.has("isolation");
    isolation_ok |= r.choice("isolation", out.isolation, isolations());
    r.string("model", out.model);
    r.number("temperature", out.temperature, 0, 2);
    if (int tokens = 0; r.integer("max_tokens", tokens, 1, kMaxTokens)) out.max_tokens = tokens;
    if (context.checks()) {
        if (isolation_ok) checkIsolation(r, out, *context.facts);
        checkModel(r, out.model, *context.facts);
    }
    r.finish();
}

}  // namespace detail

Isolation resolvedIsolation(const Manifest& manifest, const NodeFacts& facts) {
    Isolation isolation = manifest.runtime.isolation;
    return isolation == Isolation::kInherit ? facts.default_isolation : isolation;
}

Result<std::string> resolvedImage(const Manifest& manifest, const NodeFacts& facts) {
    const RuntimeSpec& runtime = manifest.runtime;
    if (!runtime.image.empty()) return runtime.image;
    auto language = facts.images.find(runtime.language);
    if (language != facts.images.end()) {
        auto image = language->second.find(runtime.version);
        if (image != language->second.end()) return image->second;
    }
    return Error(
        ErrorCode::kInvalid,
        fmt::format("this node has no base image for {} {}", runtime.language, runtime.version),
        "runtime.images of aegis-config.yaml lists them");
}

}  // namespace aegis::agent
