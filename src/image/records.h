#pragma once

#include <sys/types.h>
#include <time.h>

#include <map>
#include <mutex>
#include <string>

#include "base/result.h"
#include "text/json.h"

namespace aegis::image {

/// The small JSON files of a store, each parsed once: a file here is replaced as a whole, never
/// written to, so one with the same inode and times says the same. Any thread.
class Records {
  public:
    /// kNotFound when it is missing.
    Result<json::Value> read(const std::string& path) const;

  private:
    struct Known {
        dev_t device;
        ino_t inode;
        timespec changed;
        json::Value value;
    };
    mutable std::mutex mutex_;
    mutable std::map<std::string, Known> known_;
};

}  // namespace aegis::image
