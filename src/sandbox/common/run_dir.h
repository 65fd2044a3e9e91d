#pragma once

#include <cstdint>
#include <set>
#include <string>
#include <utility>

#include "base/ids.h"
#include "base/random.h"
#include "base/result.h"
#include "os/fd.h"

namespace aegis::sandbox {

/// The directories of one sandbox on the host. `shared` is what the sandbox sees, read-only, as
/// /aegis/run; the captured output lies beside it, where it does not.
struct RunDir {
    std::string name;      ///< 8 hex digits
    std::string shared;    ///< <root>/<name>, 0755 below a parent of 0700
    std::string captures;  ///< <root>/<name>.out, 0700
    std::string ctlSocket() const { return shared + "/ctl.sock"; }
    std::string apiSocket() const { return shared + "/api.sock"; }
    /// For an engine that writes none.
    std::string hostsFile() const { return captures + "/hosts"; }
};

/// A file for one captured stream: the guest's end appends, ours reads.
struct CaptureFile {
    os::Fd writer;
    os::Fd reader;
};

/// Makes and removes the run directories of one node, below `/run/aegis/<node>`, or
/// `$XDG_RUNTIME_DIR/aegis/<node>` or `/tmp/aegis-<uid>/<node>` when that cannot be written. Socket
/// paths stay below the 108 bytes of sun_path. Any thread. Takes the node's directory away at its
/// own end, if that is empty then.
class RunDirs {
  public:
    /// `base` replaces the search when not empty. Refuses a base that another user owns. `kind`
    /// sets the directories of one isolation apart from another's.
    static Result<RunDirs> open(const NodeId& node, Random& random, const std::string& base = {},
                                const std::string& kind = {});

    ~RunDirs();
    RunDirs(RunDirs&& other) noexcept
        : root_(std::exchange(other.root_, {})),
          random_(other.random_),
          mounted_(std::exchange(other.mounted_, false)) {}
    RunDirs& operator=(RunDirs&&) = delete;

    /// Where they lie on a disk, mounts memory over the node's directory, until its end: a disk's
    /// file system takes longer to make a socket's file than all the rest of one takes. For
    /// sandboxes whose mounts this process makes itself; an engine might not see it.
    Status keepInMemory();

    const std::string& root() const { return root_; }
    Result<RunDir> create();
    static Status remove(const RunDir& dir);
    /// Removes what no name in `keep` owns.
    Status sweep(const std::set<std::string>& keep);

  private:
    RunDirs(std::string root, Random& random) : root_(std::move(root)), random_(&random) {}

    std::string root_;
    Random* random_;
    bool mounted_ = false;  ///< by this or by a daemon that was killed
};

/// Writes the sandbox's /etc/hosts to `hostsFile()`: its own names are all that it can resolve.
Status writeHosts(const RunDir& dir);

/// Creates `<captures>/<name>`.
Result<CaptureFile> makeCapture(const RunDir& dir, const std::string& name);

/// The first `limit` bytes of a captured file.
std::string readCapture(const os::Fd& reader, std::size_t limit);

}  // namespace aegis::sandbox
