#pragma once

#include <condition_variable>
#include <deque>
#include <map>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <thread>

#include "base/time.h"
#include "sandbox/process/template.h"

namespace aegis::sandbox {

/// How many sandboxes are kept ready.
struct WarmPool {
    std::size_t size = 2;                ///< of each image in use, and of each set of places
    std::int64_t max_idle_ms = 600'000;  ///< since an image's last use; 0: nothing is kept
    std::size_t max_size = 8;  ///< of a set of places of which another number is asked for
};

/// Stems kept ready, used once each, and the templates they come of: one per image that was used
/// lately. Their roots stand, with the places that were asked for lately: none, where they are
/// sandboxes already, or some, where nothing but the volumes is missing. Where those are too many
/// kinds there are bare ones too. With the limits that were asked for last. Made by a thread of its
/// own. Any thread.
class StemPool {
  public:
    StemPool(const TemplateContext& context, WarmPool options, std::string name);
    /// Ends everything that is not a sandbox yet. What came of the templates must be gone.
    ~StemPool();
    StemPool(const StemPool&) = delete;
    StemPool& operator=(const StemPool&) = delete;

    /// An image that will be used: its template is made now, if there are few.
    void expect(const ports::RootImage& image);
    struct Wish {
        Places places;
        StemLimits limits;        ///< what waits may have others
        std::optional<int> keep;  ///< of these places; none: `size`
    };
    /// One that waits, else a new one out of the image's template: blocks for some milliseconds, in
    /// which `meanwhile` is called, and as long as the template is under way. An error: not now;
    /// the sandbox must be made the long way. From the first call on for an image there is going to
    /// be a template.
    Result<Stem> take(const ports::RootImage& image, const Wish& wish, Deadline deadline,
                      const std::function<void()>& meanwhile);
    /// A stem's cgroup is gone.
    void released(const std::string& group);
    /// The cgroups of all that is there, and of the sandboxes that came of it.
    std::set<std::string> groups() const;
    /// The names of the run directories of those that stand. While the caller holds this, none is
    /// made.
    std::set<std::string> runs() const;
    std::unique_lock<std::mutex> holdStill() { return std::unique_lock(making_); }

  private:
    struct Shelf {
        std::deque<Stem> stems;
        std::size_t size = 0;
        StemLimits limits;
        BootTime asked;
    };
    using Shelves = std::map<Places, Shelf>;
    struct Entry {
        ports::RootImage image;
        std::shared_ptr<Template> origin;
        Shelves standing;
        std::optional<Shelf> bare;  ///< once there were too many kinds
        BootTime last_used;
        BootTime not_before;  ///< after a failure, when to try again
    };

    void keep();
    bool refill(std::unique_lock<std::mutex>& lock);
    bool refillOne(std::unique_lock<std::mutex>& lock, const std::string& digest);
    Entry& entryOf(const ports::RootImage& image);
    struct Missing {
        bool bare = false;
        Wish wish;
    };
    std::optional<Missing> missingOf(const Entry& entry) const;
    static Shelf* shelfOf(Entry& entry, const Missing& missing);
    Shelf& shelfFor(Entry& entry, const Wish& wish);
    Status makeOne(const ports::RootImage& image, const Missing& missing, const std::string& group,
                   std::shared_ptr<Template>& origin, std::optional<Stem>& stem);
    std::optional<Stem> takeReady(Entry& entry, Shelf& shelf);
    static void empty(Shelf& shelf, std::deque<Stem>& into);
    static void empty(Entry& entry, std::deque<Stem>& into);
    void dropIdleKinds(Entry& entry, BootTime at);
    std::deque<Entry> takeIdle(BootTime now);
    std::string newGroup(const char* kind);
    void dispose(Stem stem);

    const TemplateContext context_;
    const WarmPool options_;
    const std::string name_;
    std::mutex making_;         // before mutex_: held until what is made is where it belongs
    mutable std::mutex mutex_;  // of all below
    std::condition_variable wake_, made_;
    std::set<std::string> under_way_;       ///< images whose template is under way
    std::map<std::string, Entry> entries_;  // by digest
    std::deque<Stem> dead_;
    std::set<std::string> groups_;
    BootTime quiet_until_;  ///< whoever has just taken one shall not have to share the processor
    std::uint64_t count_ = 0;
    bool stopping_ = false;
    std::thread keeper_;
};

}  // namespace aegis::sandbox
