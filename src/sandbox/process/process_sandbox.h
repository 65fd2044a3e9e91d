#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "os/cgroup.h"
#include "ports/root_images.h"
#include "sandbox/common/guest_sandbox.h"
#include "sandbox/common/mounts.h"
#include "sandbox/process/launcher.h"
#include "sandbox/process/stem_pool.h"

namespace aegis::sandbox {

/// The name of a sandbox's cgroup: "<execution>-<ordinal>".
std::string groupName(const ports::SandboxId& id);
/// The inverse; nullopt for a name that is not ours.
std::optional<ports::SandboxId> sandboxOfGroup(const std::string& group);

/// What all of a runtime share; outlives them.
struct ProcessContext {
    int host_cpus = 1;
    os::Fd guest_dir;  ///< O_PATH
    ports::RootImages& images;
    Launcher& launcher;
    const os::CgroupTree* cgroups = nullptr;  ///< set by available(), and so is
    StemPool* stems = nullptr;
    GuestContext guest;
    std::function<Status()> available;  ///< quick once it went well; blocks
    std::atomic<int> alive = 0;         ///< sandboxes; beside many none takes time for itself
};

/// The mounts and the process of one sandbox, before it runs anything of a guest's. Its own end of
/// the control pair keeps the process waiting; closed, it ends.
struct Prison {
    os::Fd pidfd;
    pid_t pid = 0;
    os::Fd control;
};

/// Asks the launcher for a process with this root and waits until it has built it. `group` empty:
/// in no cgroup (a trial). Blocks.
struct PrisonPlan {
    std::string image_root;
    std::string run_dir;
    const ports::SandboxSpec* spec = nullptr;
    std::string group;
};
Result<Prison> makePrison(ProcessContext& context, const PrisonPlan& plan, Deadline deadline);

/// A sandbox of the embedded kind. Where there is a template of its image it is a stem that is
/// told what to become, or has become already. Else, the long way, the order is: image, directories
/// and sockets, cgroup with its limits, process, which goes there before all else; once its root
/// stands it is told to go on, becomes PID 1 of ours, and the rest is GuestSandbox's.
class ProcessSandbox final : public GuestSandbox {
  public:
    ProcessSandbox(ProcessContext& context, ports::SandboxSpec spec, Deadline deadline,
                   ports::SandboxSink& sink);
    ~ProcessSandbox() override { --context_.alive; }

  protected:
    void prepare() override;
    Verdict judge(const CtlPeer& peer) const override;
    void autopsy() override;
    void destroyUnseen() override;
    bool busy() const override { return false; }
    void handOver(std::optional<RunDir> run,
                  std::unique_ptr<ports::GuestListener> listener) override;
    std::string shortName() const override;

  private:
    struct Prepared {
        ports::RootImage image;
        Run run;
        Prison prison;
        bool from_stem = false;
        std::optional<CtlPeer> peer;  ///< of a stem that stands
        std::optional<Error> error;
        bool fatal = true;
    };
    Status makeAll(Prepared& prepared);
    Status makeNew(Prepared& prepared);
    Status makeFromStem(Prepared& prepared, Stem stem, const StemPool::Wish& wish,
                        const std::vector<OpenMount>& mounts, Status so_far);
    Status order(Prepared& prepared, Stem& stem, const StemPool::Wish& wish,
                 const std::vector<OpenMount>& mounts);
    os::CgroupLimits limits() const;
    void onPrepared(Prepared& prepared);

    ProcessContext& context_;
    std::string group_;                 ///< its cgroup; the pool's until prepared
    std::shared_ptr<Template> origin_;  ///< it would end with it
    os::Fd stem_;                       ///< says why, if the stem could not become a sandbox
};

}  // namespace aegis::sandbox
