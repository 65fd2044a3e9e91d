#pragma once

#include <algorithm>
#include <condition_variable>
#include <deque>
#include <functional>
#include <iterator>
#include <map>
#include <mutex>
#include <optional>
#include <utility>

#include "base/result.h"
#include "base/time.h"
#include "os/clock.h"
#include "os/worker_pool.h"

namespace aegis::os {

struct StockLimits {
    std::size_t each = 0;      ///< this many of a kind; 0: none are ever made
    std::size_t kinds = 1;     ///< beyond that the one asked for least lately goes
    std::int64_t idle_ms = 0;  ///< a kind that is not asked for so long goes at expire()
};

/// Things that take long to make, made ahead by a thread of its own, for one user each. Every call
/// is safe on any thread; `discard` is called on the caller's or the making thread, never with a
/// lock held. After stop(), or the destructor, nothing is left of it.
template <class Kind, class Thing>
class Stock {
  public:
    struct Trade {
        std::function<Result<Thing>(const Kind&)> make;  ///< logs its failures
        std::function<void(Thing)> discard;
        std::function<bool(const Thing&)> usable;  ///< whether one that has waited still is
    };

    Stock(StockLimits limits, Trade trade)
        : limits_(limits), trade_(std::move(trade)), pool_(1, kMaxQueue) {}
    ~Stock() { stop(); }
    Stock(const Stock&) = delete;
    Stock& operator=(const Stock&) = delete;

    /// One of this kind, if there is one.
    std::optional<Thing> take(const Kind& kind) {
        std::deque<Thing> spoilt;
        std::optional<Thing> taken;
        {
            std::lock_guard lock(mutex_);
            auto shelf = shelves_.find(kind);
            if (shelf == shelves_.end()) return std::nullopt;
            shelf->second.asked = systemClock().boot();
            auto& things = shelf->second.things;
            while (!things.empty() && !taken) {
                if (trade_.usable(things.front()))
                    taken = std::move(things.front());
                else
                    spoilt.push_back(std::move(things.front()));
                things.pop_front();
            }
        }
        discardAll(std::move(spoilt));
        return taken;
    }

    /// How many there are, of all kinds.
    std::size_t size() {
        std::lock_guard lock(mutex_);
        std::size_t sum = 0;
        for (const auto& [kind, shelf] : shelves_)
            sum += shelf.things.size();
        return sum;
    }

    /// Has made what is missing of this kind, for those who come next. Does not wait for it. `each`
    /// takes the place of the limit.
    void restock(const Kind& kind, std::optional<std::size_t> each = {}) {
        const auto wanted = each.value_or(limits_.each);
        std::deque<Thing> evicted;
        {
            std::lock_guard lock(mutex_);
            if (stopped_ || wanted == 0) return;
            if (!shelves_.contains(kind) && shelves_.size() >= limits_.kinds)
                evicted = removeOldest();
            auto& shelf = shelves_[kind];
            shelf.asked = systemClock().boot();
            while (shelf.things.size() + shelf.making < wanted &&
                   pool_.submit([this, kind] { makeOne(kind); }))
                ++shelf.making;
        }
        discardAll(std::move(evicted));
    }

    /// Throws away what is spoilt or has not been asked for; to be called now and then.
    void expire() {
        const auto now = systemClock().boot();
        std::deque<Thing> gone;
        {
            std::lock_guard lock(mutex_);
            for (auto shelf = shelves_.begin(); shelf != shelves_.end();) {
                auto& things = shelf->second.things;
                const bool idle = now.ns - shelf->second.asked.ns >= limits_.idle_ms * 1'000'000;
                auto kept = std::stable_partition(
                    things.begin(), things.end(),
                    [&](const Thing& thing) { return !idle && trade_.usable(thing); });
                std::move(kept, things.end(), std::back_inserter(gone));
                things.erase(kept, things.end());
                shelf = idle ? shelves_.erase(shelf) : std::next(shelf);
            }
        }
        discardAll(std::move(gone));
    }

    /// Throws all away, and waits for what is being made. What is asked for later is made.
    void clear() {
        std::map<Kind, Shelf> all;
        {
            std::unique_lock lock(mutex_);
            all.swap(shelves_);
            idle_.wait(lock, [this] { return !busy_; });
        }
        for (auto& [kind, shelf] : all)
            discardAll(std::move(shelf.things));
    }

    /// Throws all away and makes no more; waits for what is being made. Repeatable.
    void stop() {
        {
            std::lock_guard lock(mutex_);
            stopped_ = true;
        }
        pool_.stop();
        clear();
    }

  private:
    static constexpr std::size_t kMaxQueue = 1024;
    struct Shelf {
        std::deque<Thing> things;
        std::size_t making = 0;
        BootTime asked;
    };

    void makeOne(const Kind& kind) {
        {
            std::lock_guard lock(mutex_);
            if (stopped_ || !shelves_.contains(kind)) return;
            busy_ = true;
        }
        // A failure is not tried again before somebody asks again.
        auto made = trade_.make(kind);
        std::deque<Thing> unwanted;
        {
            std::lock_guard lock(mutex_);
            auto shelf = shelves_.find(kind);
            const bool wanted = !stopped_ && shelf != shelves_.end();
            // The shelf may be another one than that which asked.
            if (wanted && shelf->second.making > 0) --shelf->second.making;
            if (made) (wanted ? shelf->second.things : unwanted).push_back(std::move(*made));
        }
        discardAll(std::move(unwanted));
        {
            std::lock_guard lock(mutex_);
            busy_ = false;
        }
        idle_.notify_all();
    }

    std::deque<Thing> removeOldest() {
        auto oldest = std::min_element(
            shelves_.begin(), shelves_.end(),
            [](const auto& a, const auto& b) { return a.second.asked < b.second.asked; });
        auto things = std::move(oldest->second.things);
        shelves_.erase(oldest);
        return things;
    }

    void discardAll(std::deque<Thing> things) {
        for (auto& thing : things)
            trade_.discard(std::move(thing));
    }

    const StockLimits limits_;
    const Trade trade_;
    std::mutex mutex_;
    std::map<Kind, Shelf> shelves_;
    bool stopped_ = false;
    bool busy_ = false;  ///< something is being made
    std::condition_variable idle_;
    WorkerPool pool_;  ///< last: its thread uses all of the above
};

}  // namespace aegis::os
