#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

namespace aegis::runner {

/// The core threads. An actor's jobs run on one of them (by the hash of its id), or by runHere() on
/// the thread that asks, one after another, so an actor's data needs no lock. Each actor has two
/// lanes: what is urgent (cancel, results, timers) before the rest, each lane in order. Jobs must
/// not block and not throw.
class CoreThreads {
  public:
    /// One actor's place in line. Shared: jobs in flight keep it alive after its actor is gone.
    class Mailbox {
      public:
        static constexpr std::size_t kCapacity = 256;

      private:
        friend class CoreThreads;
        std::size_t thread = 0;
        std::deque<std::function<void()>> urgent, normal;
        bool scheduled = false;
    };
    using MailboxPtr = std::shared_ptr<Mailbox>;

    explicit CoreThreads(std::size_t threads);
    ~CoreThreads();
    CoreThreads(const CoreThreads&) = delete;
    CoreThreads& operator=(const CoreThreads&) = delete;

    MailboxPtr open(std::size_t hash);
    /// False if the normal lane is full (256) or the threads have stopped: the job is dropped.
    bool post(const MailboxPtr& box, std::function<void()> job);
    /// Never full: what comes here is bounded by the effects that an actor has started.
    bool postUrgent(const MailboxPtr& box, std::function<void()> job);
    /// Runs the job on the caller's thread if its actor is idle, as the only one of the actor's
    /// then; else false: to be posted. After it up to `more` urgent ones that came meanwhile. For
    /// callers that hold no lock.
    bool runHere(const MailboxPtr& box, const std::function<void()>& job, int more = 0);
    /// Waits for the jobs that are running, also those on other threads by runHere(); not for one
    /// that calls this.
    void stop();

  private:
    struct Worker {
        std::mutex mutex;
        std::condition_variable wake;
        std::deque<MailboxPtr> ready;
        bool stopped = false;
        std::size_t elsewhere = 0;  ///< jobs that run by runHere()
        std::condition_variable left;
        std::thread thread;
    };
    bool add(const MailboxPtr& box, std::function<void()> job, bool urgent);
    static void work(Worker& worker);
    static bool done(Worker& worker, MailboxPtr box);
    static bool runUrgent(Worker& worker, Mailbox& box);

    std::vector<std::unique_ptr<Worker>> workers_;
};

}  // namespace aegis::runner
