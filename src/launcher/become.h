#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "launcher/landlock.h"
#include "proto/launch.h"

/// What all ways to a sandbox have in common: of a process that is to become one. No thread but its
/// own.
namespace aegis::launcher {

/// Where a sandbox with these mounts may write.
std::vector<WritablePlace> writablePlaces(const std::vector<proto::launch::Mount>& mounts,
                                          std::uint64_t tmp_bytes);

/// Waits for one byte; false at the end of the stream, or when another comes.
bool awaitByte(int fd, char expected);

/// One message with kFailed and what went wrong. Nobody may be there to hear it.
void sayFailed(int socket, const Error& error);

/// The first program of every sandbox, and its environment.
inline constexpr const char* kInit = "/aegis/bin/init";
extern char* const kInitEnv[];

}  // namespace aegis::launcher
