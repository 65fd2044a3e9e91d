#include "image/base_image.h"

#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <stdlib.h>
#include <sys/stat.h>

#include <algorithm>
#include <memory>

#include "os/files.h"
#include "os/run_program.h"

namespace aegis::image {
namespace {

constexpr std::uint64_t kMaxChangesBytes = 64 * 1024;

Result<std::vector<std::string>> namesIn(const std::string& path) {
    const std::unique_ptr<DIR, int (*)(DIR*)> dir(::opendir(path.c_str()), ::closedir);
    if (!dir) return errnoError(errno, path);
    std::vector<std::string> names;
    while (const dirent* entry = ::readdir(dir.get()))
        if (entry->d_name[0] != '.') names.emplace_back(entry->d_name);
    std::sort(names.begin(), names.end());
    return names;
}

bool isDirectory(const std::string& path) {
    struct stat info{};
    return ::stat(path.c_str(), &info) == 0 && S_ISDIR(info.st_mode);
}

bool exists(const std::string& path) { return ::access(path.c_str(), R_OK) == 0; }

/// A directory of our own, removed with all that is in it.
class WorkDir {
  public:
    static Result<WorkDir> make(const std::string& parent) {
        std::string path = parent + "/aegis-image-XXXXXX";
        if (::mkdtemp(path.data()) == nullptr) return errnoError(errno, parent);
        return WorkDir(std::move(path));
    }
    WorkDir(WorkDir&& other) noexcept : path_(std::exchange(other.path_, {})) {}
    WorkDir& operator=(WorkDir&&) = delete;
    ~WorkDir() {
        if (!path_.empty()) (void)os::removeTree(path_);
    }
    const std::string& path() const { return path_; }

  private:
    explicit WorkDir(std::string path) : path_(std::move(path)) {}
    std::string path_;
};

Result<BaseImage> findRecipe(std::string_view language, std::string_view version,
                             const std::string& recipe_dir) {
    AEGIS_TRY(const std::vector<BaseImage> known, listBaseImages(recipe_dir));
    const BaseImage wanted{std::string(language), std::string(version)};
    if (std::find(known.begin(), known.end(), wanted) != known.end()) return wanted;
    std::string names;
    for (const BaseImage& image : known)
        names += fmt::format("{}{} {}", names.empty() ? "" : ", ", image.language, image.version);
    return Error(ErrorCode::kNotFound,
                 fmt::format("there is no base image for {} {}", language, version),
                 names.empty() ? "no recipe is installed" : "there is: " + names);
}

Result<std::vector<std::string>> readChanges(const std::string& path) {
    AEGIS_TRY(const std::string text, os::readFile(path, kMaxChangesBytes));
    std::vector<std::string> changes;
    for (std::size_t at = 0; at < text.size();) {
        const std::size_t end = std::min(text.find('\n', at), text.size());
        if (end > at) changes.push_back(text.substr(at, end - at));
        at = end + 1;
    }
    return changes;
}

}  // namespace

Result<std::vector<BaseImage>> listBaseImages(const std::string& recipe_dir) {
    std::vector<BaseImage> images;
    AEGIS_TRY(const std::vector<std::string> languages, namesIn(recipe_dir));
    for (const std::string& language : languages) {
        const std::string path = recipe_dir + "/" + language;
        if (!isDirectory(path)) continue;
        AEGIS_TRY(const std::vector<std::string> versions, namesIn(path));
        for (const std::string& version : versions)
            if (exists(path + "/" + version + "/image.conf")) images.push_back({language, version});
    }
    return images;
}

Result<std::string> buildBaseImage(std::string_view language, std::string_view version,
                                   const BuildOptions& options, ImageSink& sink) {
    AEGIS_TRY(const BaseImage image, findRecipe(language, version, options.recipe_dir));
    const std::string script = options.recipe_dir + "/build.sh";
    for (const char* needed : {"bash", "apt-get"})
        if (!os::findProgram(needed))
            return Error(
                ErrorCode::kUnsupported, fmt::format("building a base image needs {}", needed),
                "build on a Debian machine, or configure runtime.images with an image you have");
    if (!os::findProgram("mmdebstrap") && !os::findProgram("debootstrap"))
        return Error(ErrorCode::kUnsupported, "neither mmdebstrap nor debootstrap is installed",
                     "apt-get install mmdebstrap");
    AEGIS_TRY(const WorkDir work, WorkDir::make(options.work_dir));
    const std::string archive = work.path() + "/root.tar";
    AEGIS_TRY(const std::string shell, os::findProgram("bash"));
    AEGIS_CHECK(os::runProgram({shell, script, image.language, image.version, archive},
                               options.deadline,
                               {.keep_environment = true, .on_error_text = options.progress}));
    AEGIS_TRY(const std::vector<std::string> changes, readChanges(archive + ".changes"));
    AEGIS_TRY(const os::Fd tar, os::openFile(archive, O_RDONLY));
    AEGIS_CHECK(sink.importTar(image.reference(), tar.get(), changes, options.deadline));
    return image.reference();
}

}  // namespace aegis::image
