#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/ids.h"
#include "base/result.h"

namespace aegis::store {

/// Bodies too large for a row: data_dir/executions/<id>/<sha256>. Written whole and synced (file
/// and directories) before the transaction that refers to them. Safe on any thread; one writer for
/// each execution at a time.
class BlobFiles {
  public:
    explicit BlobFiles(const std::string& data_dir) : root_(data_dir + "/executions") {}

    /// lostWrite() if a sync failed.
    Status write(const ExecutionId& id, const std::string& sha256, std::string_view bytes);
    /// kInternal unless the content is of `size` bytes and has this digest.
    Result<std::string> read(const ExecutionId& id, const std::string& sha256, std::uint64_t size);
    /// Removes all of an execution's files. Repeatable.
    Status removeAll(const ExecutionId& id);
    /// Executions with a directory that has not changed since the file `mark` was written.
    std::vector<ExecutionId> olderThan(const std::string& mark) const;

  private:
    std::string root_;
};

/// Whether `hex` is 64 lower-case hex digits, the only names a body may have.
bool isDigest(std::string_view hex);
/// The 32 bytes that isDigest() text stands for.
std::string rawDigest(std::string_view hex);

}  // namespace aegis::store
