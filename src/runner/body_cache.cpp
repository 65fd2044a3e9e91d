#include "runner/body_cache.h"

namespace aegis::runner {

void BodyCache::insert(const std::string& digest, Text text) {
    std::lock_guard lock(mutex_);
    if (index_.contains(digest) || text->size() > limit_) return;
    bytes_ += text->size();
    order_.emplace_front(digest, std::move(text));
    index_[digest] = order_.begin();
    while (bytes_ > limit_) {
        auto& oldest = order_.back();
        bytes_ -= oldest.second->size();
        index_.erase(oldest.first);
        order_.pop_back();
    }
}

void BodyCache::put(const ports::Body& body) { insert(body.ref.sha256, body.bytes); }

Result<BodyCache::Text> BodyCache::get(const ExecutionId& id, const execution::BodyRef& ref) {
    static const auto kEmpty = std::make_shared<const std::string>();
    if (ref.empty()) return kEmpty;
    {
        std::lock_guard lock(mutex_);
        auto it = index_.find(ref.sha256);
        if (it != index_.end()) {
            order_.splice(order_.begin(), order_, it->second);
            return it->second->second;
        }
    }
    AEGIS_TRY(std::string text, journal_.body(id, ref));
    auto shared = std::make_shared<const std::string>(std::move(text));
    insert(ref.sha256, shared);
    return shared;
}

}  // namespace aegis::runner
