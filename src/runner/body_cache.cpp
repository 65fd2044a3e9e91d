#include "runner/body_cache.h"

namespace aegis::runner {
namespace {
/// What a text takes besides itself: its digest twice, three nodes.
constexpr std::size_t kEntryBytes = 512;
}  // namespace

void BodyCache::insert(const std::string& digest, Text text) {
    std::lock_guard lock(mutex_);
    auto bytes = text->size() + kEntryBytes;
    if (bytes > limit_ || index_.contains(digest)) return;
    bytes_ += bytes;
    order_.emplace_front(digest, std::move(text));
    index_[digest] = order_.begin();
    while (bytes_ > limit_) {
        auto& oldest = order_.back();
        bytes_ -= oldest.second->size() + kEntryBytes;
        index_.erase(oldest.first);
        order_.pop_back();
    }
}

void BodyCache::put(const ports::Body& body) { insert(body.ref.sha256, body.bytes); }

std::optional<BodyCache::Text> BodyCache::cached(const execution::BodyRef& ref) {
    static const auto kEmpty = std::make_shared<const std::string>();
    if (ref.empty()) return kEmpty;
    std::lock_guard lock(mutex_);
    auto it = index_.find(ref.sha256);
    if (it == index_.end()) return std::nullopt;
    order_.splice(order_.begin(), order_, it->second);
    return it->second->second;
}

Result<BodyCache::Text> BodyCache::get(const ExecutionId& id, const execution::BodyRef& ref) {
    if (auto text = cached(ref)) return std::move(*text);
    AEGIS_TRY(std::string text, journal_.body(id, ref));
    auto shared = std::make_shared<const std::string>(std::move(text));
    insert(ref.sha256, shared);
    return shared;
}

}  // namespace aegis::runner
