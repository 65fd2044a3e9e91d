#include "net/elastic_pool.h"

#include <pthread.h>

#include <condition_variable>
#include <deque>
#include <mutex>
#include <optional>
#include <utility>

namespace aegis::net {

struct ElasticPool::State {
    std::mutex mutex;
    std::condition_variable wake;
    std::condition_variable ended;
    std::deque<std::function<void()>> tasks;  ///< never more than there are idle threads
    std::size_t threads = 0;
    std::size_t idle = 0;
    std::size_t max_threads = 0;
    std::size_t max_idle = 0;
    bool stopping = false;
    std::optional<pthread_t> ended_last;  ///< to be joined by who ends next

    /// Returns whom to join: what a library does at a thread's end is done then, and one thread at
    /// the most waits for that.
    std::optional<pthread_t> loop() {
        std::unique_lock lock(mutex);
        while (true) {
            wake.wait(lock, [this] { return stopping || !tasks.empty(); });
            if (tasks.empty()) break;
            auto task = std::move(tasks.front());
            tasks.pop_front();
            --idle;
            lock.unlock();
            task();
            task = nullptr;
            lock.lock();
            ++idle;
            if (idle > max_idle + tasks.size()) break;
        }
        --idle;
        --threads;
        ended.notify_all();
        return std::exchange(ended_last, ::pthread_self());
    }
};

ElasticPool::ElasticPool(std::size_t max_threads, std::size_t max_idle, std::size_t stack_bytes)
    : stack_bytes_(stack_bytes), state_(std::make_shared<State>()) {
    state_->max_threads = max_threads;
    state_->max_idle = max_idle;
}

ElasticPool::~ElasticPool() {
    std::unique_lock lock(state_->mutex);
    state_->stopping = true;
    state_->wake.notify_all();
    state_->ended.wait(lock, [this] { return state_->threads == 0; });
    auto last = std::exchange(state_->ended_last, std::nullopt);
    lock.unlock();
    if (last) ::pthread_join(*last, nullptr);  // who has joined the one before, and so on
}

void* ElasticPool::threadMain(void* argument) {
    std::unique_ptr<std::shared_ptr<State>> state(static_cast<std::shared_ptr<State>*>(argument));
    if (auto before = (*state)->loop()) ::pthread_join(*before, nullptr);
    return nullptr;
}

bool ElasticPool::run(std::function<void()> task) {
    std::lock_guard lock(state_->mutex);
    if (state_->stopping) return false;
    if (state_->idle <= state_->tasks.size()) {
        if (state_->threads >= state_->max_threads) return false;
        pthread_attr_t attributes;
        ::pthread_attr_init(&attributes);
        ::pthread_attr_setstacksize(&attributes, stack_bytes_);
        auto argument = std::make_unique<std::shared_ptr<State>>(state_);
        pthread_t thread{};
        int rc = ::pthread_create(&thread, &attributes, threadMain, argument.get());
        ::pthread_attr_destroy(&attributes);
        if (rc != 0) return false;
        (void)argument.release();  // the thread's now
        ++state_->threads;
        ++state_->idle;
    }
    state_->tasks.push_back(std::move(task));
    state_->wake.notify_one();
    return true;
}

std::size_t ElasticPool::threads() const {
    std::lock_guard lock(state_->mutex);
    return state_->threads;
}

}  // namespace aegis::net
