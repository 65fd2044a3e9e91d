#pragma once

#include <list>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "ports/journal.h"

namespace aegis::runner {

/// Recently used bodies by digest, at most `limit` bytes, in front of the journal: a conversation
/// is sent again with every model call and would be read from disk each time. Safe on any thread.
class BodyCache {
  public:
    /// Shared: readers go on with a text that the cache has dropped meanwhile.
    using Text = std::shared_ptr<const std::string>;

    BodyCache(ports::Journal& journal, std::size_t limit) : journal_(journal), limit_(limit) {}

    void put(const ports::Body& body);
    /// From memory or not at all: never blocks on the disk.
    std::optional<Text> cached(const execution::BodyRef& ref);
    /// From memory, else from the journal (blocks on the disk). An empty reference is an empty
    /// text.
    Result<Text> get(const ExecutionId& id, const execution::BodyRef& ref);

  private:
    void insert(const std::string& digest, Text text);

    ports::Journal& journal_;
    std::size_t limit_;
    std::mutex mutex_;
    std::size_t bytes_ = 0;                          ///< with what an entry takes besides its text
    std::list<std::pair<std::string, Text>> order_;  ///< newest first
    std::map<std::string, std::list<std::pair<std::string, Text>>::iterator> index_;
};

}  // namespace aegis::runner
