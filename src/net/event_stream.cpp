#include "net/event_stream.h"

#include <fmt/format.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <climits>
#include <deque>
#include <mutex>
#include <optional>
#include <thread>
#include <unordered_map>
#include <vector>

#include "base/assert.h"
#include "os/clock.h"
#include "os/socket.h"
#include "wire/http1.h"

namespace aegis::net {
namespace {

constexpr std::uint64_t kWakeKey = 0;
constexpr std::uint32_t kWatched = EPOLLRDHUP;
constexpr std::size_t kPiecesPerWrite = 16;
constexpr int kWritesPerTurn = 8;
constexpr std::string_view kCrLf = "\r\n";

BootTime now() { return os::systemClock().boot(); }
BootTime after(BootTime t, std::int64_t ms) { return {t.ns + ms * 1'000'000}; }

/// A piece with what the transfer coding puts around it.
struct Item {
    std::string before;
    std::shared_ptr<const std::string> piece;  ///< shared by all watchers
    std::string_view behind;

    std::size_t size() const { return before.size() + piece->size() + behind.size(); }
};

}  // namespace

class StreamHub::Impl {
  public:
    ~Impl() {
        stopping_ = true;
        wake_.signal();
        if (thread_.joinable()) thread_.join();
    }

    Status start() {
        AEGIS_CHECK(epoll_.add(wake_.fd(), EPOLLIN, kWakeKey));
        thread_ = std::thread([this] { loop(); });
        return {};
    }

    StreamId add(os::Fd socket, StreamOptions options) {
        std::lock_guard lock(mutex_);
        auto id = next_id_++;
        auto& stream = streams_[id];
        stream.id = id;
        stream.socket = std::move(socket);
        stream.heartbeat = std::make_shared<const std::string>(options.heartbeat);
        stream.options = std::move(options);
        stream.last_sent = stream.last_progress = now();
        if (!epoll_.add(stream.socket.get(), kWatched, id)) stream.ending = StreamEnd::kGone;
        touch(stream);
        return id;
    }

    bool push(StreamId id, std::shared_ptr<const std::string> piece) {
        AEGIS_ASSERT(piece != nullptr && !piece->empty());
        std::lock_guard lock(mutex_);
        auto* stream = find(id);
        if (stream == nullptr || stream->finishing || stream->ending) return false;
        if (stream->queued_bytes + piece->size() > stream->options.queue_limit_bytes) {
            stream->ending = StreamEnd::kTooSlow;
        } else {
            enqueue(*stream, std::move(piece));
        }
        touch(*stream);
        return !stream->ending;
    }

    void finish(StreamId id) {
        std::lock_guard lock(mutex_);
        auto* stream = find(id);
        if (stream == nullptr || stream->finishing) return;
        stream->finishing = true;
        if (stream->options.chunked) append(*stream, {std::string(wire::kLastChunk), empty_, {}});
        touch(*stream);
    }

    void close(StreamId id) {
        std::lock_guard lock(mutex_);
        auto* stream = find(id);
        if (stream == nullptr) return;
        if (!stream->ending) stream->ending = StreamEnd::kShutdown;
        touch(*stream);
    }

    std::size_t size() const {
        std::lock_guard lock(mutex_);
        return streams_.size();
    }

  private:
    struct Stream {
        StreamId id = 0;
        os::Fd socket;
        StreamOptions options;
        std::shared_ptr<const std::string> heartbeat;  ///< queued like any other piece
        std::deque<Item> queue;
        std::size_t queued_bytes = 0;
        std::size_t offset = 0;  ///< of the first item, sent already
        BootTime last_sent;
        BootTime last_progress;
        bool waiting = false;  ///< for EPOLLOUT
        bool dirty = false;
        bool finishing = false;
        std::optional<StreamEnd> ending;
    };

    Stream* find(StreamId id) {
        auto found = streams_.find(id);
        return found == streams_.end() ? nullptr : &found->second;
    }

    void touch(Stream& stream) {
        if (stream.dirty) return;
        stream.dirty = true;
        if (dirty_.empty()) wake_.signal();
        dirty_.push_back(stream.id);
    }

    void append(Stream& stream, Item item) {
        if (stream.queue.empty()) stream.last_progress = now();
        stream.queued_bytes += item.size();
        stream.queue.push_back(std::move(item));
    }

    void enqueue(Stream& stream, std::shared_ptr<const std::string> piece) {
        if (!stream.options.chunked) return append(stream, {{}, std::move(piece), {}});
        auto size_line = fmt::format("{:x}\r\n", piece->size());
        append(stream, {std::move(size_line), std::move(piece), kCrLf});
    }

    void loop() {
        std::array<os::EpollEvent, 64> events;
        while (!stopping_) {
            auto n = epoll_.wait(events, waitMs());
            wake_.drain();
            for (std::size_t i = 0; i < n; ++i)
                if (events[i].key != kWakeKey) onEvent(events[i]);
            for (auto id : takeDirty())
                serve(id);
            if (now() >= next_scan_) scan();
        }
        for (auto id : allIds())
            end(id, StreamEnd::kShutdown);
    }

    int waitMs() {
        std::lock_guard lock(mutex_);
        if (!dirty_.empty()) return 0;
        auto left_ms = Deadline{next_scan_}.leftMs(now());
        return static_cast<int>(std::min<std::int64_t>(left_ms, 60'000));
    }

    std::vector<StreamId> takeDirty() {
        std::lock_guard lock(mutex_);
        for (auto id : dirty_) {
            auto* stream = find(id);
            if (stream == nullptr) continue;
            stream->dirty = false;
            next_scan_ = std::min(next_scan_, dueTime(*stream));
        }
        return std::exchange(dirty_, {});
    }

    std::vector<StreamId> allIds() const {
        std::lock_guard lock(mutex_);
        std::vector<StreamId> ids;
        for (const auto& [id, stream] : streams_)
            ids.push_back(id);
        return ids;
    }

    void onEvent(const os::EpollEvent& event) {
        std::lock_guard lock(mutex_);
        auto* stream = find(event.key);
        if (stream == nullptr) return;
        if ((event.events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0 && !stream->ending)
            stream->ending = StreamEnd::kGone;
        touch(*stream);
    }

    /// Writes what the socket takes, and ends the stream if it is over.
    void serve(StreamId id) {
        for (int turn = 0; turn < kWritesPerTurn; ++turn) {
            std::array<iovec, kPiecesPerWrite * 3> parts;
            msghdr message{};
            message.msg_iov = parts.data();
            int fd = -1;
            {
                std::unique_lock lock(mutex_);
                auto* stream = find(id);
                if (stream == nullptr) return;
                if (!stream->ending && stream->finishing && stream->queue.empty())
                    stream->ending = StreamEnd::kFinished;
                if (stream->ending) {
                    auto why = *stream->ending;
                    lock.unlock();
                    return end(id, why);
                }
                message.msg_iovlen = gather(*stream, parts);
                if (message.msg_iovlen == 0) return;
                fd = stream->socket.get();
            }
            // Without the lock: items and socket go away on this thread only.
            auto n = ::sendmsg(fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
            if (!onSent(id, n, errno)) return;
        }
        std::lock_guard lock(mutex_);
        if (auto* stream = find(id)) touch(*stream);
    }

    static std::size_t gather(Stream& stream, std::array<iovec, kPiecesPerWrite * 3>& parts) {
        std::size_t count = 0;
        std::size_t skip = stream.offset;
        auto put = [&](std::string_view bytes) {
            auto skipped = std::min(skip, bytes.size());
            skip -= skipped;
            bytes.remove_prefix(skipped);
            if (bytes.empty()) return;
            parts[count++] = {const_cast<char*>(bytes.data()), bytes.size()};
        };
        for (std::size_t i = 0; i < std::min(stream.queue.size(), kPiecesPerWrite); ++i) {
            const auto& item = stream.queue[i];
            put(item.before);
            put(*item.piece);
            put(item.behind);
        }
        return count;
    }

    /// False if there is nothing more to write for the moment.
    bool onSent(StreamId id, ssize_t n, int err) {
        std::lock_guard lock(mutex_);
        auto* stream = find(id);
        if (stream == nullptr) return false;
        if (n < 0 && err == EINTR) return true;
        if (n < 0 && err != EAGAIN) {
            if (!stream->ending) stream->ending = StreamEnd::kGone;
            touch(*stream);
            return false;
        }
        watchWritable(*stream, n < 0);
        if (n < 0) return false;
        stream->last_sent = stream->last_progress = now();
        stream->queued_bytes -= static_cast<std::size_t>(n);
        stream->offset += static_cast<std::size_t>(n);
        while (!stream->queue.empty() && stream->offset >= stream->queue.front().size()) {
            stream->offset -= stream->queue.front().size();
            stream->queue.pop_front();
        }
        next_scan_ = std::min(next_scan_, dueTime(*stream));
        return true;
    }

    void watchWritable(Stream& stream, bool wanted) {
        if (stream.waiting == wanted) return;
        stream.waiting = wanted;
        (void)epoll_.modify(stream.socket.get(), wanted ? kWatched | EPOLLOUT : kWatched,
                            stream.id);
    }

    BootTime dueTime(const Stream& stream) const {
        if (!stream.queue.empty()) return after(stream.last_progress, stream.options.progress_ms);
        if (stream.heartbeat->empty()) return Deadline::never().at;
        return after(stream.last_sent, stream.options.heartbeat_ms);
    }

    /// Heartbeats where it is quiet, an end where nothing moves.
    void scan() {
        std::lock_guard lock(mutex_);
        auto time = now();
        next_scan_ = Deadline::never().at;
        for (auto& [id, stream] : streams_) {
            if (dueTime(stream) <= time && !stream.ending && !stream.finishing &&
                stream.queue.empty()) {
                enqueue(stream, stream.heartbeat);
                touch(stream);
            } else if (dueTime(stream) <= time && !stream.ending) {
                stream.ending = StreamEnd::kTooSlow;
                touch(stream);
            }
            if (!stream.ending) next_scan_ = std::min(next_scan_, dueTime(stream));
        }
    }

    void end(StreamId id, StreamEnd why) {
        std::optional<Stream> ended;
        {
            std::lock_guard lock(mutex_);
            auto found = streams_.find(id);
            if (found == streams_.end()) return;
            epoll_.remove(found->second.socket.get());
            ended = std::move(found->second);
            streams_.erase(found);
        }
        if (why == StreamEnd::kFinished) {
            // Unread input would turn the close into a reset, which can overtake the last bytes.
            std::array<char, 4096> unread;
            ::shutdown(ended->socket.get(), SHUT_WR);
            while (::recv(ended->socket.get(), unread.data(), unread.size(), MSG_DONTWAIT) > 0) {
            }
        }
        ended->socket.reset();
        if (ended->options.on_closed) ended->options.on_closed(id, why);
    }

    os::Epoll epoll_;
    os::EventFd wake_;
    const std::shared_ptr<const std::string> empty_ = std::make_shared<const std::string>();
    mutable std::mutex mutex_;
    std::unordered_map<StreamId, Stream> streams_;
    std::vector<StreamId> dirty_;
    StreamId next_id_ = kWakeKey + 1;
    BootTime next_scan_ = Deadline::never().at;  ///< the hub's thread only
    std::atomic<bool> stopping_ = false;
    std::thread thread_;
};

StreamHub::StreamHub(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
StreamHub::~StreamHub() = default;

Result<std::unique_ptr<StreamHub>> StreamHub::create() {
    auto impl = std::make_unique<Impl>();
    AEGIS_CHECK(impl->start());
    return std::unique_ptr<StreamHub>(new StreamHub(std::move(impl)));
}

StreamId StreamHub::add(os::Fd socket, StreamOptions options) {
    return impl_->add(std::move(socket), std::move(options));
}
bool StreamHub::push(StreamId id, std::shared_ptr<const std::string> piece) {
    return impl_->push(id, std::move(piece));
}
void StreamHub::finish(StreamId id) { impl_->finish(id); }
void StreamHub::close(StreamId id) { impl_->close(id); }
std::size_t StreamHub::size() const { return impl_->size(); }

}  // namespace aegis::net
