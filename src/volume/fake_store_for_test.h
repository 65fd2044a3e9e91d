#pragma once

#include <atomic>
#include <deque>
#include <functional>
#include <map>
#include <mutex>

#include "ports/volumes.h"

namespace aegis::volume {

/// VolumeStore in memory; can be told to refuse writes.
class FakeVolumeStore : public ports::VolumeStore {
  public:
    Status put(const ports::VolumeRecord& record) override {
        writeWaiting();
        return write(record);
    }
    Result<ports::VolumeRecord> get(const VolumeId& id) override {
        std::lock_guard lock(mutex_);
        auto at = rows_.find(id);
        if (at == rows_.end()) return {ErrorCode::kNotFound, "no such volume"};
        return at->second;
    }
    Result<std::vector<ports::VolumeRecord>> list() override {
        std::lock_guard lock(mutex_);
        std::vector<ports::VolumeRecord> all;
        for (const auto& [id, record] : rows_)
            all.push_back(record);
        return all;
    }
    Result<std::optional<ports::VolumeRecord>> persistent(const AgentId& agent,
                                                          const std::string& name) override {
        std::lock_guard lock(mutex_);
        for (const auto& [id, record] : rows_)
            if (record.storage_class == "persistent" && record.agent_id == agent &&
                record.name == name)
                return std::optional(record);
        return std::nullopt;
    }
    Status erase(const VolumeId& id) override {
        writeWaiting();
        std::lock_guard lock(mutex_);
        rows_.erase(id);
        return {};
    }
    void putSoon(const ports::VolumeRecord& record,
                 std::function<void(const Status&)> done) override {
        soon([this, record, done = std::move(done)] { done(write(record)); });
    }
    void eraseSoon(const VolumeId& id) override {
        soon([this, id] {
            std::lock_guard lock(mutex_);
            rows_.erase(id);
        });
    }
    /// What was to be written soon is.
    void writeWaiting() {
        std::deque<std::function<void()>> waiting;
        {
            std::lock_guard lock(mutex_);
            waiting.swap(waiting_);
        }
        for (auto& job : waiting)
            job();
    }

    /// As if the daemon had died before.
    void forgetWaiting() {
        std::lock_guard lock(mutex_);
        waiting_.clear();
    }

    std::atomic<bool> refuse = false;
    std::atomic<bool> slow = false;  ///< what is to be written soon waits for the next that is not
    std::atomic<int> puts = 0;

  private:
    void soon(std::function<void()> job) {
        {
            std::lock_guard lock(mutex_);
            waiting_.push_back(std::move(job));
        }
        if (!slow) writeWaiting();
    }
    Status write(const ports::VolumeRecord& record) {
        std::lock_guard lock(mutex_);
        ++puts;
        if (refuse) return {ErrorCode::kStorageFull, "the store is full"};
        rows_[record.id] = record;
        return {};
    }

    std::mutex mutex_;
    std::deque<std::function<void()>> waiting_;
    std::map<VolumeId, ports::VolumeRecord> rows_;
};

}  // namespace aegis::volume
