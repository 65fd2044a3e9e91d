#pragma once

#include <sys/types.h>

#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "os/cgroup.h"
#include "os/fd.h"
#include "ports/root_images.h"
#include "proto/launch.h"
#include "sandbox/common/ctl_channel.h"
#include "sandbox/common/run.h"
#include "sandbox/process/launcher.h"
#include "sandbox/process/seccomp_filter.h"

namespace aegis::sandbox {

class Template;

/// Where volumes are mounted, in mount order.
using Places = std::vector<proto::launch::Mount>;

/// A stem whose root stands, its sockets bound for nobody yet. Without volumes it has become a
/// sandbox already, its payload waiting; with some it waits for them.
struct Standing {
    Run run;
    std::optional<CtlPeer> peer;  ///< PID 1's; nothing of it is read
    std::uint64_t tmp_bytes = 0;
};

/// What a sandbox may have, as far as stems can be made for it.
struct StemLimits {
    os::CgroupLimits group;
    std::uint64_t tmp_bytes = 1 << 20;  ///< 0: one of the places is there
};

/// A sandbox that is not yet known for whom: a clone of a template in namespaces and a cgroup of
/// its own, with an interpreter up. It ends when its socket is closed.
struct Stem {
    os::Fd socket;  ///< it waits here for what makes it a sandbox
    os::Fd pidfd;
    pid_t pid = 0;
    std::string group;                 ///< its cgroup
    os::CgroupLimits limits;           ///< that it has
    std::shared_ptr<Template> origin;  ///< which must outlive it: it would end with it
    std::optional<Standing> standing;
};

/// What templates and stems are made with; outlives them.
struct TemplateContext {
    Launcher& launcher;
    const os::CgroupTree& cgroups;
    const os::Fd& guest_dir;
    const SeccompFilters& filters;
    RunDirs& run_dirs;
    const ports::GuestListenerFactory& listeners;
};

/// A process inside an image, with the image's interpreter up and the bootstrap imported, out of
/// which sandboxes are forked (launcher/stem.h). It runs as the sandbox's user without a
/// capability, hears nothing of any execution, and cannot look into what comes of it. Ends with
/// this object, and all its clones with it. Any thread; calls block.
class Template : public std::enable_shared_from_this<Template> {
  public:
    /// Until it serves. kUnavailable: this image's interpreter cannot be one.
    static Result<std::shared_ptr<Template>> start(const TemplateContext& context,
                                                   const ports::RootImage& image,
                                                   const std::string& group, Deadline deadline);
    ~Template();
    Template(const Template&) = delete;
    Template& operator=(const Template&) = delete;

    /// One more, in a new cgroup of this name with these limits; `meanwhile` is called while it
    /// gets ready. A template that fails once is not to be used again.
    Result<Stem> makeStem(const std::string& group, const os::CgroupLimits& limits,
                          Deadline deadline, const std::function<void()>& meanwhile = {});

    const std::string& group() const { return group_; }

  private:
    Template(const TemplateContext& context, std::string group)
        : context_(context), group_(std::move(group)) {}
    Status launch(const ports::RootImage& image, Deadline deadline);
    Status clone(Stem& stem, Deadline deadline);
    Status settle(Stem& stem, Deadline deadline, const std::function<void()>& meanwhile);

    const TemplateContext context_;
    const std::string group_;
    std::mutex mutex_;  // held during a conversation
    os::Fd socket_;
    os::Fd pidfd_;
};

/// Adds to an order for the launcher, and to its descriptors, how the new process comes into its
/// cgroup; `doors` keeps them open.
Status addEntrance(const os::CgroupTree& cgroups, const std::string& group,
                   proto::launch::Entrance& entrance, std::vector<int>& fds,
                   std::vector<os::Fd>& doors);

/// Sends a stem what its root is made of: the run directory on the host, its places. Without any it
/// becomes a sandbox.
Status finishStem(const Stem& stem, const std::string& run_dir, const proto::launch::Finish& finish,
                  Deadline deadline);
/// What makes it a sandbox if it has places: a detached mount for each.
Status sendMounts(const Stem& stem, const std::vector<os::Fd>& trees, Deadline deadline);

/// finishStem() for nobody yet; blocks until it stands. What it made of it is removed if that
/// fails.
Result<Standing> standUp(const TemplateContext& context, const Stem& stem,
                         const proto::launch::Finish& finish, Deadline deadline);
/// Gives the /tmp of one that stands its size.
Status resizeTmp(const Stem& stem, std::uint64_t bytes);

/// What a stem or template said of why it died, if it did. Never waits.
std::string lastWords(const os::Fd& socket);

}  // namespace aegis::sandbox
