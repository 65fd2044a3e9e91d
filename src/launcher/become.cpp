#include "launcher/become.h"

#include <unistd.h>

#include <cerrno>

#include "os/files.h"

namespace aegis::launcher {

namespace {

char g_home[] = "HOME=/tmp";

}  // namespace

char* const kInitEnv[] = {g_home, nullptr};

std::vector<WritablePlace> writablePlaces(const std::vector<proto::launch::Mount>& mounts,
                                          std::uint64_t tmp_bytes) {
    std::vector<WritablePlace> out{{"/dev", true}};
    if (tmp_bytes > 0) out.push_back({"/tmp", true});
    for (const auto& mount : mounts)
        if (mount.writable) out.push_back({mount.target, mount.directory});
    return out;
}

bool awaitByte(int fd, char expected) {
    char byte = 0;
    ssize_t n = 0;
    do {
        n = ::read(fd, &byte, 1);
    } while (n < 0 && errno == EINTR);
    return n == 1 && byte == expected;
}

void sayFailed(int socket, const Error& error) {
    (void)os::writeAll(socket, proto::launch::kFailed + error.message);
}

}  // namespace aegis::launcher
