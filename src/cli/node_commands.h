#pragma once

#include <functional>
#include <string>
#include <vector>

#include "base/result.h"
#include "cli/context.h"
#include "text/json.h"

namespace aegis::cli {

/// What only the machine itself can do: given by the program's main, so that the command line need
/// not know the daemon. Each prints its own output and returns the exit code.
struct NodeCommands {
    struct Start {
        std::string config;
        bool detach = false;
    };
    std::function<int(Context&, const Start&)> start;
    std::function<int(Context&)> stop;
    std::function<int(Context&)> reload;
    std::function<int(Context&, const std::string& language, const std::string& version)>
        build_image;
    std::function<int(Context&)> list_images;
    std::function<int(Context&)> validate_config;
    std::function<int(Context&)> dump_config;
    std::function<int(Context&)> doctor;
    /// Replays an exported archive without a daemon (service/local/archive.h).
    std::function<Result<json::Value>(const std::string& bytes)> replay_archive;
    /// The JSON Schema of "agent" or "config".
    std::function<Result<json::Value>(const std::string& name)> schema;
};

}  // namespace aegis::cli
