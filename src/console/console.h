#pragma once

#include <string>
#include <string_view>

namespace aegis::console {

/// One file of the web page, ready to be served. Lives as long as the process.
struct File {
    std::string_view bytes;
    std::string_view media;  ///< of Content-Type
    std::string etag;        ///< quoted; changes with the content
};

/// The file of that name ("main.js"); "" is the page itself. nullptr if there is none. Any thread.
const File* find(std::string_view name);

/// Content-Security-Policy of the page: scripts, styles, the icon and requests of its own origin,
/// nothing else; and no script can turn text into markup.
std::string_view contentSecurityPolicy();

}  // namespace aegis::console
