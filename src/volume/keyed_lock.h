#pragma once

#include <condition_variable>
#include <mutex>
#include <set>

namespace aegis::volume {

/// Mutual exclusion per key. Safe on any thread; not recursive.
template <class Key>
class KeyedLock {
  public:
    class Guard {
      public:
        Guard() = default;
        Guard(KeyedLock* owner, Key key) : owner_(owner), key_(std::move(key)) {}
        Guard(Guard&& other) noexcept
            : owner_(std::exchange(other.owner_, nullptr)), key_(std::move(other.key_)) {}
        Guard& operator=(Guard&&) = delete;
        ~Guard() {
            if (owner_ != nullptr) owner_->release(key_);
        }
        explicit operator bool() const { return owner_ != nullptr; }

      private:
        KeyedLock* owner_ = nullptr;
        Key key_{};
    };

    Guard lock(const Key& key) {
        std::unique_lock lock(mutex_);
        freed_.wait(lock, [&] { return !held_.contains(key); });
        held_.insert(key);
        return Guard(this, key);
    }
    /// An empty guard when somebody has it.
    Guard tryLock(const Key& key) {
        std::lock_guard lock(mutex_);
        return held_.insert(key).second ? Guard(this, key) : Guard();
    }

  private:
    void release(const Key& key) {
        {
            std::lock_guard lock(mutex_);
            held_.erase(key);
        }
        freed_.notify_all();
    }

    std::mutex mutex_;
    std::condition_variable freed_;
    std::set<Key> held_;
};

}  // namespace aegis::volume
