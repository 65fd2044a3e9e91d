#pragma once

#include <condition_variable>
#include <mutex>
#include <vector>

#include "store/sqlite/sqlite.h"

namespace aegis::store {

/// A few reading connections, lent one at a time. Each loan is one read transaction, so all that is
/// read with it is of one moment. Safe on any thread; take() waits while all are lent.
class Readers {
  public:
    static constexpr int kConnections = 4;
    Status open(const std::string& path, const std::string& vfs);

    class Loan {
      public:
        Loan(Readers& owner, Database db);
        Loan(const Loan&) = delete;
        ~Loan();
        Database* operator->() { return &db_; }
        Database& operator*() { return db_; }

      private:
        Readers& owner_;
        Database db_;
    };
    Loan take();

  private:
    std::mutex mutex_;
    std::condition_variable free_;
    std::vector<Database> idle_;
};

}  // namespace aegis::store
