#include "image/archive_library.h"

#include <dlfcn.h>

#include "base/assert.h"

namespace aegis::image {
namespace {

// The name of its ABI since 2012.
constexpr const char* kFile = "libarchive.so.13";

struct Loaded {
    ArchiveLibrary functions{};
    std::string problem;

    Loaded() {
        void* library = ::dlopen(kFile, RTLD_NOW | RTLD_LOCAL);  // never closed
        if (library == nullptr) {
            problem = ::dlerror();
            return;
        }
#define AEGIS_ARCHIVE_FIND(name)                                                          \
    functions.name = reinterpret_cast<decltype(functions.name)>(::dlsym(library, #name)); \
    if (functions.name == nullptr) problem = std::string(kFile) + " has no " #name;
        AEGIS_ARCHIVE_FUNCTIONS(AEGIS_ARCHIVE_FIND)
#undef AEGIS_ARCHIVE_FIND
    }
};

const Loaded& loaded() {
    static const Loaded kLoaded;
    return kLoaded;
}

}  // namespace

Status loadArchive() {
    if (loaded().problem.empty()) return {};
    return {ErrorCode::kUnsupported, "images cannot be unpacked: " + loaded().problem,
            "install the package libarchive13"};
}

const ArchiveLibrary& lib() {
    AEGIS_ASSERT(loaded().problem.empty());
    return loaded().functions;
}

}  // namespace aegis::image
