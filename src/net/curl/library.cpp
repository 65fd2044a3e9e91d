#include "net/curl/library.h"

#include <dlfcn.h>

#include "base/assert.h"

namespace aegis::net {
namespace {

// The name of its ABI since 2006, on every Linux.
constexpr const char* kFile = "libcurl.so.4";

struct Loaded {
    CurlLibrary functions{};
    std::string reason;

    Loaded() {
        void* library = ::dlopen(kFile, RTLD_NOW | RTLD_LOCAL);
        if (library == nullptr) {
            reason = ::dlerror();
            return;
        }
        // Never closed: its libraries register handlers that outlive any use of theirs.
        auto find = [&](const char* name, auto& function) {
            void* symbol = ::dlsym(library, name);
            if (symbol == nullptr && reason.empty()) reason = ::dlerror();
            function = reinterpret_cast<std::remove_reference_t<decltype(function)>>(symbol);
        };
        auto& f = functions;
        find("curl_global_init", f.global_init);
        find("curl_easy_init", f.easy_init);
        find("curl_easy_cleanup", f.easy_cleanup);
        find("curl_easy_reset", f.easy_reset);
        find("curl_easy_setopt", f.easy_setopt);
        find("curl_easy_getinfo", f.easy_getinfo);
        find("curl_easy_pause", f.easy_pause);
        find("curl_easy_strerror", f.easy_strerror);
        find("curl_multi_init", f.multi_init);
        find("curl_multi_cleanup", f.multi_cleanup);
        find("curl_multi_setopt", f.multi_setopt);
        find("curl_multi_add_handle", f.multi_add_handle);
        find("curl_multi_remove_handle", f.multi_remove_handle);
        find("curl_multi_socket_action", f.multi_socket_action);
        find("curl_multi_info_read", f.multi_info_read);
        find("curl_slist_append", f.slist_append);
        find("curl_slist_free_all", f.slist_free_all);
        find("curl_url", f.url);
        find("curl_url_cleanup", f.url_cleanup);
        find("curl_url_get", f.url_get);
        find("curl_url_set", f.url_set);
        find("curl_url_strerror", f.url_strerror);
        find("curl_free", f.free);
    }
};

const Loaded& loaded() {
    static const Loaded kLoaded;
    return kLoaded;
}

}  // namespace

const CurlLibrary* loadCurl(std::string& reason) {
    reason = loaded().reason;
    return reason.empty() ? &loaded().functions : nullptr;
}

const CurlLibrary& curl() {
    AEGIS_ASSERT(loaded().reason.empty());
    return loaded().functions;
}

}  // namespace aegis::net
