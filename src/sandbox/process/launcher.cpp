#include "sandbox/process/launcher.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <signal.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <utility>

#include "base/log.h"
#include "os/clock.h"
#include "os/socket.h"

namespace aegis::sandbox {
namespace {

namespace launch = proto::launch;

constexpr int kLauncherSocket = 3;  // launcher::kSocket
constexpr std::int64_t kAnswerMs = 10'000;
constexpr int kBuffer = 512 << 10;
constexpr std::size_t kMaxReplyBytes = 4096;  // launch::kMaxTextBytes and a little

/// posix_spawn's two objects, released whatever happens.
struct SpawnSetup {
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    SpawnSetup() {
        ::posix_spawn_file_actions_init(&actions);
        ::posix_spawnattr_init(&attributes);
    }
    ~SpawnSetup() {
        ::posix_spawn_file_actions_destroy(&actions);
        ::posix_spawnattr_destroy(&attributes);
    }
    SpawnSetup(const SpawnSetup&) = delete;
    SpawnSetup& operator=(const SpawnSetup&) = delete;
};

}  // namespace

Launcher::Launcher(std::vector<std::string> command, std::string filter)
    : command_(std::move(command)), filter_(std::move(filter)) {}

Launcher::~Launcher() { end(); }

void Launcher::end() {
    socket_.reset();
    if (pid_ <= 0) return;
    ::kill(pid_, SIGKILL);  // it holds nothing that could be lost
    while (::waitpid(pid_, nullptr, 0) < 0 && errno == EINTR) {
    }
    pid_ = -1;
}

Status Launcher::startProcess() {
    end();
    std::array<int, 2> ends{};
    if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends.data()) != 0)
        return errnoError(errno, "the launcher's socket");
    os::Fd ours(ends[0]), theirs(ends[1]);
    for (const int fd : ends)
        ::setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &kBuffer, sizeof kBuffer);
    ::fcntl(ours.get(), F_SETFL, O_NONBLOCK);
    std::vector<char*> argv;
    for (const auto& word : command_)
        argv.push_back(const_cast<char*>(word.c_str()));
    argv.push_back(nullptr);
    char* env[] = {nullptr};
    SpawnSetup setup;
    ::posix_spawn_file_actions_addopen(&setup.actions, 0, "/dev/null", O_RDONLY, 0);
    ::posix_spawn_file_actions_addopen(&setup.actions, 1, "/dev/null", O_WRONLY, 0);
    ::posix_spawn_file_actions_adddup2(&setup.actions, theirs.get(), kLauncherSocket);
    ::posix_spawn_file_actions_addclosefrom_np(&setup.actions, kLauncherSocket + 1);
    sigset_t none, all;
    ::sigemptyset(&none);
    ::sigfillset(&all);
    ::posix_spawnattr_setsigmask(&setup.attributes, &none);
    ::posix_spawnattr_setsigdefault(&setup.attributes, &all);
    // A session of its own: the terminal's signals are for the daemon.
    ::posix_spawnattr_setflags(&setup.attributes,
                               POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSID);
    const int err = ::posix_spawn(&pid_, argv[0], &setup.actions, &setup.attributes, argv.data(),
                                  static_cast<char* const*>(env));
    if (err != 0) {
        pid_ = -1;
        return std::move(errnoError(err, command_[0])).within("the launcher");
    }
    socket_ = std::move(ours);
    return {};
}

Result<Launcher::Answer> Launcher::ask(const launch::Request& request, std::span<const int> fds,
                                       Deadline deadline) {
    AEGIS_TRY(const auto bytes, launch::encode(request));
    AEGIS_CHECK(os::sendWithFds(socket_.get(), bytes, fds, deadline));
    AEGIS_TRY(auto message, os::recvWithFds(socket_.get(), kMaxReplyBytes, 1, deadline));
    if (message.bytes.empty()) return {ErrorCode::kIo, "the launcher has died"};
    AEGIS_TRY(auto reply, launch::parseReply(message.bytes));
    return Answer{std::move(reply), std::move(message.fds)};
}

Status Launcher::ensureRunning(Deadline deadline) {
    if (socket_ && !os::peerGone(socket_.get())) return {};
    if (socket_) log(LogLevel::kWarn, "the launcher has died and is started again");
    AEGIS_CHECK(startProcess());
    auto answer = ask(launch::Configure{filter_}, {}, deadline);
    if (!answer) {
        end();
        return std::move(answer.error()).within("the launcher");
    }
    if (const auto* failed = std::get_if<launch::SpawnFailed>(&answer->reply)) {
        Error error(ErrorCode::kUnsupported, "the launcher cannot start: " + failed->text,
                    "the embedded sandbox needs root");
        end();
        return error;
    }
    const auto* configured = std::get_if<launch::Configured>(&answer->reply);
    if (configured == nullptr) {
        end();
        return {ErrorCode::kInternal, "the launcher answered what was not asked"};
    }
    landlock_abi_ = configured->landlock_abi;
    return {};
}

Result<std::uint32_t> Launcher::landlockAbi(Deadline deadline) {
    std::lock_guard lock(mutex_);
    AEGIS_CHECK(ensureRunning(deadline));
    return landlock_abi_;
}

/// Asks what has a token, in a conversation of its own. Holds the mutex.
template <class Request>
Result<Launcher::Answer> Launcher::converse(Request request, std::span<const int> fds,
                                            Deadline deadline) {
    const auto until = deadline.earlier(Deadline::in(os::systemClock().boot(), kAnswerMs));
    AEGIS_CHECK(ensureRunning(until));
    request.token = ++token_;
    auto answer = ask(request, fds, until);
    if (!answer) {
        // What it may have made ends by itself: nobody tells it to go on.
        const bool ours = answer.error().code == ErrorCode::kTooLarge ||
                          answer.error().code == ErrorCode::kInvalid;
        if (!ours) end();
        return std::move(answer.error()).within("the launcher");
    }
    if (auto* failed = std::get_if<launch::SpawnFailed>(&answer->reply))
        return {ErrorCode::kUnsupported, "a sandbox cannot be made: " + failed->text};
    return answer;
}

Error Launcher::unasked() {
    end();
    return {ErrorCode::kInternal, "the launcher answered what was not asked"};
}

template <class Request>
Result<Launcher::Child> Launcher::makeChild(Request request, std::span<const int> fds,
                                            Deadline deadline) {
    std::lock_guard lock(mutex_);
    AEGIS_TRY(auto answer, converse(std::move(request), fds, deadline));
    const auto* spawned = std::get_if<launch::Spawned>(&answer.reply);
    if (spawned == nullptr || spawned->token != token_ || answer.fds.size() != 1) return unasked();
    return Child{std::move(answer.fds.front()), static_cast<pid_t>(spawned->pid)};
}

Result<Launcher::Child> Launcher::spawn(launch::Spawn spawn, std::span<const int> fds,
                                        Deadline deadline) {
    return makeChild(std::move(spawn), fds, deadline);
}

Result<Launcher::Child> Launcher::spawnTemplate(launch::SpawnTemplate spawn,
                                                std::span<const int> fds, Deadline deadline) {
    return makeChild(std::move(spawn), fds, deadline);
}

Status Launcher::mapStem(int template_pidfd, pid_t stem, std::uint32_t door, Deadline deadline) {
    std::lock_guard lock(mutex_);
    AEGIS_TRY(const auto answer,
              converse(launch::MapStem{0, static_cast<std::uint32_t>(stem), door},
                       {&template_pidfd, 1}, deadline));
    const auto* mapped = std::get_if<launch::StemMapped>(&answer.reply);
    if (mapped == nullptr || mapped->token != token_) return unasked();
    return {};
}

}  // namespace aegis::sandbox
