#include "console/console.h"

#include <array>
#include <map>

#include "console/page_files.h"
#include "text/digest.h"

namespace aegis::console {
namespace {

std::string_view mediaOf(std::string_view name) {
    constexpr std::array kMedia{std::pair{".html", "text/html; charset=utf-8"},
                                std::pair{".js", "text/javascript; charset=utf-8"},
                                std::pair{".css", "text/css; charset=utf-8"},
                                std::pair{".svg", "image/svg+xml"}};
    for (const auto& [ending, media] : kMedia)
        if (name.ends_with(ending)) return media;
    return "application/octet-stream";
}

std::map<std::string_view, File> load() {
    std::map<std::string_view, File> out;
    for (const auto& file : pageFiles()) {
        auto name = file.name == "index.html" ? std::string_view{} : file.name;
        out[name] = {file.bytes, mediaOf(file.name), '"' + text::sha256Hex(file.bytes) + '"'};
    }
    return out;
}

}  // namespace

const File* find(std::string_view name) {
    static const auto kFiles = load();
    auto found = kFiles.find(name);
    return found == kFiles.end() ? nullptr : &found->second;
}

std::string_view contentSecurityPolicy() {
    return "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
           "connect-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'; "
           "require-trusted-types-for 'script'; trusted-types 'none'";
}

}  // namespace aegis::console
