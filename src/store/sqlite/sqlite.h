#pragma once

#include <sqlite3.h>

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>

#include "base/result.h"

namespace aegis::store {

/// A blob to bind: bound without a copy, so the bytes must live until the query is stepped.
struct Blob {
    std::string_view bytes;
};

/// The same for a text.
struct Text {
    std::string_view bytes;
};

/// One use of a cached statement: binds in order of the question marks, steps, and gives the
/// statement back when destroyed. Errors of preparing and binding appear at the first step.
///
///     Query q = db.query("SELECT seq FROM events WHERE exec_no = ?").bind(exec_no);
///     while (true) { AEGIS_TRY(bool row, q.step()); if (!row) break; ... q.integer(0) ... }
class Query {
  public:
    Query(sqlite3* db, sqlite3_stmt* statement, int error)
        : db_(db), statement_(statement), error_(error) {}
    Query(Query&& other) noexcept;
    Query& operator=(Query&&) = delete;
    ~Query();

    template <class... Values>
    Query bind(const Values&... values) && {
        (bindOne(values), ...);
        return std::move(*this);
    }

    /// True: a row is there; false: the end.
    Result<bool> step();
    /// Steps to the end.
    Status run();

    /// Columns of the current row, from 0. Views live until the next step.
    std::int64_t integer(int column) const { return ::sqlite3_column_int64(statement_, column); }
    double real(int column) const { return ::sqlite3_column_double(statement_, column); }
    bool isNull(int column) const {
        return ::sqlite3_column_type(statement_, column) == SQLITE_NULL;
    }
    /// Text or blob.
    std::string_view bytes(int column) const;
    std::string text(int column) const { return std::string(bytes(column)); }

  private:
    void bindOne(std::int64_t value);
    void bindOne(int value) { bindOne(std::int64_t{value}); }
    void bindOne(std::uint64_t value) { bindOne(static_cast<std::int64_t>(value)); }
    void bindOne(double value);
    void bindOne(std::string_view text);  ///< copied
    void bindOne(const std::string& text) { bindOne(std::string_view(text)); }
    void bindOne(const char* text) { bindOne(std::string_view(text)); }
    void bindOne(Text text);
    void bindOne(Blob blob);
    void bindOne(std::nullptr_t);

    sqlite3* db_;
    sqlite3_stmt* statement_;
    int error_;
    int index_ = 0;
};

/// A connection with its statement cache. Belongs to one thread at a time.
class Database {
  public:
    enum class Mode : std::uint8_t { kWrite, kRead };
    Database() = default;
    /// `vfs` names a registered VFS; empty: the default.
    static Result<Database> open(const std::string& path, Mode mode, const std::string& vfs);

    /// `sql` is one statement of the program's text, never put together from input. A statement may
    /// not be in use twice at once.
    Query query(std::string_view sql);
    /// Several statements without parameters or results.
    Status exec(const char* sql);
    /// The value of a pragma or any other query of one integer.
    Result<std::int64_t> integer(std::string_view sql);
    int changes() const { return ::sqlite3_changes(handle_.get()); }
    bool inTransaction() const { return ::sqlite3_get_autocommit(handle_.get()) == 0; }
    sqlite3* handle() { return handle_.get(); }

  private:
    struct Close {
        void operator()(sqlite3* db) const { ::sqlite3_close_v2(db); }
    };
    struct Finalize {
        void operator()(sqlite3_stmt* statement) const { ::sqlite3_finalize(statement); }
    };
    std::unique_ptr<sqlite3, Close> handle_;
    std::map<std::string_view, std::unique_ptr<sqlite3_stmt, Finalize>> statements_;
};

/// What SQLite's result `code` on `db` means: kStorageFull, kConflict (constraint), kUnavailable
/// (busy), kInternal (a damaged file or our own mistake), kIo.
Error sqlError(sqlite3* db, int code);

/// The error of a failed fsync: what was written before may be lost, nothing may be trusted any
/// more.
Error lostWrite();
/// Whether an error is lostWrite(), from SQLite or from a file of ours.
bool isLostWrite(const Error& error);

}  // namespace aegis::store
