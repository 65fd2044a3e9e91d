#pragma once

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <memory>

#include "cli/app.h"
#include "os/clock.h"

namespace aegis::cli {

/// The whole tree of commands, with nothing behind it.
struct TestTree {
    Context context{os::systemClock(), [](const GlobalFlags&) {
                        return Result<std::unique_ptr<service::Service>>(ErrorCode::kUnreachable,
                                                                         "no daemon here");
                    }};
    NodeCommands node;
    CLI::App app{"AEGIS runs autonomous agents under control.", "aegis"};

    TestTree() { buildTree(app, context, node); }
};

}  // namespace aegis::cli
