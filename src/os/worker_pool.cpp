#include "os/worker_pool.h"

#include <utility>

namespace aegis::os {

WorkerPool::WorkerPool(std::size_t threads, std::size_t max_queue, std::function<void()> on_start)
    : max_queue_(max_queue), on_start_(std::move(on_start)) {
    for (std::size_t i = 0; i < threads; ++i)
        threads_.emplace_back([this] { loop(); });
}

WorkerPool::~WorkerPool() { end(false); }

void WorkerPool::stop() { end(true); }

void WorkerPool::end(bool drop) {
    decltype(queue_) dropped;
    {
        std::lock_guard lock(mutex_);
        stopping_ = true;
        if (drop) dropped = std::exchange(queue_, {});
    }
    wake_.notify_all();
    for (auto& thread : threads_) {
        if (thread.joinable()) thread.join();
    }
}

bool WorkerPool::submit(std::function<void()> job) {
    {
        std::lock_guard lock(mutex_);
        if (stopping_ || queue_.size() >= max_queue_) return false;
        queue_.push_back(std::move(job));
    }
    wake_.notify_one();
    return true;
}

void WorkerPool::loop() {
    if (on_start_) on_start_();
    while (true) {
        std::function<void()> job;
        {
            std::unique_lock lock(mutex_);
            wake_.wait(lock, [this] { return stopping_ || !queue_.empty(); });
            if (queue_.empty()) return;
            job = std::move(queue_.front());
            queue_.pop_front();
        }
        job();
    }
}

}  // namespace aegis::os
