#include "store/sqlite/sqlite.h"

#include <fmt/format.h>

#include <cerrno>

#include "base/assert.h"

namespace aegis::store {
namespace {

constexpr std::string_view kLostWrite = "a write could not be made durable (fsync failed)";

bool isFull(sqlite3* db, int code) {
    if ((code & 0xff) == SQLITE_FULL) return true;
    int error = ::sqlite3_system_errno(db);
    return (code & 0xff) == SQLITE_IOERR && (error == ENOSPC || error == EDQUOT);
}

}  // namespace

Error sqlError(sqlite3* db, int code) {
    int extended = db == nullptr ? code : ::sqlite3_extended_errcode(db);
    if ((extended & 0xff) != (code & 0xff)) extended = code;
    std::string text = db == nullptr ? ::sqlite3_errstr(code) : ::sqlite3_errmsg(db);
    if (extended == SQLITE_IOERR_FSYNC || extended == SQLITE_IOERR_DIR_FSYNC) return lostWrite();
    if (db != nullptr && isFull(db, extended))
        return {ErrorCode::kStorageFull, "the data directory's disk is full"};
    switch (code & 0xff) {
        case SQLITE_CONSTRAINT:
            return {ErrorCode::kConflict, text};
        case SQLITE_BUSY:
        case SQLITE_LOCKED:
            return {ErrorCode::kUnavailable, fmt::format("database: {}", text)};
        case SQLITE_IOERR:
        case SQLITE_CANTOPEN:
        case SQLITE_READONLY:
            return {ErrorCode::kIo, fmt::format("database: {} (code {})", text, extended)};
        default:
            return {ErrorCode::kInternal, fmt::format("database: {} (code {})", text, extended)};
    }
}

Error lostWrite() { return {ErrorCode::kIo, std::string(kLostWrite)}; }

bool isLostWrite(const Error& error) { return error.message == kLostWrite; }

Query::Query(Query&& other) noexcept
    : db_(other.db_),
      statement_(std::exchange(other.statement_, nullptr)),
      error_(other.error_),
      index_(other.index_) {}

Query::~Query() {
    if (statement_ == nullptr) return;
    ::sqlite3_reset(statement_);
    ::sqlite3_clear_bindings(statement_);
}

Result<bool> Query::step() {
    if (error_ == SQLITE_OK) {
        int code = ::sqlite3_step(statement_);
        if (code == SQLITE_ROW) return true;
        if (code == SQLITE_DONE) return false;
        error_ = code;
    }
    return sqlError(db_, error_);
}

Status Query::run() {
    while (true) {
        AEGIS_TRY(bool row, step());
        if (!row) return {};
    }
}

std::string_view Query::bytes(int column) const {
    const auto* data = static_cast<const char*>(::sqlite3_column_blob(statement_, column));
    auto size = static_cast<std::size_t>(::sqlite3_column_bytes(statement_, column));
    return data == nullptr ? std::string_view() : std::string_view(data, size);
}

void Query::bindOne(std::int64_t value) {
    if (error_ == SQLITE_OK) error_ = ::sqlite3_bind_int64(statement_, ++index_, value);
}
void Query::bindOne(double value) {
    if (error_ == SQLITE_OK) error_ = ::sqlite3_bind_double(statement_, ++index_, value);
}
void Query::bindOne(std::string_view text) {
    if (error_ != SQLITE_OK) return;
    error_ = ::sqlite3_bind_text64(statement_, ++index_, text.empty() ? "" : text.data(),
                                   text.size(), SQLITE_TRANSIENT, SQLITE_UTF8);
}
void Query::bindOne(Text text) {
    if (error_ != SQLITE_OK) return;
    error_ =
        ::sqlite3_bind_text64(statement_, ++index_, text.bytes.empty() ? "" : text.bytes.data(),
                              text.bytes.size(), SQLITE_STATIC, SQLITE_UTF8);
}
void Query::bindOne(Blob blob) {
    if (error_ != SQLITE_OK) return;
    error_ =
        ::sqlite3_bind_blob64(statement_, ++index_, blob.bytes.empty() ? "" : blob.bytes.data(),
                              blob.bytes.size(), SQLITE_STATIC);
}
void Query::bindOne(std::nullptr_t) {
    if (error_ == SQLITE_OK) error_ = ::sqlite3_bind_null(statement_, ++index_);
}

Result<Database> Database::open(const std::string& path, Mode mode, const std::string& vfs) {
    int flags =
        SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE |
        (mode == Mode::kWrite ? SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE : SQLITE_OPEN_READONLY);
    sqlite3* raw = nullptr;
    int code = ::sqlite3_open_v2(path.c_str(), &raw, flags, vfs.empty() ? nullptr : vfs.c_str());
    Database db;
    db.handle_.reset(raw);
    if (code != SQLITE_OK) return sqlError(raw, code).within(path);
    ::sqlite3_busy_timeout(raw, 10'000);
    return db;
}

Query Database::query(std::string_view sql) {
    auto& cached = statements_[sql];
    int code = SQLITE_OK;
    if (!cached) {
        sqlite3_stmt* statement = nullptr;
        code = ::sqlite3_prepare_v3(handle_.get(), sql.data(), static_cast<int>(sql.size()),
                                    SQLITE_PREPARE_PERSISTENT, &statement, nullptr);
        cached.reset(statement);
    }
    AEGIS_ASSERT(!cached || ::sqlite3_stmt_busy(cached.get()) == 0);
    return {handle_.get(), cached.get(), code};
}

Status Database::exec(const char* sql) {
    int code = ::sqlite3_exec(handle_.get(), sql, nullptr, nullptr, nullptr);
    if (code != SQLITE_OK) return sqlError(handle_.get(), code);
    return {};
}

Result<std::int64_t> Database::integer(std::string_view sql) {
    Query q = query(sql);
    AEGIS_TRY(bool row, q.step());
    if (!row) return {ErrorCode::kInternal, "the query has no result"};
    return q.integer(0);
}

}  // namespace aegis::store
