#pragma once

#include <functional>
#include <list>
#include <map>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#include "base/ids.h"
#include "base/time.h"

namespace aegis::runner {

/// Who may run: at most `limit` executions at once, first come first served, and each named lock
/// (persistent read-write volumes) by one at a time, in order. An execution that waits for a lock
/// does not hold up others that need none. The journal's claims are the truth after a crash; this
/// is the queue in front of them. Safe on any thread; callbacks run inside the call that freed the
/// place, with no lock held.
class Scheduler {
  public:
    Scheduler(std::size_t limit, Clock& clock) : limit_(limit), clock_(clock) {}

    /// Takes `id`'s place in the queue: who arrives later is granted later, whoever asks first.
    /// request() or release() must follow soon: nobody behind it is granted before.
    void arrive(const ExecutionId& id);
    /// Queues `id`, where it arrived if it did; `granted` is called once when it may run, with the
    /// time since when it may. A repeat for a queued or running id is ignored.
    void request(const ExecutionId& id, std::vector<std::string> locks,
                 std::function<void(UtcTime)> granted);
    /// Counts `id` as running without asking: it was when the daemon died.
    void adopt(const ExecutionId& id, std::vector<std::string> locks);
    /// Leaves the queue or frees the place; grants what is possible now. Unknown ids are ignored.
    void release(const ExecutionId& id);
    /// Nothing is granted before open(): recovery comes first.
    void open();
    void setLimit(std::size_t limit);

    std::size_t queued() const;
    std::size_t running() const;

  private:
    struct Waiting {
        ExecutionId id;
        std::vector<std::string> locks;
        std::function<void(UtcTime)> granted;  ///< none: arrived, has not asked yet
    };
    std::vector<std::function<void()>> grantLocked();
    void grant();

    mutable std::mutex mutex_;
    std::size_t limit_;
    Clock& clock_;
    bool open_ = false;
    using Queue = std::list<Waiting>;
    Queue::iterator add(const ExecutionId& id);
    Queue queue_;
    std::map<ExecutionId, Queue::iterator> places_;  ///< in the queue
    std::map<ExecutionId, std::vector<std::string>> running_;
    std::set<std::string> held_;
};

}  // namespace aegis::runner
