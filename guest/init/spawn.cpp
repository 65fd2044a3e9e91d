#include "spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include <initializer_list>

#include "proto/ctl_wire.h"
#include "sys.h"

namespace aegis::init {
namespace {

enum class Step : char { kDirectory, kProgram };
struct Failure {
    int error;
    Step step;
};

const char* variable(char* const* env, const char* name) {
    const std::size_t length = strlen(name);
    for (; *env != nullptr; ++env)
        if (strncmp(*env, name, length) == 0 && (*env)[length] == '=') return *env + length + 1;
    return nullptr;
}

// execve() with the search of execvp(), but in the PATH of the command's own environment.
int searchAndExec(const Arguments& arguments) {
    const char* program = arguments.argv()[0];
    if (strchr(program, '/') != nullptr) {
        execve(program, arguments.argv(), arguments.env());
        return errno;
    }
    const char* path = variable(arguments.env(), "PATH");
    if (path == nullptr || *path == '\0')
        path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    int error = ENOENT;
    while (true) {
        const std::size_t length = strcspn(path, ":");
        char candidate[4096];
        Text text(candidate, sizeof candidate);
        text.add(length == 0 ? "." : path, length == 0 ? 1 : length).add("/").add(program);
        if (text.whole()) {
            execve(candidate, arguments.argv(), arguments.env());
            if (errno == EACCES) error = EACCES;
            if (errno != ENOENT && errno != ENOTDIR && errno != EACCES) return errno;
        }
        if (path[length] == '\0') return error;
        path += length + 1;
    }
}

[[noreturn]] void runChild(const Arguments& arguments, const Stdio& stdio, int report) {
    setsid();
    for (const int number : {SIGPIPE, SIGTERM, SIGINT, SIGHUP, SIGCHLD})
        signal(number, SIG_DFL);
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, nullptr);
    dup2(stdio.in, 0);
    dup2(stdio.out, 1);
    dup2(stdio.err, 2);
    if (stdio.job == proto::ctl::kJobFd)
        fcntl(stdio.job, F_SETFD, 0);
    else if (stdio.job >= 0)
        dup2(stdio.job, proto::ctl::kJobFd);
    Failure failure{0, Step::kDirectory};
    if (chdir(arguments.directory()) != 0) {
        failure.error = errno;
    } else {
        failure.step = Step::kProgram;
        failure.error = searchAndExec(arguments);
    }
    (void)!write(report, &failure, sizeof failure);
    _exit(127);
}

}  // namespace

void Arguments::clear() {
    used_ = args_ = variables_ = 0;
    argv_[0] = env_[0] = nullptr;
    directory_ = "/";
}

char* Arguments::copy(std::string_view text) {
    if (text.size() >= kBytes - used_) return nullptr;
    char* at = bytes_ + used_;
    memcpy(at, text.data(), text.size());
    at[text.size()] = '\0';
    used_ += text.size() + 1;
    return at;
}

bool Arguments::addArgument(std::string_view text) {
    if (args_ + 1 >= kPointers) return false;
    argv_[args_] = copy(text);
    if (argv_[args_] == nullptr) return false;
    argv_[++args_] = nullptr;
    return true;
}

bool Arguments::addVariable(std::string_view text) {
    if (variables_ + 1 >= kPointers) return false;
    env_[variables_] = copy(text);
    if (env_[variables_] == nullptr) return false;
    env_[++variables_] = nullptr;
    return true;
}

bool Arguments::setDirectory(std::string_view text) {
    directory_ = text.empty() ? "/" : copy(text);
    return directory_ != nullptr;
}

bool Arguments::writeJob(char* out, std::size_t capacity, std::size_t* size) const {
    std::size_t used = 0;
    const auto add = [&](const char* text) {
        const std::size_t length = strlen(text) + 1;
        if (length > capacity - used) return false;
        memcpy(out + used, text, length);
        used += length;
        return true;
    };
    bool fits = add(directory_) && add(lastArgument());
    for (std::size_t i = 0; fits && i < variables_; ++i)
        fits = add(env_[i]);
    *size = used - 1;
    return fits;
}

pid_t spawn(const Arguments& arguments, const Stdio& stdio, int* error, char* text,
            std::size_t text_size) {
    int report[2];
    if (pipe2(report, O_CLOEXEC) != 0) {
        *error = errno;
        Text(text, text_size).add("pipe: ").add(strerror(*error));
        return -1;
    }
    const pid_t pid = fork();
    if (pid == 0) runChild(arguments, stdio, report[1]);
    *error = errno;
    closeFd(&report[1]);
    if (pid < 0) {
        closeFd(&report[0]);
        Text(text, text_size).add("fork: ").add(strerror(*error));
        return -1;
    }
    Failure failure{};
    ssize_t n;
    do {
        n = read(report[0], &failure, sizeof failure);
    } while (n < 0 && errno == EINTR);
    closeFd(&report[0]);
    if (n != static_cast<ssize_t>(sizeof failure)) return pid;
    *error = failure.error;
    const bool missing = failure.step == Step::kProgram && failure.error == ENOENT;
    Text(text, text_size)
        .add(failure.step == Step::kDirectory ? "working directory " : "")
        .add(failure.step == Step::kDirectory ? arguments.directory() : arguments.argv()[0], 300)
        .add(": ")
        .add(missing ? "not found in the image" : strerror(failure.error));
    return -1;
}

}  // namespace aegis::init
