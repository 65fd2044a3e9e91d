#pragma once

#include <string_view>
#include <vector>

namespace aegis::console {

/// A file of page/ as it was when this was built.
struct PageFile {
    std::string_view name;
    std::string_view bytes;
};

/// Generated from the folder by cmake/EmbedFolder.cmake.
std::vector<PageFile> pageFiles();

}  // namespace aegis::console
