#pragma once

#include <compare>
#include <cstdint>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/ids.h"
#include "os/stock.h"
#include "ports/sandbox.h"
#include "sandbox/common/ctl_channel.h"
#include "sandbox/common/mounts.h"
#include "sandbox/common/run.h"
#include "sandbox/docker/container_config.h"
#include "sandbox/docker/engine.h"
#include "sandbox/docker/janitor.h"

namespace aegis::sandbox {

/// What a container has from its making on. Sandboxes of one shape differ in what they are told at
/// the end of their start, and in what is mounted then.
struct Shape {
    ImageInfo image;
    int cpu_millicores = 0;
    std::uint64_t memory_bytes = 0;
    std::uint64_t tmp_bytes = 0;
    int pids = 0;
    std::vector<Place> places;  ///< where volumes are mounted

    std::strong_ordering operator<=>(const Shape& other) const;
    bool operator==(const Shape& other) const { return (*this <=> other) == 0; }
};

/// The shape of a sandbox with these mounts. Nullopt: it has to be made when it is needed (it
/// starts with something else than the managed bootstrap).
std::optional<Shape> shapeOf(const ports::SandboxSpec& spec, const ImageInfo& image,
                             const std::vector<OpenMount>& mounts);

/// A container whose PID 1 has connected and has said nothing that was read yet, with Python up and
/// waiting for its job. Nobody's so far.
struct WarmContainer {
    std::string id;
    Run run;  ///< its sockets serve nobody yet
    CtlPeer peer;
};

struct WarmOptions {
    std::size_t size = 0;  ///< of each shape; 0: none
    std::int64_t max_idle_ms = 0;
    std::size_t max_size = 0;  ///< of those of which another number is asked for
};

/// Containers started ahead, each for one sandbox; like all others without a network, privileges or
/// a writable root, with the node's label, and found by the next start's sweep if this daemon is
/// killed. One thread makes them. Every call is safe on any thread.
class WarmContainers {
  public:
    struct Context {
        NodeId node;
        std::string guest_dir;
        int host_cpus = 1;
        Engine& engine;
        ports::GuestListenerFactory listeners;
        RunDirs& run_dirs;
        Janitor& janitor;
    };
    WarmContainers(WarmOptions options, Context context);

    bool offered() const { return offered_; }
    std::size_t ready() { return stock_.size(); }
    std::optional<WarmContainer> take(const Shape& shape);
    /// Has made what is missing of this shape, of which `keep` are asked for (none: as many as of
    /// others). Does not wait for it.
    void restock(const Shape& shape, std::optional<int> keep);
    /// `container` could not be used for a sandbox of its shape: no more of that are made.
    void refuse(const Shape& shape, WarmContainer container);
    /// To be called now and then.
    void expire() { stock_.expire(); }
    /// Hands all to the janitor; waits for what is being made.
    void clear() { stock_.clear(); }
    /// The same, and makes no more. Repeatable.
    void stop() { stock_.stop(); }

  private:
    Result<WarmContainer> make(const Shape& shape);
    Status start(const Shape& shape, WarmContainer& container);
    void discard(WarmContainer container);

    const Context context_;
    const std::size_t max_size_;
    const bool offered_;
    std::mutex mutex_;
    std::set<Shape> unfit_;
    os::Stock<Shape, WarmContainer> stock_;  ///< last: its thread uses all of the above
};

}  // namespace aegis::sandbox
