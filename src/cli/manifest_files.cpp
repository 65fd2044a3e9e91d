#include "cli/manifest_files.h"

#include <dirent.h>
#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>

#include "os/files.h"

namespace aegis::cli {
namespace {

constexpr std::uint64_t kMaxFileBytes = 8U << 20U;  // the daemon's own limit is lower and says so

Result<std::vector<std::string>> filesIn(const std::string& path) {
    DIR* dir = ::opendir(path.c_str());
    if (dir == nullptr) return Error(ErrorCode::kInvalid, errnoError(errno, path).message);
    std::vector<std::string> out;
    while (const dirent* entry = ::readdir(dir)) {
        std::string_view name(entry->d_name);
        if (name.ends_with(".yaml") || name.ends_with(".yml"))
            out.push_back(fmt::format("{}/{}", path, name));
    }
    ::closedir(dir);
    std::ranges::sort(out);
    if (out.empty())
        return {ErrorCode::kInvalid, fmt::format("{}: holds no .yaml or .yml file", path)};
    return out;
}

}  // namespace

Result<std::vector<service::ManifestFile>> readManifests(const std::vector<std::string>& names) {
    std::vector<service::ManifestFile> out;
    for (const auto& name : names) {
        if (name.empty()) return {ErrorCode::kInvalid, "the name of a file is empty"};
        struct stat st{};
        std::vector<std::string> files{name};
        if (name != "-" && ::stat(name.c_str(), &st) == 0 && S_ISDIR(st.st_mode)) {
            AEGIS_TRY(files, filesIn(name));
        }
        for (const auto& file : files) {
            auto text = file == "-" ? os::readAll(0, kMaxFileBytes, "stdin")
                                    : os::readFile(file, kMaxFileBytes);
            if (!text) return Error(ErrorCode::kInvalid, text.error().message);
            out.push_back({file == "-" ? "stdin" : file, std::move(*text)});
        }
    }
    return out;
}

}  // namespace aegis::cli
