#include "store/sqlite/blob_stage.h"

namespace aegis::store {
namespace {

constexpr std::size_t kMaxStagedBytes = 512 << 20;

void refuse(Job& job, const Error& error) {
    job.bytes = 0;
    job.work = [error](Database&) -> Status { return error; };
}

std::size_t sizeOf(const std::vector<ports::Body>& bodies) {
    std::size_t bytes = 0;
    for (const auto& body : bodies)
        bytes += body.bytes->size();
    return bytes;
}

}  // namespace

BlobStage::BlobStage(BlobFiles& files, Writer& writer, Reserve& reserve, int threads)
    : files_(files), writer_(writer), reserve_(reserve) {
    for (int i = 0; i < threads; ++i)
        threads_.emplace_back([this] { loop(); });
}

BlobStage::~BlobStage() { stop(); }

void BlobStage::stop() {
    {
        std::lock_guard lock(mutex_);
        stopping_ = true;
    }
    wake_.notify_all();
    for (auto& thread : threads_)
        thread.join();
    threads_.clear();
}

void BlobStage::submit(const ExecutionId& id, std::vector<ports::Body> large, Job job) {
    std::unique_lock lock(mutex_);
    auto found = waiting_.find(id);
    if (found == waiting_.end() && large.empty()) {
        lock.unlock();
        writer_.submit(std::move(job));
        return;
    }
    std::size_t bytes = sizeOf(large);
    if (bytes_ + bytes > kMaxStagedBytes) {
        refuse(job, {ErrorCode::kUnavailable, "too much is waiting to be written"});
        large.clear();
        bytes = 0;
    }
    bytes_ += bytes;
    if (found == waiting_.end()) {
        found = waiting_.try_emplace(id).first;
        ready_.push_back(id);
    }
    found->second.push_back({std::move(large), std::move(job)});
    lock.unlock();
    wake_.notify_one();
}

void BlobStage::loop() {
    std::unique_lock lock(mutex_);
    while (true) {
        wake_.wait(lock, [&] { return stopping_ || !ready_.empty(); });
        if (ready_.empty()) return;
        ExecutionId id = ready_.front();
        ready_.pop_front();
        auto& queue = waiting_.at(id);
        Waiting waiting = std::move(queue.front());
        queue.pop_front();
        bytes_ -= sizeOf(waiting.large);
        lock.unlock();
        writeFiles(id, waiting);
        writer_.submit(std::move(waiting.job));
        lock.lock();
        // Only now: a batch that finds no entry goes to the writer directly, behind this one.
        if (waiting_.at(id).empty()) {
            waiting_.erase(id);
        } else {
            ready_.push_back(id);
            wake_.notify_one();
        }
    }
}

void BlobStage::writeFiles(const ExecutionId& id, Waiting& waiting) {
    if (waiting.large.empty()) return;
    Status status = waiting.job.needs_room ? reserve_.roomForNew() : Status();
    if (status) status = writeAll(id, waiting);
    if (!status && status.error().code == ErrorCode::kStorageFull) {
        if (waiting.job.needs_room) {
            status = storageFull();
        } else {
            reserve_.release();
            status = writeAll(id, waiting);
        }
    }
    if (status) return;
    if (isLostWrite(status.error())) writer_.fail(status.error());
    if (waiting.job.needs_room) (void)files_.removeAll(id);
    refuse(waiting.job, status.error());
}

Status BlobStage::writeAll(const ExecutionId& id, const Waiting& waiting) {
    for (const auto& body : waiting.large)
        AEGIS_CHECK(files_.write(id, body.ref.sha256, *body.bytes));
    return {};
}

}  // namespace aegis::store
