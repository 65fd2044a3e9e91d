#pragma once

#include <memory>
#include <optional>
#include <string>

#include "sandbox/common/guest_sandbox.h"
#include "sandbox/docker/container_config.h"
#include "sandbox/docker/engine.h"
#include "sandbox/docker/images.h"
#include "sandbox/docker/janitor.h"
#include "sandbox/docker/warm.h"

namespace aegis::sandbox {

/// What all containers of a runtime share; outlives them.
struct DockerContext {
    NodeId node;
    std::string guest_dir;
    int host_cpus = 1;
    Engine& engine;
    Images& images;
    Janitor& janitor;
    WarmContainers& warm;
    GuestContext guest;
};

/// A sandbox that is a container. Calls of the engine run in the pool and report back.
///
/// The order: image, volumes; then a container that was started ahead for sandboxes of this shape
/// gets the volumes and is taken over. If there is none: directories and sockets, create, start;
/// PID 1 connects (it may be before /start has answered) and is checked against the container,
/// which then gets the volumes. The engine only makes the places: what it binds read-only loses
/// nosuid and nodev, and it resolves a path a second time.
/// Where no pid was ever learnt, death is proven by the engine having removed the container.
class DockerSandbox final : public GuestSandbox {
  public:
    DockerSandbox(DockerContext& context, ports::SandboxSpec spec, Deadline deadline,
                  ports::SandboxSink& sink);

  protected:
    void prepare() override;
    Verdict judge(const CtlPeer& peer) const override;
    void beforePayload() override;
    void autopsy() override;
    void destroyUnseen() override;
    /// The engine must not be asked to remove what it is still starting.
    bool busy() const override { return engine_busy_; }
    void handOver(std::optional<RunDir> run,
                  std::unique_ptr<ports::GuestListener> listener) override;
    std::string shortName() const override { return container_.substr(0, 12); }

  private:
    /// What the pool made on the way to a created container.
    struct Prepared {
        ImageInfo image;
        Run run;
        std::string container;          ///< id, or the name if the engine did not answer
        std::optional<CtlPeer> peer;    ///< PID 1 of one that was started ahead
        std::vector<OpenMount> mounts;  ///< not attached so far
        std::optional<Error> error;     ///< set: it went no further
        bool fatal = true;
    };
    struct Autopsy {
        std::optional<ContainerState> state;
    };

    // In the pool.
    Status prepareContainer(Prepared& prepared);
    std::string nameOf(const RunDir& run) const;
    void afterwards(bool warm, const std::string& container, const std::string& name);
    bool takeWarm(Prepared& prepared, const std::vector<OpenMount>& mounts);
    Status makeContainer(Prepared& prepared, const std::vector<OpenMount>& mounts);
    Status finishContainer(const std::string& container, bool few, pid_t pid, const os::Fd& process,
                           const std::vector<OpenMount>& mounts);

    // On the reactor's thread.
    void onPrepared(Prepared& prepared);
    void onEngineStarted(Status status, bool tried);
    void onInspected(Result<ContainerState> state);
    void onAutopsy(const Autopsy& result);

    DockerContext& context_;
    bool engine_busy_ = false;     // /start has not answered
    bool engine_started_ = false;  // it has, with success
    bool start_tried_ = false;     // /start was, or may have been, sent
    bool warm_ = false;            // it was started ahead, with all of its limits
    std::optional<Shape> shape_;   // the pool's
    std::string container_;
    std::vector<OpenMount> mounts_;  // to be attached before the payload starts
};

}  // namespace aegis::sandbox
