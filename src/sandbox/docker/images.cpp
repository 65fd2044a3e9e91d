#include "sandbox/docker/images.h"

#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "sandbox/docker/engine_answers.h"

namespace aegis::sandbox {
namespace {

constexpr std::string_view kManaged = "aegis/";
constexpr std::chrono::seconds kListenAgain{1};
constexpr std::size_t kMaxKnown = 1024;

bool isArchive(std::string_view image) { return image.ends_with(".tar"); }

bool mayPull(std::string_view image, std::string_view policy) {
    return policy != "Never" && !image.starts_with(kManaged);
}

Error missing(const std::string& image) {
    const auto message = fmt::format("image {} is not on this machine", image);
    if (image.starts_with(kManaged)) {
        const auto name = splitReference(image);
        return {ErrorCode::kNotFound, message,
                fmt::format("aegis image build {} {}", name.repository.substr(kManaged.size()),
                            name.tag)};
    }
    return {ErrorCode::kNotFound, message,
            fmt::format("`docker pull {}`, or set image_pull_policy: IfNotPresent", image)};
}

/// What tells one content of the file from another, short of reading it.
Result<std::string> identity(const std::string& path) {
    struct stat st{};
    if (::stat(path.c_str(), &st) != 0) return errnoError(errno, "image archive " + path);
    if (!S_ISREG(st.st_mode))
        return {ErrorCode::kInvalid, fmt::format("image archive {}: is no file", path)};
    if (::access(path.c_str(), R_OK) != 0) return errnoError(errno, "image archive " + path);
    return fmt::format("{}|{}|{}|{}|{}.{:09}", path, st.st_dev, st.st_ino, st.st_size,
                       st.st_mtim.tv_sec, st.st_mtim.tv_nsec);
}

}  // namespace

Images::~Images() {
    {
        std::lock_guard lock(known_mutex_);
        stopping_ = true;
    }
    wake_.notify_all();
    if (listener_.joinable()) listener_.join();
}

void Images::watch() {
    if (!listener_.joinable()) listener_ = std::thread([this] { listen(); });
}

void Images::listen() {
    std::unique_lock lock(known_mutex_);
    while (!stopping_) {
        lock.unlock();
        // An absent engine is told to whoever needs it.
        static_cast<void>(engine_.watchImages([this] { forget(true); }));
        forget(false);
        lock.lock();
        wake_.wait_for(lock, kListenAgain, [this] { return stopping_; });
    }
}

void Images::forget(bool listening) {
    std::lock_guard lock(known_mutex_);
    ++changes_;
    listening_ = listening;
    known_.clear();
}

Result<ImageInfo> Images::inspect(const std::string& image, Deadline deadline) {
    std::uint64_t changes = 0;
    {
        std::lock_guard lock(known_mutex_);
        if (auto known = known_.find(image); known != known_.end()) return known->second;
        changes = changes_;
    }
    auto info = engine_.inspectImage(image, deadline);
    std::lock_guard lock(known_mutex_);
    if (info && listening_ && changes == changes_ && known_.size() < kMaxKnown)
        known_[image] = *info;
    return info;
}

Result<std::string> Images::loadArchive(const std::string& path, Deadline deadline) {
    AEGIS_TRY(const auto key, identity(path));
    std::lock_guard lock(mutex_);
    if (auto known = loaded_.find(key); known != loaded_.end()) {
        if (engine_.inspectImage(known->second, deadline)) return known->second;
        loaded_.erase(known);  // removed from the engine since
    }
    auto reference = engine_.loadImage(path, deadline);
    if (!reference)
        return std::move(reference.error()).within(fmt::format("image archive {}", path));
    loaded_[key] = *reference;
    return reference;
}

Result<ImageInfo> Images::resolve(const std::string& image, const std::string& policy,
                                  Deadline deadline) {
    if (isArchive(image)) {
        AEGIS_TRY(const auto reference, loadArchive(image, deadline));
        return engine_.inspectImage(reference, deadline);
    }
    const bool always = policy == "Always" && mayPull(image, policy);
    if (!always) {
        auto info = inspect(image, deadline);
        if (info || info.error().code != ErrorCode::kNotFound) return info;
        if (!mayPull(image, policy)) return missing(image);
    }
    if (auto pulled = engine_.pullImage(image, deadline); !pulled) {
        auto& error = pulled.error();
        if (error.code == ErrorCode::kUnreachable || error.code == ErrorCode::kPermissionDenied)
            return std::move(error);
        return {error.code == ErrorCode::kTimeout ? ErrorCode::kTimeout : ErrorCode::kNotFound,
                fmt::format("image {} could not be pulled: {}", image, error.message),
                always ? "check the name and the registry, or set image_pull_policy: IfNotPresent"
                       : "check the name and the registry, or `docker load` the image"};
    }
    return engine_.inspectImage(image, deadline);
}

Result<ports::ImageFacts> Images::check(const std::string& image, const std::string& policy,
                                        Deadline deadline) {
    auto info =
        isArchive(image) ? resolve(image, policy, deadline) : engine_.inspectImage(image, deadline);
    if (info) return ports::ImageFacts{.declares_command = info->declares_command};
    if (info.error().code != ErrorCode::kNotFound || isArchive(image))
        return std::move(info.error());
    if (!mayPull(image, policy)) return missing(image);
    return ports::ImageFacts{};
}

}  // namespace aegis::sandbox
