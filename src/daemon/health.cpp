#include "daemon/health.h"

#include <fmt/format.h>

#include "os/mount.h"

namespace aegis::daemon {
namespace {

constexpr std::int64_t kFreshMs = 2000;
/// The store refuses new executions when less is left.
constexpr std::uint64_t kLeastFreeBytes = 16U << 20U;

}  // namespace

std::vector<api::HealthCheck> Health::checks() {
    return {{"recovery", recovered_ ? "" : "unfinished executions are being loaded"},
            {"sandboxes", runtimeProblem()},
            {"disk", diskProblem()}};
}

std::string Health::runtimeProblem() {
    std::lock_guard lock(mutex_);
    if (!fresh_until_.passed(clock_.boot())) return runtime_problem_;
    auto* runtime = runner_.runtime(isolation_);
    if (runtime == nullptr) {
        runtime_problem_ = fmt::format("isolation {} is not available on this node", isolation_);
    } else {
        auto available = runtime->available();
        runtime_problem_ = available ? "" : available.error().message;
    }
    fresh_until_ = Deadline::in(clock_.boot(), kFreshMs);
    return runtime_problem_;
}

std::string Health::diskProblem() const {
    auto space = os::spaceOf(data_dir_);
    if (!space) return space.error().message;
    if (space->available_bytes >= kLeastFreeBytes) return {};
    return fmt::format("{}: only {} bytes are free", data_dir_, space->available_bytes);
}

}  // namespace aegis::daemon
