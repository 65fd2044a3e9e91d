#pragma once

#include <curl/curl.h>

#include <string>

/// The inside of CurlMulti: not for other rooms.
namespace aegis::net {

/// The functions of libcurl that are used, under their own names less "curl_". libcurl brings two
/// dozen libraries, 5 ms of every process that links it: it is loaded when the first CurlMulti is
/// made, so that commands of the client never pay for it.
struct CurlLibrary {
    decltype(&::curl_global_init) global_init;
    decltype(&::curl_easy_init) easy_init;
    decltype(&::curl_easy_cleanup) easy_cleanup;
    decltype(&::curl_easy_reset) easy_reset;
    decltype(&::curl_easy_setopt) easy_setopt;
    decltype(&::curl_easy_getinfo) easy_getinfo;
    decltype(&::curl_easy_pause) easy_pause;
    decltype(&::curl_easy_strerror) easy_strerror;
    decltype(&::curl_multi_init) multi_init;
    decltype(&::curl_multi_cleanup) multi_cleanup;
    decltype(&::curl_multi_setopt) multi_setopt;
    decltype(&::curl_multi_add_handle) multi_add_handle;
    decltype(&::curl_multi_remove_handle) multi_remove_handle;
    decltype(&::curl_multi_socket_action) multi_socket_action;
    decltype(&::curl_multi_info_read) multi_info_read;
    decltype(&::curl_slist_append) slist_append;
    decltype(&::curl_slist_free_all) slist_free_all;
    decltype(&::curl_url) url;
    decltype(&::curl_url_cleanup) url_cleanup;
    decltype(&::curl_url_get) url_get;
    decltype(&::curl_url_set) url_set;
    decltype(&::curl_url_strerror) url_strerror;
    decltype(&::curl_free) free;
};

/// Loads libcurl at the first call. Any thread. Null, and the reason, when it is not installed.
const CurlLibrary* loadCurl(std::string& reason);
/// The loaded library: only after loadCurl has succeeded.
const CurlLibrary& curl();

}  // namespace aegis::net
