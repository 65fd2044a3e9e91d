#include "image/unpack.h"

#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <linux/openat2.h>
#include <openssl/evp.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <memory>
#include <optional>
#include <set>
#include <string_view>
#include <vector>

#include "image/archive_library.h"
#include "os/fd.h"
#include "os/files.h"

namespace aegis::image {
namespace {

constexpr std::size_t kBlock = 256 << 10;
constexpr std::size_t kMaxPath = 4096;
constexpr std::uint32_t kGuestId = 1000;
constexpr std::uint32_t kIdCount = 65536;
constexpr std::uint32_t kNobody = 65534;
constexpr std::string_view kWhiteout = ".wh.";
constexpr std::string_view kOpaque = ".wh..wh..opq";

struct CloseArchive {
    void operator()(archive* a) const { lib().archive_read_free(a); }
};
using Reader = std::unique_ptr<archive, CloseArchive>;

Error archiveError(archive* a) {
    const char* text = lib().archive_error_string(a);
    return {ErrorCode::kInvalid,
            fmt::format("the archive cannot be read: {}", text == nullptr ? "?" : text)};
}

Result<Reader> openReader(int fd, bool raw) {
    AEGIS_CHECK(loadArchive());
    Reader reader(lib().archive_read_new());
    if (!reader) return {ErrorCode::kInternal, "archive_read_new"};
    lib().archive_read_support_filter_gzip(reader.get());
    lib().archive_read_support_filter_zstd(reader.get());
    if (raw) {
        lib().archive_read_support_format_raw(reader.get());
        lib().archive_read_support_format_empty(reader.get());
    } else {
        lib().archive_read_support_format_tar(reader.get());
    }
    if (lib().archive_read_open_fd(reader.get(), fd, kBlock) != ARCHIVE_OK)
        return archiveError(reader.get());
    return reader;
}

/// The components of an archive's path, "." left out. Nullopt for one with "..", or too long.
std::optional<std::vector<std::string>> components(const char* text) {
    if (text == nullptr || std::strlen(text) > kMaxPath) return std::nullopt;
    std::vector<std::string> out;
    std::string_view path(text);
    while (!path.empty()) {
        const auto slash = path.find('/');
        const auto part = path.substr(0, slash);
        path.remove_prefix(slash == path.npos ? path.size() : slash + 1);
        if (part.empty() || part == ".") continue;
        if (part == "..") return std::nullopt;
        out.emplace_back(part);
    }
    return out;
}

// The library gives no text in the locale's encoding for a name that it cannot say in it.
const char* pathOf(archive_entry* entry) {
    const char* path = lib().archive_entry_pathname(entry);
    return path != nullptr ? path : lib().archive_entry_pathname_utf8(entry);
}
const char* hardlinkOf(archive_entry* entry) {
    const char* path = lib().archive_entry_hardlink(entry);
    return path != nullptr ? path : lib().archive_entry_hardlink_utf8(entry);
}
const char* symlinkOf(archive_entry* entry) {
    const char* path = lib().archive_entry_symlink(entry);
    return path != nullptr ? path : lib().archive_entry_symlink_utf8(entry);
}

os::Fd openInside(int root, const std::string& path, std::uint64_t flags, std::uint64_t resolve) {
    open_how how{};
    how.flags = flags | O_CLOEXEC;
    how.resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS | resolve;
    return os::Fd(static_cast<int>(::syscall(SYS_openat2, root, path.c_str(), &how, sizeof how)));
}

/// Writes one layer. Its errors name the path.
class Layer {
  public:
    Layer(archive* reader, int root, const UnpackOptions& options)
        : reader_(reader), root_(root), options_(options) {}

    Result<std::uint64_t> run();

  private:
    Status entry(archive_entry* entry);
    Result<os::Fd> parent(const std::vector<std::string>& path);
    Status whiteout(int dir, const std::string& parent, const std::string& name);
    Status place(int dir, const std::string& name, const std::string& path, archive_entry* entry);
    Status file(int dir, const std::string& name, archive_entry* entry);
    Status hardLink(int dir, const std::string& name, const char* target);
    Status attributes(int dir, const std::string& name, archive_entry* entry);
    uid_t owner(std::int64_t id) const;

    archive* reader_;
    int root_;
    const UnpackOptions& options_;
    std::uint64_t bytes_ = 0;
    std::uint64_t entries_ = 0;
    std::set<std::string> made_;  // by this layer: not an opaque directory's to hide
    struct Dir {
        std::string path;
        timespec modified;
    };
    std::vector<Dir> dirs_;
};

Result<std::uint64_t> Layer::run() {
    archive_entry* current = nullptr;
    while (true) {
        const int result = lib().archive_read_next_header(reader_, &current);
        if (result == ARCHIVE_EOF) break;
        if (result != ARCHIVE_OK && result != ARCHIVE_WARN) return archiveError(reader_);
        if (++entries_ > options_.limits.entries)
            return {ErrorCode::kTooLarge, "the image has too many files"};
        const char* name = pathOf(current);
        auto done = entry(current);
        if (!done)
            return std::move(done.error())
                .within(std::string(name == nullptr ? "?" : name).substr(0, 200));
    }
    // Last: making what is in them changed it.
    for (auto dir = dirs_.rbegin(); dir != dirs_.rend(); ++dir) {
        const auto fd = openInside(root_, dir->path, O_RDONLY | O_DIRECTORY, RESOLVE_NO_SYMLINKS);
        const timespec times[2] = {dir->modified, dir->modified};
        if (fd) (void)::futimens(fd.get(), times);
    }
    return bytes_;
}

uid_t Layer::owner(std::int64_t id) const {
    if (id < 0 || id >= kIdCount) id = kNobody;
    return id == kGuestId ? kGuestId : options_.id_base + static_cast<uid_t>(id);
}

/// The directory that holds the last component, made where it is missing.
Result<os::Fd> Layer::parent(const std::vector<std::string>& path) {
    std::string here = ".";
    for (std::size_t i = 0; i + 1 < path.size(); ++i) {
        const auto next = here + "/" + path[i];
        auto fd = openInside(root_, next, O_PATH | O_DIRECTORY, 0);
        if (!fd && errno == ENOENT) {
            const auto above = openInside(root_, here, O_PATH | O_DIRECTORY, 0);
            if (!above || ::mkdirat(above.get(), path[i].c_str(), 0755) != 0)
                return errnoError(errno, "a directory above it");
            if (options_.id_base != 0)
                (void)::fchownat(above.get(), path[i].c_str(), owner(0), owner(0),
                                 AT_SYMLINK_NOFOLLOW);
        } else if (!fd) {
            return errnoError(errno, "a directory above it");
        }
        here = next;
    }
    auto fd = openInside(root_, here, O_RDONLY | O_DIRECTORY, 0);
    if (!fd) return errnoError(errno, "the directory above it");
    return fd;
}

Status removeAt(int dir, const std::string& name) {
    if (::unlinkat(dir, name.c_str(), 0) == 0 || errno == ENOENT) return {};
    if (errno != EISDIR && errno != EPERM) return errnoError(errno, name);
    return os::removeTree(fmt::format("/proc/self/fd/{}/{}", dir, name));
}

Status Layer::whiteout(int dir, const std::string& parent, const std::string& name) {
    if (name != kOpaque) {
        const auto hidden = name.substr(kWhiteout.size());
        if (hidden.empty() || hidden == "." || hidden == "..")
            return {ErrorCode::kInvalid, "not a whiteout"};
        return removeAt(dir, hidden);
    }
    const std::unique_ptr<DIR, int (*)(DIR*)> entries(::fdopendir(::fcntl(dir, F_DUPFD_CLOEXEC, 0)),
                                                      ::closedir);
    if (!entries) return errnoError(errno, "an opaque directory");
    std::vector<std::string> names;
    while (const dirent* one = ::readdir(entries.get()))
        names.emplace_back(one->d_name);
    for (const auto& one : names)
        if (one != "." && one != ".." && !made_.contains(parent + "/" + one))
            AEGIS_CHECK(removeAt(dir, one));
    return {};
}

Status Layer::entry(archive_entry* entry) {
    const auto path = components(pathOf(entry));
    if (!path) return {ErrorCode::kInvalid, "a path that leads out of the image, or too long"};
    if (path->empty()) return {};  // the root itself
    AEGIS_TRY(const os::Fd dir, parent(*path));
    std::string above;
    for (std::size_t i = 0; i + 1 < path->size(); ++i)
        above += "/" + (*path)[i];
    const auto& name = path->back();
    if (name.starts_with(kWhiteout)) return whiteout(dir.get(), above, name);
    made_.insert(above + "/" + name);
    return place(dir.get(), name, "." + above + "/" + name, entry);
}

Status Layer::place(int dir, const std::string& name, const std::string& path,
                    archive_entry* entry) {
    struct stat st{};
    const bool exists = ::fstatat(dir, name.c_str(), &st, AT_SYMLINK_NOFOLLOW) == 0;
    if (const char* target = hardlinkOf(entry)) {
        if (exists) AEGIS_CHECK(removeAt(dir, name));
        return hardLink(dir, name, target);
    }
    const auto type = lib().archive_entry_filetype(entry);
    if (type == AE_IFDIR) {
        if (exists && !S_ISDIR(st.st_mode)) AEGIS_CHECK(removeAt(dir, name));
        if (::mkdirat(dir, name.c_str(), 0755) != 0 && errno != EEXIST)
            return errnoError(errno, name);
        dirs_.push_back(
            {path, {lib().archive_entry_mtime(entry), lib().archive_entry_mtime_nsec(entry)}});
        return attributes(dir, name, entry);
    }
    if (exists) AEGIS_CHECK(removeAt(dir, name));
    if (type == AE_IFREG) return file(dir, name, entry);
    if (type != AE_IFLNK) return {};  // devices, pipes, sockets
    const char* target = symlinkOf(entry);
    if (target == nullptr || ::symlinkat(target, dir, name.c_str()) != 0)
        return errnoError(target == nullptr ? EINVAL : errno, name);
    return attributes(dir, name, entry);
}

Status Layer::hardLink(int dir, const std::string& name, const char* target) {
    const auto path = components(target);
    if (!path || path->empty())
        return {ErrorCode::kInvalid, "a hard link that leads out of the image"};
    AEGIS_TRY(const os::Fd from, parent(*path));
    struct stat st{};
    if (::fstatat(from.get(), path->back().c_str(), &st, AT_SYMLINK_NOFOLLOW) != 0)
        return errnoError(errno, "a hard link's target");
    if (!S_ISREG(st.st_mode) && !S_ISLNK(st.st_mode))
        return {ErrorCode::kInvalid, "a hard link to what is no file"};
    if (::linkat(from.get(), path->back().c_str(), dir, name.c_str(), 0) != 0)
        return errnoError(errno, "a hard link");
    return {};
}

Status Layer::file(int dir, const std::string& name, archive_entry* entry) {
    const os::Fd out(
        ::openat(dir, name.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600));
    if (!out) return errnoError(errno, name);
    const void* block = nullptr;
    std::size_t size = 0;
    la_int64_t offset = 0;
    while (true) {
        const int result = lib().archive_read_data_block(reader_, &block, &size, &offset);
        if (result == ARCHIVE_EOF) break;
        if (result != ARCHIVE_OK) return archiveError(reader_);
        bytes_ += size;
        if (bytes_ > options_.limits.bytes || offset < 0 ||
            static_cast<std::uint64_t>(offset) > options_.limits.bytes)
            return {ErrorCode::kTooLarge, "the image is too large"};
        if (::lseek(out.get(), offset, SEEK_SET) < 0) return errnoError(errno, name);
        AEGIS_CHECK(os::writeAll(out.get(), {static_cast<const char*>(block), size}));
    }
    // A hole at the end.
    if (lib().archive_entry_size_is_set(entry) &&
        static_cast<std::uint64_t>(lib().archive_entry_size(entry)) <= options_.limits.bytes &&
        ::ftruncate(out.get(), lib().archive_entry_size(entry)) != 0)
        return errnoError(errno, name);
    return attributes(dir, name, entry);
}

Status Layer::attributes(int dir, const std::string& name, archive_entry* entry) {
    if (options_.id_base != 0 &&
        ::fchownat(dir, name.c_str(), owner(lib().archive_entry_uid(entry)),
                   owner(lib().archive_entry_gid(entry)), AT_SYMLINK_NOFOLLOW) != 0)
        return errnoError(errno, name);
    // Without the bits that change who somebody is.
    if (lib().archive_entry_filetype(entry) != AE_IFLNK &&
        ::fchmodat(dir, name.c_str(), lib().archive_entry_perm(entry) & 01777U, 0) != 0)
        return errnoError(errno, name);
    const timespec modified{lib().archive_entry_mtime(entry),
                            lib().archive_entry_mtime_nsec(entry)};
    const timespec times[2] = {modified, modified};
    if (::utimensat(dir, name.c_str(), times, AT_SYMLINK_NOFOLLOW) != 0)
        return errnoError(errno, name);
    return {};
}

}  // namespace

Result<std::uint64_t> unpackLayer(int tar_fd, int root, const UnpackOptions& options) {
    AEGIS_TRY(const Reader reader, openReader(tar_fd, false));
    return Layer(reader.get(), root, options).run();
}

Status unpackFiles(int tar_fd, int directory, const UnpackLimits& limits) {
    AEGIS_TRY(const Reader reader, openReader(tar_fd, false));
    std::uint64_t left = limits.bytes;
    archive_entry* entry = nullptr;
    for (std::uint64_t count = 0;; ++count) {
        const int result = lib().archive_read_next_header(reader.get(), &entry);
        if (result == ARCHIVE_EOF) return {};
        if (result != ARCHIVE_OK && result != ARCHIVE_WARN) return archiveError(reader.get());
        const auto path = components(pathOf(entry));
        if (!path || count > limits.entries)
            return {ErrorCode::kInvalid, "the archive is no image"};
        const auto type = lib().archive_entry_filetype(entry);
        // Old archives name a layer that comes twice by a link.
        if ((type != AE_IFREG && type != AE_IFLNK) || path->empty() || hardlinkOf(entry) != nullptr)
            continue;
        os::Fd here(::fcntl(directory, F_DUPFD_CLOEXEC, 0));
        for (std::size_t i = 0; i + 1 < path->size(); ++i) {
            if (::mkdirat(here.get(), (*path)[i].c_str(), 0700) != 0 && errno != EEXIST)
                return errnoError(errno, (*path)[i]);
            here.reset(::openat(here.get(), (*path)[i].c_str(),
                                O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
            if (!here) return errnoError(errno, (*path)[i]);
        }
        if (type == AE_IFLNK) {
            const char* target = symlinkOf(entry);
            if (target == nullptr || ::symlinkat(target, here.get(), path->back().c_str()) != 0)
                return errnoError(target == nullptr ? EINVAL : errno, path->back());
            continue;
        }
        const auto size = static_cast<std::uint64_t>(lib().archive_entry_size(entry));
        if (size > left) return {ErrorCode::kTooLarge, "the image is too large"};
        left -= size;
        const os::Fd out(::openat(here.get(), path->back().c_str(),
                                  O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600));
        if (!out) return errnoError(errno, path->back());
        if (lib().archive_read_data_into_fd(reader.get(), out.get()) != ARCHIVE_OK)
            return archiveError(reader.get());
    }
}

Result<std::string> digestOf(int fd, bool unpacked) {
    const std::unique_ptr<EVP_MD_CTX, void (*)(EVP_MD_CTX*)> hash(::EVP_MD_CTX_new(),
                                                                  ::EVP_MD_CTX_free);
    if (!hash || ::EVP_DigestInit_ex(hash.get(), ::EVP_sha256(), nullptr) != 1)
        return {ErrorCode::kInternal, "sha256"};
    std::vector<char> block(kBlock);
    if (unpacked) {
        AEGIS_TRY(const Reader reader, openReader(fd, true));
        archive_entry* entry = nullptr;
        const int first = lib().archive_read_next_header(reader.get(), &entry);
        if (first != ARCHIVE_OK && first != ARCHIVE_EOF) return archiveError(reader.get());
        while (first == ARCHIVE_OK) {
            const auto n = lib().archive_read_data(reader.get(), block.data(), block.size());
            if (n < 0) return archiveError(reader.get());
            if (n == 0) break;
            ::EVP_DigestUpdate(hash.get(), block.data(), static_cast<std::size_t>(n));
        }
    } else {
        while (true) {
            const auto n = ::read(fd, block.data(), block.size());
            if (n < 0 && errno == EINTR) continue;
            if (n < 0) return errnoError(errno, "the image");
            if (n == 0) break;
            ::EVP_DigestUpdate(hash.get(), block.data(), static_cast<std::size_t>(n));
        }
    }
    if (::lseek(fd, 0, SEEK_SET) != 0) return errnoError(errno, "the image");
    std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
    unsigned size = 0;
    ::EVP_DigestFinal_ex(hash.get(), digest.data(), &size);
    std::string out = "sha256:";
    for (unsigned i = 0; i < size; ++i)
        out += fmt::format("{:02x}", digest[i]);
    return out;
}

}  // namespace aegis::image
