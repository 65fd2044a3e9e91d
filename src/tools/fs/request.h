#pragma once

#include <string>

#include "tools/fs/fs_tools.h"
#include "tools/fs/view.h"

/// Between the sources of this room only.
namespace aegis::tools {

enum class FsOp : std::uint8_t { kRead, kWrite, kEdit, kList, kCreateDir, kDelete, kGlob, kGrep };

/// A call with its arguments checked and its path normalised.
struct FsRequest {
    FsOp op = FsOp::kRead;
    std::string path;
    std::string content;                 ///< write
    std::string old_string, new_string;  ///< edit
    std::string pattern, glob;           ///< glob, grep
    bool replace_all = false;
    bool recursive = false;
    std::int64_t offset = 1;  ///< read: the first line, from 1
    std::int64_t limit = 0;   ///< read: lines; 0: all
};

/// What the model is told on success.
using FsAnswer = Result<std::string>;

FsAnswer readText(const SandboxView& view, const FsRequest& request, Deadline deadline);
FsAnswer writeFile(const SandboxView& view, const FsRequest& request, Deadline deadline);
FsAnswer editFile(const SandboxView& view, const FsRequest& request, Deadline deadline);
FsAnswer listDirectory(const SandboxView& view, const FsRequest& request, Deadline deadline);
FsAnswer createDirectory(const SandboxView& view, const FsRequest& request, Deadline deadline);
FsAnswer deletePath(const SandboxView& view, const FsRequest& request, Deadline deadline);
FsAnswer globFiles(const SandboxView& view, const FsRequest& request, Deadline deadline);
FsAnswer grepFiles(const SandboxView& view, const FsRequest& request, Deadline deadline);

}  // namespace aegis::tools
