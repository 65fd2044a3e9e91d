#include "sandbox/process/stem_pool.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <iterator>
#include <utility>

#include "base/log.h"
#include "os/clock.h"
#include "sandbox/common/ctl_channel.h"

namespace aegis::sandbox {
namespace {

constexpr std::int64_t kMakeMs = 10'000;
constexpr std::int64_t kRetryMs = 60'000;
constexpr std::int64_t kShortestLookMs = 100;
constexpr std::int64_t kLookMs = 5'000;
constexpr std::int64_t kKillMs = 5'000;
constexpr std::int64_t kQuietMs = 5;
constexpr std::int64_t kQuietForFreshMs = 30;
constexpr std::int64_t kPatienceMs = 5'000;
constexpr std::size_t kMostExpected = 4;
constexpr std::size_t kMostKinds = 4;  // of places, of one image
constexpr std::int64_t kNsPerMs = 1'000'000;

BootTime now() { return os::systemClock().boot(); }
Deadline inMs(std::int64_t ms) { return Deadline::in(now(), ms); }
BootTime after(BootTime time, std::int64_t ms) {
    time.ns += ms * kNsPerMs;
    return time;
}

}  // namespace

StemPool::StemPool(const TemplateContext& context, WarmPool options, std::string name)
    : context_(context), options_(options), name_(std::move(name)), keeper_([this] { keep(); }) {}

StemPool::~StemPool() {
    {
        std::lock_guard lock(mutex_);
        stopping_ = true;
    }
    wake_.notify_all();
    keeper_.join();
    for (auto& [digest, entry] : entries_)
        empty(entry, dead_);
    for (auto& stem : dead_)
        dispose(std::move(stem));
}

void StemPool::empty(Shelf& shelf, std::deque<Stem>& into) {
    std::ranges::move(std::exchange(shelf.stems, {}), std::back_inserter(into));
}

void StemPool::empty(Entry& entry, std::deque<Stem>& into) {
    for (auto& [places, shelf] : entry.standing)
        empty(shelf, into);
    if (entry.bare) empty(*entry.bare, into);
}

/// Holds the mutex.
StemPool::Entry& StemPool::entryOf(const ports::RootImage& image) {
    auto& entry = entries_[image.digest];
    if (entry.image.digest.empty()) entry.image = image;
    entry.last_used = now();
    return entry;
}

/// Holds the mutex. The kind that was asked for least lately makes room for a new one.
StemPool::Shelf& StemPool::shelfFor(Entry& entry, const Wish& wish) {
    auto& shelves = entry.standing;
    if (shelves.size() >= kMostKinds && !shelves.contains(wish.places)) {
        auto oldest = std::ranges::min_element(shelves, {},
                                               [](const auto& one) { return one.second.asked.ns; });
        empty(oldest->second, dead_);
        shelves.erase(oldest);
        if (!entry.bare) entry.bare.emplace();
    }
    auto& shelf = shelves[wish.places];
    for (auto* asked : {&shelf, entry.bare ? &*entry.bare : &shelf}) {
        asked->limits = wish.limits;
        asked->asked = entry.last_used;
        asked->size = options_.size;
    }
    if (wish.keep) shelf.size = std::min(static_cast<std::size_t>(*wish.keep), options_.max_size);
    return shelf;
}

void StemPool::expect(const ports::RootImage& image) {
    if (options_.max_idle_ms == 0) return;
    std::lock_guard lock(mutex_);
    if (entries_.size() >= kMostExpected && !entries_.contains(image.digest)) return;
    entryOf(image);
    wake_.notify_all();
}

Result<Stem> StemPool::take(const ports::RootImage& image, const Wish& wish, Deadline deadline,
                            const std::function<void()>& meanwhile) {
    const Error none(ErrorCode::kUnsupported, "there is no template of this image");
    if (options_.max_idle_ms == 0) return none;
    deadline = deadline.earlier(inMs(kMakeMs));
    std::shared_ptr<Template> origin;
    std::string group;
    {
        std::unique_lock lock(mutex_);
        // It is further on than a fresh sandbox would be.
        made_.wait_for(lock,
                       std::chrono::milliseconds(deadline.earlier(inMs(kPatienceMs)).leftMs(now())),
                       [&] { return !under_way_.contains(image.digest); });
        auto& entry = entryOf(image);
        quiet_until_ = after(entry.last_used, entry.origin ? kQuietMs : kQuietForFreshMs);
        auto& shelf = shelfFor(entry, wish);
        wake_.notify_all();
        if (auto stem = takeReady(entry, shelf)) return std::move(*stem);
        if (entry.bare)
            if (auto stem = takeReady(entry, *entry.bare)) return std::move(*stem);
        if (!entry.origin) return none;
        origin = entry.origin;
        group = newGroup("stem");
    }
    auto made = origin->makeStem(group, wish.limits.group, deadline, meanwhile);
    if (!made) {
        log(LogLevel::kDebug, "a template is given up",
            {{"image", image.digest}, {"error", made.error().message}});
        std::lock_guard lock(mutex_);
        groups_.erase(group);
        auto& entry = entries_[image.digest];
        if (entry.origin == origin) entry.origin.reset();
    }
    return made;
}

/// Holds the mutex.
std::optional<Stem> StemPool::takeReady(Entry& entry, Shelf& shelf) {
    while (!shelf.stems.empty()) {
        auto stem = std::move(shelf.stems.front());
        shelf.stems.pop_front();
        if (!hasEnded(stem.pidfd)) return stem;
        // Its template has died, and all the others with it.
        entry.origin.reset();
        dead_.push_back(std::move(stem));
    }
    return std::nullopt;
}

std::set<std::string> StemPool::runs() const {
    std::lock_guard lock(mutex_);
    std::set<std::string> out;
    for (const auto& [digest, entry] : entries_)
        for (const auto& [places, shelf] : entry.standing)
            for (const auto& stem : shelf.stems)
                out.insert(stem.standing->run.dir->name);
    return out;
}

void StemPool::released(const std::string& group) {
    std::lock_guard lock(mutex_);
    groups_.erase(group);
}

std::set<std::string> StemPool::groups() const {
    std::lock_guard lock(mutex_);
    return groups_;
}

std::string StemPool::newGroup(const char* kind) {
    auto group = fmt::format("{}-{}-{}", kind, name_, ++count_);
    groups_.insert(group);
    return group;
}

void StemPool::dispose(Stem stem) {
    (void)killProcess(stem.pidfd);
    if (const auto gone = context_.cgroups.destroy(stem.group, inMs(kKillMs)); !gone)
        log(LogLevel::kWarn, "a stem's remains are left for the next start",
            {{"group", stem.group}, {"error", gone.error().message}});
    if (stem.standing) {
        stem.standing->run.guest_listener.reset();
        (void)RunDirs::remove(*stem.standing->run.dir);
    }
    released(stem.group);
}

void StemPool::keep() {
    std::unique_lock lock(mutex_);
    while (!stopping_) {
        if (const auto left = Deadline{quiet_until_}.leftMs(now()); left > 0) {
            wake_.wait_for(lock, std::chrono::milliseconds(left));
            continue;
        }
        if (refill(lock)) continue;
        auto idle = takeIdle(now());
        auto dead = std::exchange(dead_, {});
        if (!idle.empty() || !dead.empty()) {
            lock.unlock();
            for (auto& entry : idle)
                empty(entry, dead);
            for (auto& stem : dead)
                dispose(std::move(stem));
            // With their templates, unless sandboxes of them still run.
            dead.clear();
            idle.clear();
            lock.lock();
            continue;
        }
        wake_.wait_for(lock, std::chrono::milliseconds(
                                 std::clamp(options_.max_idle_ms, kShortestLookMs, kLookMs)));
    }
}

/// Holds the mutex.
void StemPool::dropIdleKinds(Entry& entry, BootTime at) {
    auto& shelves = entry.standing;
    for (auto it = shelves.begin(); it != shelves.end();) {
        const bool idle = at >= after(it->second.asked, options_.max_idle_ms);
        if (idle) empty(it->second, dead_);
        it = idle ? shelves.erase(it) : std::next(it);
    }
}

/// Entries that nobody used for long. Of others, the kinds that nobody asked for go to the dead.
std::deque<StemPool::Entry> StemPool::takeIdle(BootTime at) {
    std::deque<Entry> out;
    for (auto it = entries_.begin(); it != entries_.end();) {
        if (at < after(it->second.last_used, options_.max_idle_ms)) {
            dropIdleKinds(it->second, at);
            ++it;
            continue;
        }
        out.push_back(std::move(it->second));
        it = entries_.erase(it);
    }
    return out;
}

/// Holds the mutex. What is to be made next.
std::optional<StemPool::Missing> StemPool::missingOf(const Entry& entry) const {
    for (const auto& [places, shelf] : entry.standing)
        if (shelf.stems.size() < shelf.size) return Missing{false, {places, shelf.limits, {}}};
    if (entry.bare && entry.bare->stems.size() < entry.bare->size)
        return Missing{true, {{}, entry.bare->limits, {}}};
    return std::nullopt;
}

/// Holds the mutex. Null: nobody wants it any more.
StemPool::Shelf* StemPool::shelfOf(Entry& entry, const Missing& missing) {
    if (missing.bare) return entry.bare ? &*entry.bare : nullptr;
    const auto at = entry.standing.find(missing.wish.places);
    return at == entry.standing.end() ? nullptr : &at->second;
}

/// Makes one thing that is missing; false when nothing is.
bool StemPool::refill(std::unique_lock<std::mutex>& lock) {
    for (const auto& [digest, entry] : entries_) {
        if (entry.origin && !missingOf(entry)) continue;
        if (now() < entry.not_before) continue;
        const auto wanted = digest;
        return refillOne(lock, wanted);
    }
    return false;
}

bool StemPool::refillOne(std::unique_lock<std::mutex>& lock, const std::string& digest) {
    const auto& before = entries_[digest];
    const auto image = before.image;
    auto origin = before.origin;
    const auto missing = missingOf(before).value_or(Missing{});
    const auto group = newGroup(origin ? "stem" : "template");
    if (!origin) under_way_.insert(digest);
    lock.unlock();
    const auto still = holdStill();
    std::optional<Stem> stem;
    const auto made = makeOne(image, missing, group, origin, stem);
    lock.lock();
    under_way_.erase(digest);
    made_.notify_all();
    auto& entry = entries_[digest];
    if (!made) {
        log(LogLevel::kDebug, "sandboxes of an image are made without a template",
            {{"image", digest}, {"error", made.error().message}});
        groups_.erase(group);
        entry.origin.reset();
        entry.not_before = after(now(), kRetryMs);
        return true;
    }
    entry.origin = origin;
    if (!stem) return true;
    auto* shelf = shelfOf(entry, missing);
    (shelf != nullptr ? shelf->stems : dead_).push_back(std::move(*stem));
    return true;
}

/// The template, or a stem of the one there is. Without the mutex.
Status StemPool::makeOne(const ports::RootImage& image, const Missing& missing,
                         const std::string& group, std::shared_ptr<Template>& origin,
                         std::optional<Stem>& stem) {
    const auto& places = missing.wish.places;
    const auto& limits = missing.wish.limits;
    if (!origin) {
        AEGIS_TRY(origin, Template::start(context_, image, group, inMs(kMakeMs)));
        return {};
    }
    AEGIS_TRY(stem, origin->makeStem(group, limits.group, inMs(kMakeMs)));
    if (missing.bare) return {};
    auto standing = standUp(context_, *stem, {limits.tmp_bytes, places}, inMs(kMakeMs));
    if (!standing) {
        dispose(std::move(*stem));
        stem.reset();
        return std::move(standing.error());
    }
    stem->standing = std::move(*standing);
    return {};
}

}  // namespace aegis::sandbox
