#pragma once

#include <sys/types.h>

#include <cstddef>
#include <string_view>

namespace aegis::init {

/// A command as the daemon sent it, copied into fixed storage with the NULs that execve wants.
class Arguments {
  public:
    static constexpr std::size_t kBytes = 160 * 1024;
    static constexpr std::size_t kPointers = 520;

    void clear();
    /// False when it does not fit.
    bool addArgument(std::string_view text);
    bool addVariable(std::string_view text);
    bool setDirectory(std::string_view text);

    /// What proto::ctl::kJobFd gets of this command. False when it does not fit.
    bool writeJob(char* out, std::size_t capacity, std::size_t* size) const;

    const char* lastArgument() const { return argv_[args_ - 1]; }
    char* const* argv() const { return argv_; }
    char* const* env() const { return env_; }
    const char* directory() const { return directory_; }

  private:
    char* copy(std::string_view text);

    char bytes_[kBytes];
    std::size_t used_ = 0;
    char* argv_[kPointers] = {};
    char* env_[kPointers] = {};
    std::size_t args_ = 0;
    std::size_t variables_ = 0;
    const char* directory_ = "/";
};

/// The child's standard descriptors; `job`, unless -1, becomes proto::ctl::kJobFd.
struct Stdio {
    int in;
    int out;
    int err;
    int job = -1;
};

/// Starts the command as the leader of a session of its own. Returns its pid, or -1 with *error
/// (errno) and a text that names what could not be done.
pid_t spawn(const Arguments& arguments, const Stdio& stdio, int* error, char* text,
            std::size_t text_size);

}  // namespace aegis::init
