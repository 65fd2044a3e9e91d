#include "image/root_store.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "image/layout.h"
#include "os/files.h"
#include "text/digest.h"
#include "text/json.h"

namespace aegis::image {
namespace {

constexpr std::string_view kManaged = "aegis/";

bool isPath(std::string_view image) { return image.starts_with('/'); }

/// What tells one content of the file from another, short of reading it.
Result<std::string> identity(const std::string& path) {
    struct stat st{};
    const bool directory = ::stat(path.c_str(), &st) == 0 && S_ISDIR(st.st_mode);
    const auto told_by = directory ? path + "/index.json" : path;
    if (::stat(told_by.c_str(), &st) != 0)
        return std::move(errnoError(errno, path)).within("image archive");
    return fmt::format("{}|{}|{}|{}|{}.{:09}", path, st.st_dev, st.st_ino, st.st_size,
                       st.st_mtim.tv_sec, st.st_mtim.tv_nsec);
}

Error missing(const std::string& image) {
    const auto message = fmt::format("image {} is not unpacked on this machine", image);
    if (!image.starts_with(kManaged))
        return {ErrorCode::kNotFound, message,
                fmt::format("docker pull {}, or give runtime.image the absolute path of an archive "
                            "that `docker save` made",
                            image)};
    auto name = image.substr(kManaged.size());
    if (const auto colon = name.find(':'); colon != name.npos) name[colon] = ' ';
    return {ErrorCode::kNotFound, message, "aegis image build " + name};
}

/// ENV and WORKDIR of Dockerfile instructions.
void applyChanges(const std::vector<std::string>& changes, ports::RootImage& image) {
    for (const auto& change : changes) {
        if (change.starts_with("ENV ")) image.env.push_back(change.substr(4));
        if (change.starts_with("WORKDIR ")) image.working_dir = change.substr(8);
    }
}

}  // namespace

/// A directory of our own, removed with all that is in it unless published.
struct RootStore::Staged {
    explicit Staged(std::string where) : path(std::move(where)) {}
    Staged(Staged&& other) noexcept
        : path(std::exchange(other.path, {})), root(std::move(other.root)) {}
    Staged& operator=(Staged&&) = delete;
    ~Staged() {
        if (!path.empty()) (void)os::removeTree(path);
    }
    std::string path;
    os::Fd root;
};

Result<ports::RootImage> RootStore::find(const std::string& digest) const {
    const auto hex = digest.substr(digest.find(':') + 1);
    const auto where = fmt::format("{}/sha256/{}", directory_, hex);
    AEGIS_TRY(const auto value, records_.read(where + "/image.json"));
    ports::RootImage image;
    image.digest = digest;
    image.root = where + "/root";
    image.working_dir = json::getString(value, "working_dir");
    image.declares_command = json::getBool(value, "declares_command");
    if (const auto* env = json::find(value, "env"); env != nullptr && env->is_array())
        for (const auto& one : env->get_array())
            if (one.is_string()) image.env.emplace_back(json::view(one.get_string()));
    return image;
}

Result<std::string> RootStore::named(const std::string& name) const {
    AEGIS_TRY(const auto value,
              records_.read(fmt::format("{}/names/{}", directory_, text::sha256Hex(name))));
    return std::string(json::getString(value, "digest"));
}

Result<ports::RootImage> RootStore::unpacked(const std::string& name) const {
    AEGIS_TRY(const auto digest, named(name));
    return find(digest);
}

Status RootStore::setName(const std::string& name, const std::string& digest) const {
    AEGIS_CHECK(os::makeDirs(directory_ + "/names"));
    return os::writeFileAtomic(fmt::format("{}/names/{}", directory_, text::sha256Hex(name)),
                               json::dump(json::Object{{"name", name}, {"digest", digest}}));
}

RootStore::RootStore(std::string directory, UnpackOptions options,
                     std::unique_ptr<ports::ImageOrigin> origin)
    : directory_(std::move(directory)), options_(options), origin_(std::move(origin)) {}

void RootStore::stop() {
    if (origin_) origin_->stop();
}

Result<RootStore::Staged> RootStore::stage() const {
    AEGIS_CHECK(os::makeDirs(directory_ + "/sha256"));
    std::string path = directory_ + "/new-XXXXXX";
    if (::mkdtemp(path.data()) == nullptr) return errnoError(errno, directory_);
    Staged staged(path);
    const auto root = path + "/root";
    if (::mkdir(root.c_str(), 0755) != 0) return errnoError(errno, root);
    if (::chmod(root.c_str(), 0755) != 0) return errnoError(errno, root);
    if (options_.id_base != 0 && ::chown(root.c_str(), options_.id_base, options_.id_base) != 0)
        return errnoError(errno, root);
    AEGIS_TRY(staged.root, os::openFile(root, O_RDONLY | O_DIRECTORY));
    return staged;
}

Status RootStore::publish(const Staged& staged, const ports::RootImage& image) const {
    json::Array env;
    for (const auto& one : image.env)
        env.emplace_back(one);
    AEGIS_CHECK(os::writeFileAtomic(
        staged.path + "/image.json",
        json::dump(json::Object{{"digest", image.digest},
                                {"env", std::move(env)},
                                {"working_dir", image.working_dir},
                                {"declares_command", image.declares_command}})));
    if (::syncfs(staged.root.get()) != 0) return errnoError(errno, staged.path);
    const auto target =
        fmt::format("{}/sha256/{}", directory_, image.digest.substr(image.digest.find(':') + 1));
    // Another process may have been faster: what it made is the same.
    if (::rename(staged.path.c_str(), target.c_str()) == 0 || errno == EEXIST || errno == ENOTEMPTY)
        return {};
    return errnoError(errno, target);
}

Status RootStore::importTar(std::string_view reference, int tar_fd,
                            const std::vector<std::string>& changes, Deadline) {
    ports::RootImage image;
    if (::lseek(tar_fd, 0, SEEK_SET) != 0) return errnoError(errno, "the archive");
    AEGIS_TRY(image.digest, digestOf(tar_fd, false));
    applyChanges(changes, image);
    if (!find(image.digest)) {
        AEGIS_TRY(const auto staged, stage());
        AEGIS_TRY([[maybe_unused]] const auto bytes,
                  unpackLayer(tar_fd, staged.root.get(), options_));
        AEGIS_CHECK(publish(staged, image));
    }
    return setName(std::string(reference), image.digest);
}

Result<ports::RootImage> RootStore::loadLayout(int directory, const std::string& name) {
    AEGIS_TRY(auto layout, readLayout(directory));
    auto known = find(layout.digest);
    if (!known) {
        ports::RootImage image{layout.digest,
                               {},
                               std::move(layout.env),
                               std::move(layout.working_dir),
                               layout.declares_command};
        AEGIS_TRY(const auto staged, stage());
        auto options = options_;
        for (const auto& layer : layout.layers) {
            AEGIS_TRY(const auto bytes, unpackLayer(layer.get(), staged.root.get(), options));
            options.limits.bytes -= std::min(options.limits.bytes, bytes);
        }
        AEGIS_CHECK(publish(staged, image));
        known = find(image.digest);
        if (!known) return std::move(known.error());
    }
    AEGIS_CHECK(setName(name, known->digest));
    return known;
}

Result<ports::RootImage> RootStore::load(const std::string& path) {
    AEGIS_TRY(const auto name, identity(path));
    AEGIS_TRY(const os::Fd source, os::openFile(path, O_RDONLY | O_NONBLOCK));
    struct stat st{};
    if (::fstat(source.get(), &st) != 0) return errnoError(errno, path);
    auto within = [&](Result<ports::RootImage> image) -> Result<ports::RootImage> {
        if (!image) return std::move(image.error()).within("image archive " + path);
        return image;
    };
    if (S_ISDIR(st.st_mode)) return within(loadLayout(source.get(), name));
    if (!S_ISREG(st.st_mode))
        return {ErrorCode::kInvalid, "image archive " + path + ": is no file"};
    AEGIS_TRY(const auto apart, stage());
    AEGIS_TRY(const os::Fd here, os::openFile(apart.path, O_RDONLY | O_DIRECTORY));
    if (auto taken = unpackFiles(source.get(), here.get(), options_.limits); !taken)
        return within(std::move(taken.error()));
    return within(loadLayout(here.get(), name));
}

/// The origin's image of this name, unpacked at its first use. Its identity is what it is known by
/// here, so that a name which means another image tomorrow is another.
Result<ports::RootImage> RootStore::fetched(const std::string& image) {
    AEGIS_TRY(const auto identity, origin_->identity(image));
    const auto key = "origin " + identity;
    if (auto known = unpacked(key)) return known;
    std::lock_guard lock(fetching_);
    if (auto known = unpacked(key)) return known;
    AEGIS_TRY(const auto apart, stage());
    const auto path = apart.path + "/image.tar";
    AEGIS_TRY(os::Fd archive, os::openFile(path, O_RDWR | O_CREAT | O_EXCL, 0600));
    AEGIS_CHECK(origin_->save(identity, archive.get(), options_.limits.bytes));
    if (::lseek(archive.get(), 0, SEEK_SET) != 0) return errnoError(errno, path);
    // The root that a layout's files do not need is where they are taken apart.
    AEGIS_CHECK(unpackFiles(archive.get(), apart.root.get(), options_.limits));
    archive.reset();
    (void)::unlink(path.c_str());
    AEGIS_TRY(auto loaded, loadLayout(apart.root.get(), key));
    AEGIS_CHECK(setName(image, loaded.digest));
    return loaded;
}

Result<ports::RootImage> RootStore::resolve(const std::string& image) {
    if (isPath(image)) {
        AEGIS_TRY(const auto name, identity(image));
        if (auto known = unpacked(name)) return known;
        return load(image);
    }
    auto here = unpacked(image);
    if (origin_ == nullptr || (here && image.starts_with(kManaged)))
        return here ? std::move(here) : missing(image);
    auto there = fetched(image);
    if (there || here) return there ? std::move(there) : std::move(here);
    const auto code = there.error().code;
    if (code == ErrorCode::kNotFound || code == ErrorCode::kUnreachable) return missing(image);
    return std::move(there.error()).within("image " + image);
}

}  // namespace aegis::image
