#include "doctor/system_machine.h"

#include <sys/utsname.h>
#include <unistd.h>

#include <chrono>
#include <future>
#include <mutex>
#include <thread>

#include "net/curl/curl_multi.h"
#include "os/clock.h"
#include "os/delegation.h"
#include "os/files.h"
#include "os/loop.h"
#include "os/run_program.h"
#include "os/socket.h"
#include "os/user_namespace.h"

namespace aegis::doctor {
namespace {

constexpr std::uint32_t kIdsOfASandbox = 65'536;  // launcher::kIdCount
constexpr std::int64_t kPeerMs = 2000;
constexpr std::int64_t kDaemonMs = 1500;
constexpr std::int64_t kConnectMs = 2000;
constexpr std::int64_t kProviderMs = 3000;
constexpr std::uint64_t kMaxFileBytes = 1U << 20U;
constexpr std::uint64_t kMaxAnswerBytes = 1U << 20U;

Deadline inMs(std::int64_t ms) { return Deadline::in(os::systemClock().boot(), ms); }

class SystemMachine : public Machine {
  public:
    explicit SystemMachine(Peers peers) : peers_(std::move(peers)) {}

    UtcTime now() override { return os::systemClock().utc(); }
    std::string kernelRelease() override {
        utsname names{};
        ::uname(&names);
        return names.release;
    }
    bool isRoot() override { return ::geteuid() == 0; }
    Result<std::string> delegatedCgroup() override { return os::delegatedCgroup(); }
    Status subordinateIds() override {
        const auto ids = os::subordinateIds(kIdsOfASandbox);
        return ids ? Status{} : Status{ids.error()};
    }
    Result<std::string> read(const std::string& path) override {
        return os::readFile(path, kMaxFileBytes);
    }
    bool hasProgram(const std::string& name) override { return os::findProgram(name).has_value(); }
    Result<os::PathFacts> path(const std::string& path) override { return os::pathFacts(path); }
    Result<os::Space> space(const std::string& path) override { return os::spaceOf(path); }
    os::OpenFileLimits openFiles() override { return os::openFileLimits(); }
    bool clockSynchronized() override { return os::clockSynchronized(); }
    Status userNamespace() override { return os::tryUserNamespace(); }
    Result<int> landlock() override { return os::landlockAbi(); }
    Status seccomp() override { return os::seccompFilters(); }
    Status loopDevices() override { return os::loopAvailable(); }

    Status listen(const config::Address& address) override {
        auto host = address.host.empty() ? std::string("0.0.0.0") : address.host;
        auto fd = os::listenTcp(host, static_cast<std::uint16_t>(address.port));
        return fd ? Status{} : Status{std::move(fd.error())};
    }

    Result<ProviderAnswer> get(const ProviderRequest& request) override;

    Result<std::string> engine() override { return peers_.engine(inMs(kPeerMs)); }
    Status image(const std::string& reference) override {
        return peers_.image(reference, inMs(kPeerMs));
    }
    Result<json::Value> daemon(const std::string& address) override;

  private:
    Result<net::CurlMulti*> curl();

    Peers peers_;
    std::mutex mutex_;  ///< guards curl_
    std::unique_ptr<net::CurlMulti> curl_;
};

/// The client waits longer than anybody wants to wait here, and a name server longer still: another
/// thread does it, and is left to itself when it is late.
Result<json::Value> SystemMachine::daemon(const std::string& address) {
    // Shared with that thread, which may outlive the call.
    auto answer = std::make_shared<std::promise<Result<json::Value>>>();
    auto future = answer->get_future();
    std::thread([ask = peers_.daemon, address, answer] {
        answer->set_value(ask(address));
    }).detach();
    if (future.wait_for(std::chrono::milliseconds(kDaemonMs)) == std::future_status::ready)
        return future.get();
    return {ErrorCode::kTimeout, address + " does not answer as a daemon would"};
}

Result<net::CurlMulti*> SystemMachine::curl() {
    std::lock_guard lock(mutex_);
    if (!curl_) {
        AEGIS_TRY(curl_, net::CurlMulti::create());
    }
    return curl_.get();
}

Result<ProviderAnswer> SystemMachine::get(const ProviderRequest& request) {
    AEGIS_TRY(auto* curl, this->curl());
    net::CurlRequest out;
    out.method = "GET";
    out.url = request.url;
    out.headers = request.headers;
    out.secret_headers = request.secret_headers;
    out.connect_timeout_ms = kConnectMs;
    out.deadline = inMs(kProviderMs);
    out.max_response_bytes = kMaxAnswerBytes;
    ProviderAnswer answer;
    std::promise<net::CurlResult> done;
    const auto began = os::systemClock().boot();
    net::CurlCallbacks callbacks;
    callbacks.on_data = [&answer](std::string_view chunk) {
        answer.body += chunk;
        return net::OnDataVerdict::kContinue;
    };
    callbacks.on_done = [&done](net::CurlResult result) { done.set_value(std::move(result)); };
    curl->start(std::move(out), std::move(callbacks));
    // It ends by its deadline, whatever the peer does.
    auto result = done.get_future().get();
    if (result.error) return std::move(*result.error);
    answer.status = result.http_status;
    if (const auto* date = result.headers.find("date")) answer.date = *date;
    answer.took_ms = (os::systemClock().boot().ns - began.ns) / 1'000'000;
    return answer;
}

}  // namespace

std::unique_ptr<Machine> systemMachine(Peers peers) {
    return std::make_unique<SystemMachine>(std::move(peers));
}

}  // namespace aegis::doctor
