#include "launcher/shared_text.h"

#include <link.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>

namespace aegis::launcher {
namespace {

int protectionOf(ElfW(Word) flags) {
    return ((flags & PF_R) != 0 ? PROT_READ : 0) | ((flags & PF_X) != 0 ? PROT_EXEC : 0);
}

/// fork() copies the page tables of a mapping of a file only where the process has, or has had, a
/// page of its own in it: it gets one, with what is there already.
Status shareSegment(std::uintptr_t begin, std::size_t size, int protection) {
    auto* const at = reinterpret_cast<void*>(begin);
    if (::mprotect(at, size, protection | PROT_WRITE) == 0) {
        auto* const byte = static_cast<volatile char*>(at);
        *byte = *byte;
    }
    // It may have been changed in part. All at once, so that it stays one mapping.
    if (::mprotect(at, size, protection) != 0) return errnoError(errno, "read-only memory");
    return {};
}

int shareObject(dl_phdr_info* object, std::size_t, void* out) {
    auto& status = *static_cast<Status*>(out);
    const auto page = static_cast<std::uintptr_t>(::sysconf(_SC_PAGESIZE));
    const auto kernels = static_cast<std::uintptr_t>(::getauxval(AT_SYSINFO_EHDR));
    for (int i = 0; i < object->dlpi_phnum && status; ++i) {
        const auto& segment = object->dlpi_phdr[i];
        if (segment.p_type != PT_LOAD || (segment.p_flags & PF_W) != 0) continue;
        const auto first = object->dlpi_addr + segment.p_vaddr;
        const auto begin = first & ~(page - 1);
        if (begin == kernels) continue;  // no file's
        const auto end = (first + segment.p_memsz + page - 1) & ~(page - 1);
        status = shareSegment(begin, end - begin, protectionOf(segment.p_flags));
    }
    return status ? 0 : 1;
}

}  // namespace

Status shareText() {
    Status status;
    ::dl_iterate_phdr(shareObject, &status);
    return status;
}

}  // namespace aegis::launcher
