#pragma once

#include <sys/types.h>

#include <cstddef>

#include "base/result.h"

/// A fork that copies no memory, of a process that is about to execute a program anyway. No thread
/// but its own.
namespace aegis::launcher {

/// What the C library has told the kernel of a thread, which a new process must tell it again.
struct ThreadRecord {
    int* tid = nullptr;  ///< where the library keeps its number; null: the kernel does not tell
    void* robust_list = nullptr;
    std::size_t robust_list_bytes = 0;
};
/// Of the calling thread, which must be one that the library has started or forked.
ThreadRecord threadRecord();

/// The parent's part: ends in execve() or _exit(). It has the memory together with the child, who
/// waits until this one has left it: until `until_exec`, a descriptor to be closed by exec and not
/// before, is closed (-1: there is no such, the memory is a copy).
struct TwinParent {
    void* context;
    void (*run)(void* context, pid_t child, int until_exec);
};
/// As fork(), but that the parent goes on in `parent` and the child, who returns here, keeps the
/// memory as it is. In the parent this returns an error or never. Once in a process's life.
Status forkTwin(const ThreadRecord& thread, const TwinParent& parent);

}  // namespace aegis::launcher
