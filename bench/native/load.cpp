// Sends requests at a rate, whether or not the answers come, and tells how long they took, counted
// from when each was due.
//
//     bench_load RATE SECONDS <TARGETS        RATE 0: as fast as the connections allow
//
// A line of TARGETS is one connection: ADDRESS, path, body, parted by tabs; twelve @ in the body
// become a number that is never used twice. Prints JSON: times in ms to the first "Hello" and to
// the end of the answer.

#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <iostream>
#include <string>
#include <vector>

#include "http.h"

namespace aegis::bench {
namespace {

constexpr std::string_view kMark = "@@@@@@@@@@@@";
constexpr std::int64_t kSecond = 1'000'000'000;
constexpr std::int64_t kPatienceNs = 20 * kSecond;

struct Connection {
    int fd = -1;
    std::string request;
    std::size_t mark = 0;
    std::string buffer;
    std::int64_t due = 0;
    bool first = false;
};

class Load {
  public:
    Load(double rate, double seconds)
        : rate_(rate), length_(static_cast<std::int64_t>(seconds * kSecond)) {}
    void connect();
    void run();
    void report();

  private:
    void send(std::size_t at, std::int64_t due);
    void sendDue(std::int64_t now);
    void read(std::size_t at);
    void wait(std::int64_t until);

    double rate_;
    std::int64_t length_, start_ = 0, end_ = 0, number_ = 0, sent_ = 0, failed_ = 0;
    int epoll_ = ::epoll_create1(EPOLL_CLOEXEC);
    std::vector<Connection> connections_;
    std::deque<std::size_t> free_;
    std::vector<double> first_, whole_;
};

void Load::connect() {
    std::string line;
    while (std::getline(std::cin, line)) {
        const auto path = line.find('\t'), body = line.find('\t', path + 1);
        const auto text = line.substr(body + 1);
        auto& c = connections_.emplace_back();
        c.fd = connectTo(line.substr(0, path));
        c.request = "POST " + line.substr(path + 1, body - path - 1) +
                    " HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
                    "Accept: application/x-ndjson\r\nContent-Length: " +
                    std::to_string(text.size()) + "\r\n\r\n" + text;
        c.mark = c.request.find(kMark);
        epoll_event event{};
        event.events = EPOLLIN;
        event.data.u64 = connections_.size() - 1;
        if (::epoll_ctl(epoll_, EPOLL_CTL_ADD, c.fd, &event) != 0) die("epoll_ctl");
        free_.push_back(connections_.size() - 1);
    }
    number_ = nowNs() / 1000 % 1'000'000'000'000;
}

void Load::send(std::size_t at, std::int64_t due) {
    auto& c = connections_[at];
    if (c.mark != c.request.npos) {
        auto number = std::to_string(++number_ % 1'000'000'000'000);
        number.insert(0, kMark.size() - number.size(), '0');
        c.request.replace(c.mark, kMark.size(), number);
    }
    c.due = due;
    c.first = false;
    c.buffer.clear();
    ++sent_;
    if (::send(c.fd, c.request.data(), c.request.size(), MSG_NOSIGNAL) < 0) die("send");
}

void Load::sendDue(std::int64_t now) {
    while (!free_.empty() && now < start_ + length_) {
        const auto due =
            rate_ > 0 ? start_ + static_cast<std::int64_t>(static_cast<double>(sent_) / rate_ *
                                                           static_cast<double>(kSecond))
                      : now;
        if (due > now) return;
        const auto at = free_.front();
        free_.pop_front();
        send(at, due);
    }
}

void Load::read(std::size_t at) {
    auto& c = connections_[at];
    std::array<char, 65536> piece;  // NOLINT: filled by recv
    const auto n = ::recv(c.fd, piece.data(), piece.size(), 0);
    const auto now = nowNs();
    if (n <= 0) {  // never used again
        ++failed_;
        ::epoll_ctl(epoll_, EPOLL_CTL_DEL, c.fd, nullptr);
        return;
    }
    c.buffer.append(piece.data(), static_cast<std::size_t>(n));
    if (!c.first && c.buffer.find("Hello") != c.buffer.npos) {
        c.first = true;
        first_.push_back(static_cast<double>(now - c.due) / 1e6);
    }
    if (messageSize(c.buffer) == 0) return;
    if (c.first)
        whole_.push_back(static_cast<double>(now - c.due) / 1e6);
    else
        ++failed_;
    if (!c.first && failed_ == 1) std::fprintf(stderr, "an answer: %s\n", c.buffer.c_str());
    end_ = now;
    free_.push_back(at);
}

void Load::wait(std::int64_t until) {
    std::array<epoll_event, 256> events{};
    const auto left = std::max<std::int64_t>(0, until - nowNs());
    const timespec timeout{static_cast<time_t>(left / kSecond),
                           static_cast<long>(left % kSecond)};
    const int n = ::epoll_pwait2(epoll_, events.data(), events.size(), &timeout, nullptr);
    for (int i = 0; i < n; ++i)
        read(events[static_cast<std::size_t>(i)].data.u64);
}

void Load::run() {
    start_ = end_ = nowNs();
    while (true) {
        const auto now = nowNs();
        const bool over = now >= start_ + length_;
        if (over && free_.size() + static_cast<std::size_t>(failed_) >= connections_.size()) return;
        if (now >= start_ + length_ + kPatienceNs) return;
        sendDue(now);
        auto until = start_ + length_ + (over ? kPatienceNs : 0);
        if (rate_ > 0 && !free_.empty() && !over)
            until = std::min(until, start_ + static_cast<std::int64_t>(static_cast<double>(sent_) /
                                                                      rate_ * 1e9));
        wait(until);
    }
}

double percentile(std::vector<double>& values, double p) {
    if (values.empty()) return -1;
    std::ranges::sort(values);
    return values[static_cast<std::size_t>(p * static_cast<double>(values.size() - 1))];
}

void Load::report() {
    const auto took = static_cast<double>(std::max(end_ - start_, std::int64_t{1})) / 1e9;
    std::printf(R"({"sent": %ld, "answered": %zu, "failed": %ld, "per_second": %.1f, )"
                R"("first": {"p50": %.4f, "p99": %.4f}, "whole": {"p50": %.4f, "p99": %.4f}})"
                "\n",
                static_cast<long>(sent_), whole_.size(), static_cast<long>(failed_),
                static_cast<double>(whole_.size()) / took, percentile(first_, 0.5),
                percentile(first_, 0.99), percentile(whole_, 0.5), percentile(whole_, 0.99));
}

}  // namespace
}  // namespace aegis::bench

int main(int argc, char** argv) {
    if (argc != 3) return 2;
    aegis::bench::Load load(std::atof(argv[1]), std::atof(argv[2]));
    load.connect();
    load.run();
    load.report();
}
