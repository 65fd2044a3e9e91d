#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <condition_variable>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <future>
#include <map>
#include <mutex>
#include <optional>

#include "os/clock.h"
#include "os/socket.h"
#include "ports/sandbox.h"

namespace aegis::sandbox {

/// How many times slower than a real one this machine is, as far as waiting goes (tests/vm).
inline int patience() {
    const char* given = std::getenv("AEGIS_TEST_PATIENCE");
    return given == nullptr ? 1 : std::max(1, std::atoi(given));
}

/// For tests: remembers what became of each sandbox and lets a test wait for it.
class RecordingSink : public ports::SandboxSink {
  public:
    struct Fate {
        std::optional<ports::SandboxStartInfo> info;
        std::optional<Error> error;
        bool fatal = false;
        std::optional<ports::BootstrapExit> exit;
        int calls = 0;
    };

    void up(const ports::SandboxId& id, ports::SandboxStartInfo info) override {
        note(id, [&](Fate& fate) { fate.info = std::move(info); });
    }
    void failed(const ports::SandboxId& id, Error error, bool fatal) override {
        note(id, [&](Fate& fate) {
            fate.error = std::move(error);
            fate.fatal = fatal;
        });
    }
    void ended(const ports::SandboxId& id, ports::BootstrapExit exit) override {
        note(id, [&](Fate& fate) { fate.exit = std::move(exit); });
    }

    /// Waits until `ready` holds for the sandbox's fate, at most 30 s (times patience()), and
    /// returns it.
    template <class Ready>
    Fate wait(const ports::SandboxId& id, Ready ready) {
        std::unique_lock lock(mutex_);
        changed_.wait_for(lock, std::chrono::seconds(30 * patience()),
                          [&] { return ready(fates_[id]); });
        return fates_[id];
    }
    Fate started(const ports::SandboxId& id) {
        return wait(id, [](const Fate& fate) { return fate.info || fate.error; });
    }
    Fate finished(const ports::SandboxId& id) {
        return wait(id, [](const Fate& fate) { return fate.exit || fate.error; });
    }

  private:
    template <class Change>
    void note(const ports::SandboxId& id, Change change) {
        std::lock_guard lock(mutex_);
        ++fates_[id].calls;
        change(fates_[id]);
        changed_.notify_all();
    }
    std::mutex mutex_;
    std::condition_variable changed_;
    std::map<ports::SandboxId, Fate> fates_;
};

/// For tests: a node of its own, with the real init and, as bootstrap.py, a script that runs its
/// prompt as Python. The runtime is the derived class's.
class GuestFixture : public ::testing::Test {
  protected:
    struct Listening : ports::GuestListener {
        os::Fd socket;
        void assign(const ports::SandboxId&) override {}
    };

    GuestFixture() {
        char name[] = "/tmp/aegis-runtime-test-XXXXXX";
        dir_ = ::mkdtemp(name);
        std::filesystem::create_directory(dir_ + "/guest");
        const auto init = std::string(AEGIS_BINARY_DIR) + "/share/aegis/guest/init";
        std::error_code missing;
        std::filesystem::copy_file(init, dir_ + "/guest/init", missing);
        std::ofstream(dir_ + "/guest/bootstrap.py")
            << "import sys\n"
               "def main():\n"
               "    code = sys.stdin.read() if sys.argv[1] == '-' else sys.argv[1]\n"
               "    exec(code, {})\n"
               "def rehearse(times):\n"
               "    pass\n"
               "def standby(fd, rename=None, unhurried=True):\n"
               "    sys.unhurried = unhurried\n"
               "    import posix, _socket\n"
               "    data, fds, _, _ = _socket.socket(fileno=fd).recvmsg(1 << 18, 64)\n"
               "    if fds: posix.dup2(int.from_bytes(fds[0][2][:4], 'little'), 0)\n"
               "    cwd, prompt, *env = data.split(b'\\0')\n"
               "    posix.environ.clear()\n"
               "    posix.environ.update(v.split(b'=', 1) for v in env)\n"
               "    posix.chdir(cwd)\n"
               "    sys.argv = ['bootstrap', prompt.decode()]\n"
               "    main()\n";
        std::filesystem::permissions(dir_, std::filesystem::perms(0755));
    }
    ~GuestFixture() override { std::filesystem::remove_all(dir_); }

    /// What makes templates of interpreters; without it there are none.
    void addTemplateModule() {
        const char* const name = "/_aegis_template.abi3.so";
        std::filesystem::copy_file(std::string(AEGIS_BINARY_DIR) + "/share/aegis/guest" + name,
                                   dir_ + "/guest" + name,
                                   std::filesystem::copy_options::overwrite_existing);
    }

    virtual ports::Runtime& runtime() = 0;

    ports::GuestListenerFactory listeners() {
        return [](const std::string& path) -> Result<std::unique_ptr<ports::GuestListener>> {
            auto listening = std::make_unique<Listening>();
            AEGIS_TRY(listening->socket, os::listenUnix(path, 0666));
            return listening;
        };
    }
    ports::SandboxSpec spec(const std::string& prompt) {
        ports::SandboxSpec out;
        out.id = {ExecutionId::generate(os::systemRandom()), 1};
        out.agent_name = "test";
        out.iteration = 1;
        out.image = image_;
        out.image_pull_policy = "Never";
        out.memory_bytes = 128 << 20;
        out.tmp_bytes = 16 << 20;
        out.pids = 64;
        out.cwd = "/tmp";
        out.prompt = std::make_shared<const std::string>(prompt);
        return out;
    }
    static Deadline soon(int ms = 30'000) {
        return Deadline::in(os::systemClock().boot(), std::int64_t{ms} * patience());
    }

    RecordingSink::Fate runToEnd(ports::SandboxSpec what) {
        const auto id = what.id;
        runtime().start(std::move(what), soon(), sink_);
        return sink_.finished(id);
    }
    /// The milliseconds that close() took.
    std::int64_t closeNow(const ports::SandboxId& id) {
        const auto began = os::systemClock().boot().ns;
        std::promise<Status> promise;
        runtime().close(id, soon(10'000), [&](Status status) { promise.set_value(status); });
        const auto status = promise.get_future().get();
        EXPECT_TRUE(status) << status.error().message;
        return (os::systemClock().boot().ns - began) / 1'000'000;
    }
    Result<ports::CommandResult> runCommand(const ports::SandboxId& id,
                                            std::vector<std::string> command, int ms = 10'000) {
        std::promise<Result<ports::CommandResult>> promise;
        runtime().run(id, std::move(command), soon(ms),
                      [&](auto result) { promise.set_value(std::move(result)); });
        return promise.get_future().get();
    }
    static bool emptyOrGone(const std::string& path) {
        return !std::filesystem::exists(path) || std::filesystem::is_empty(path);
    }

    std::string dir_;
    NodeId node_ = NodeId::generate(os::systemRandom());
    std::string image_ = "aegis/python:3.11";
    RecordingSink sink_;
};

}  // namespace aegis::sandbox
