#include "runner/mailbox.h"

#include <utility>

namespace aegis::runner {
namespace {

/// The worker whose place this thread takes.
thread_local const void* running_here = nullptr;

}  // namespace

CoreThreads::CoreThreads(std::size_t threads) {
    for (std::size_t i = 0; i < threads; ++i) {
        workers_.push_back(std::make_unique<Worker>());
        auto& worker = *workers_.back();
        worker.thread = std::thread([&worker] { work(worker); });
    }
}

CoreThreads::~CoreThreads() { stop(); }

CoreThreads::MailboxPtr CoreThreads::open(std::size_t hash) {
    auto box = std::make_shared<Mailbox>();
    box->thread = hash % workers_.size();
    return box;
}

bool CoreThreads::post(const MailboxPtr& box, std::function<void()> job) {
    return add(box, std::move(job), false);
}

bool CoreThreads::postUrgent(const MailboxPtr& box, std::function<void()> job) {
    return add(box, std::move(job), true);
}

bool CoreThreads::add(const MailboxPtr& box, std::function<void()> job, bool urgent) {
    auto& worker = *workers_[box->thread];
    {
        std::lock_guard lock(worker.mutex);
        if (worker.stopped || (!urgent && box->normal.size() >= Mailbox::kCapacity)) return false;
        (urgent ? box->urgent : box->normal).push_back(std::move(job));
        if (box->scheduled) return true;
        box->scheduled = true;
        worker.ready.push_back(box);
    }
    worker.wake.notify_one();
    return true;
}

void CoreThreads::work(Worker& worker) {
    std::unique_lock lock(worker.mutex);
    while (true) {
        worker.wake.wait(lock, [&] { return worker.stopped || !worker.ready.empty(); });
        if (worker.stopped) return;
        auto box = std::move(worker.ready.front());
        worker.ready.pop_front();
        auto& lane = box->urgent.empty() ? box->normal : box->urgent;
        auto job = std::move(lane.front());
        lane.pop_front();
        lock.unlock();
        job();
        job = nullptr;
        lock.lock();
        done(worker, std::move(box));
    }
}

/// After a job of it, with the lock: to the end of the line if there are more, so that a busy actor
/// does not starve the others. Whether there are.
bool CoreThreads::done(Worker& worker, MailboxPtr box) {
    bool more = !box->urgent.empty() || !box->normal.empty();
    box->scheduled = more;
    if (more) worker.ready.push_back(std::move(box));
    return more;
}

/// One urgent job of an actor whose turn this thread has; false if there is none.
bool CoreThreads::runUrgent(Worker& worker, Mailbox& box) {
    std::function<void()> job;
    {
        std::lock_guard lock(worker.mutex);
        if (worker.stopped || box.urgent.empty()) return false;
        job = std::move(box.urgent.front());
        box.urgent.pop_front();
    }
    job();
    return true;
}

bool CoreThreads::runHere(const MailboxPtr& box, const std::function<void()>& job, int more) {
    auto& worker = *workers_[box->thread];
    {
        std::lock_guard lock(worker.mutex);
        if (worker.stopped || box->scheduled || running_here != nullptr) return false;
        box->scheduled = true;
        ++worker.elsewhere;
    }
    running_here = &worker;
    job();
    while (more-- > 0 && runUrgent(worker, *box)) {
    }
    running_here = nullptr;
    decltype(box->urgent) dropped;
    decltype(box->normal) dropped_too;
    {
        std::lock_guard lock(worker.mutex);
        if (worker.stopped) {
            dropped = std::exchange(box->urgent, {});
            dropped_too = std::exchange(box->normal, {});
        }
        // With the lock: who stops the threads may end them as soon as it is free.
        if (done(worker, box)) worker.wake.notify_one();
        --worker.elsewhere;
        if (worker.stopped) worker.left.notify_all();
    }
    return true;
}

void CoreThreads::stop() {
    for (auto& worker : workers_) {
        {
            std::lock_guard lock(worker->mutex);
            worker->stopped = true;
        }
        worker->wake.notify_all();
        if (worker->thread.joinable()) worker->thread.join();
        std::unique_lock lock(worker->mutex);
        std::size_t own = running_here == worker.get() ? 1 : 0;
        worker->left.wait(lock, [&] { return worker->elsewhere <= own; });
        lock.unlock();
        // Jobs hold references to actors, which hold references to mailboxes: break the circles.
        for (auto& box : worker->ready) {
            box->urgent.clear();
            box->normal.clear();
        }
        worker->ready.clear();
    }
}

}  // namespace aegis::runner
