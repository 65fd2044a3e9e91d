#include "net/elastic_pool.h"

#include <pthread.h>

#include <condition_variable>
#include <deque>
#include <mutex>

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

    void loop() {
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
}

void* ElasticPool::threadMain(void* argument) {
    std::unique_ptr<std::shared_ptr<State>> state(static_cast<std::shared_ptr<State>*>(argument));
    (*state)->loop();
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
        ::pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
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
