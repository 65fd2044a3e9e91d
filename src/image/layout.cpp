#include "image/layout.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <optional>

#include "image/unpack.h"
#include "os/files.h"
#include "text/digest.h"
#include "text/json.h"

namespace aegis::image {
namespace {

constexpr std::uint64_t kMaxJson = 8 << 20;
constexpr std::size_t kMaxLayers = 256;
constexpr int kMaxIndexes = 4;

constexpr std::string_view machine() {
#if defined(__x86_64__)
    return "amd64";
#else
    return "arm64";
#endif
}

Error bad(std::string what) { return {ErrorCode::kInvalid, "no image: " + std::move(what)}; }

Result<os::Fd> openFile(int directory, const std::string& path) {
    open_how how{};
    how.flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK;
    how.resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS;
    os::Fd fd(static_cast<int>(::syscall(SYS_openat2, directory, path.c_str(), &how, sizeof how)));
    if (!fd) return errnoError(errno, path);
    struct stat st{};
    if (::fstat(fd.get(), &st) != 0 || !S_ISREG(st.st_mode)) return bad(path + " is no file");
    return fd;
}

Result<std::string> readText(int directory, const std::string& path) {
    AEGIS_TRY(const os::Fd fd, openFile(directory, path));
    return os::readAll(fd.get(), kMaxJson, path);
}

Result<json::Value> parseJson(const std::string& text, const std::string& name) {
    auto value = json::parse(text, {.max_depth = 64, .allow_duplicate_keys = true});
    if (!value) return bad(name + " is not JSON");
    return value;
}

/// "blobs/sha256/<hex>" of "sha256:<hex>"; only SHA-256 is known.
Result<std::string> blobPath(std::string_view digest) {
    constexpr std::string_view kPrefix = "sha256:";
    const auto hex = digest.substr(std::min(digest.size(), kPrefix.size()));
    if (!digest.starts_with(kPrefix) || hex.size() != 64 ||
        hex.find_first_not_of("0123456789abcdef") != hex.npos)
        return bad(fmt::format("\"{}\" is no digest", digest.substr(0, 100)));
    return fmt::format("blobs/sha256/{}", hex);
}

Result<std::string> readBlob(int directory, std::string_view digest) {
    AEGIS_TRY(const auto path, blobPath(digest));
    AEGIS_TRY(auto text, readText(directory, path));
    if ("sha256:" + text::sha256Hex(text) != digest)
        return bad(fmt::format("{} is not what its digest says", digest));
    return text;
}

std::vector<std::string> strings(const json::Value* list) {
    std::vector<std::string> out;
    if (list == nullptr || !list->is_array()) return out;
    for (const auto& one : list->get_array())
        if (one.is_string()) out.emplace_back(json::view(one.get_string()));
    return out;
}

bool nonEmpty(const json::Value* list) { return !strings(list).empty(); }

/// The configuration and the layers' places.
struct Parts {
    std::string config;
    std::vector<std::string> layers;
    std::vector<std::string> digests;  ///< of the layers as they lie there; empty: not stated
};

Result<Parts> dockerParts(int directory, const std::string& manifest) {
    AEGIS_TRY(const auto value, parseJson(manifest, "manifest.json"));
    if (!value.is_array() || value.get_array().empty()) return bad("manifest.json lists none");
    const auto& first = value.get_array().front();
    Parts parts;
    AEGIS_TRY(parts.config, readText(directory, std::string(json::getString(first, "Config"))));
    parts.layers = strings(json::find(first, "Layers"));
    return parts;
}

/// The manifest of this machine, through indexes in indexes.
Result<json::Value> ociManifest(int directory, json::Value value) {
    for (int depth = 0; depth < kMaxIndexes; ++depth) {
        const auto* list = json::find(value, "manifests");
        if (list == nullptr) return value;
        if (!list->is_array() || list->get_array().empty()) return bad("an index lists none");
        const json::Value* chosen = nullptr;
        for (const auto& one : list->get_array()) {
            const auto* platform = json::find(one, "platform");
            const bool fits =
                platform == nullptr || (json::getString(*platform, "architecture") == machine() &&
                                        json::getString(*platform, "os") == "linux");
            if (fits && chosen == nullptr) chosen = &one;
        }
        if (chosen == nullptr) return bad("there is none for this machine");
        const std::string digest(json::getString(*chosen, "digest"));
        AEGIS_TRY(const auto text, readBlob(directory, digest));
        AEGIS_TRY(auto next, parseJson(text, digest));
        value = std::move(next);
    }
    return bad("its indexes are nested too deep");
}

Result<Parts> ociParts(int directory, const std::string& index) {
    AEGIS_TRY(auto value, parseJson(index, "index.json"));
    AEGIS_TRY(const auto manifest, ociManifest(directory, std::move(value)));
    const auto* config = json::find(manifest, "config");
    const auto* layers = json::find(manifest, "layers");
    if (config == nullptr || layers == nullptr || !layers->is_array())
        return bad("its manifest names no configuration and layers");
    Parts parts;
    AEGIS_TRY(parts.config, readBlob(directory, json::getString(*config, "digest")));
    for (const auto& layer : layers->get_array()) {
        const std::string digest(json::getString(layer, "digest"));
        AEGIS_TRY(auto path, blobPath(digest));
        parts.layers.push_back(std::move(path));
        parts.digests.push_back(digest);
    }
    return parts;
}

Result<Parts> readParts(int directory) {
    if (auto index = readText(directory, "index.json")) return ociParts(directory, *index);
    auto manifest = readText(directory, "manifest.json");
    if (manifest) return dockerParts(directory, *manifest);
    return bad("neither index.json nor manifest.json is there");
}

}  // namespace

Result<Layout> readLayout(int directory) {
    AEGIS_TRY(const auto parts, readParts(directory));
    AEGIS_TRY(const auto config, parseJson(parts.config, "its configuration"));
    Layout out;
    out.digest = "sha256:" + text::sha256Hex(parts.config);
    if (const auto* run = json::find(config, "config")) {
        out.env = strings(json::find(*run, "Env"));
        out.working_dir = json::getString(*run, "WorkingDir");
        out.declares_command =
            nonEmpty(json::find(*run, "Cmd")) || nonEmpty(json::find(*run, "Entrypoint"));
    }
    const auto* rootfs = json::find(config, "rootfs");
    const auto contents = strings(rootfs == nullptr ? nullptr : json::find(*rootfs, "diff_ids"));
    if (contents.size() != parts.layers.size() || contents.size() > kMaxLayers)
        return bad("its configuration and its manifest disagree on the layers");
    for (std::size_t i = 0; i < contents.size(); ++i) {
        AEGIS_TRY(auto layer, openFile(directory, parts.layers[i]));
        if (!parts.digests.empty()) {
            AEGIS_TRY(const auto packed, digestOf(layer.get(), false));
            if (packed != parts.digests[i])
                return bad(parts.layers[i] + " is not what its digest says");
        }
        AEGIS_TRY(const auto content, digestOf(layer.get(), true));
        if (content != contents[i]) return bad(parts.layers[i] + " is not what its digest says");
        out.layers.push_back(std::move(layer));
    }
    return out;
}

}  // namespace aegis::image
