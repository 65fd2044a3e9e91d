#pragma once

#include <sys/types.h>

#include <memory>
#include <mutex>
#include <string>

#include "os/cgroup.h"
#include "os/fd.h"
#include "ports/root_images.h"
#include "proto/launch.h"
#include "sandbox/process/launcher.h"

namespace aegis::sandbox {

class Template;

/// A sandbox that is not yet known for whom: a clone of a template in namespaces and a cgroup of
/// its own, with an interpreter up. It ends when its socket is closed.
struct Stem {
    os::Fd socket;  ///< it waits here for what makes it a sandbox
    os::Fd pidfd;
    pid_t pid = 0;
    std::string group;                 ///< its cgroup, without limits yet
    std::shared_ptr<Template> origin;  ///< which must outlive it: it would end with it
};

/// What templates and stems are made with; outlives them.
struct TemplateContext {
    Launcher& launcher;
    const os::CgroupTree& cgroups;
    const os::Fd& guest_dir;
    const std::string& filter;           ///< of sandboxes
    const std::string& template_filter;  ///< seccomp_filter.h
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

    /// One more, in a new cgroup of this name. A template that fails once is not to be used again.
    Result<Stem> makeStem(const std::string& group, Deadline deadline);

    const std::string& group() const { return group_; }

  private:
    Template(const TemplateContext& context, std::string group)
        : context_(context), group_(std::move(group)) {}
    Status launch(const ports::RootImage& image, Deadline deadline);
    Result<Stem> clone(Deadline deadline);

    const TemplateContext context_;
    const std::string group_;
    std::mutex mutex_;  // held during a conversation
    os::Fd socket_;
    os::Fd pidfd_;
};

/// Sends a stem what makes it a sandbox. `fds` as proto::launch::Finish says.
Status finishStem(const Stem& stem, const proto::launch::Finish& finish, std::span<const int> fds,
                  Deadline deadline);

/// What a stem or template said of why it died, if it did. Never waits.
std::string lastWords(const os::Fd& socket);

}  // namespace aegis::sandbox
