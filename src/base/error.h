#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace aegis {

/// What went wrong, as a caller can act on it. One table (errorTraits) maps a code to the HTTP
/// status and the exit code that a user sees.
enum class ErrorCode : std::uint8_t {
    kInvalid,           ///< malformed or invalid input: a manifest, a flag, JSON
    kNotFound,          ///< the named thing does not exist
    kUnauthenticated,   ///< no or wrong credentials
    kPermissionDenied,  ///< known, but not allowed
    kConflict,     ///< the current state forbids it (paused, archived, already finished, in use)
    kTooLarge,     ///< beyond a stated limit
    kTooMany,      ///< rate or count limit
    kUnsupported,  ///< understood, but this node does not offer it
    kUnreachable,  ///< a peer (daemon, engine, provider) cannot be reached
    kUnavailable,  ///< reachable, but refuses or fails for the moment
    kTimeout,      ///< a deadline passed
    kCancelled,    ///< somebody asked for it to stop
    kStorageFull,  ///< ENOSPC or the reserve is used up
    kIo,           ///< a system call failed otherwise
    kInternal,     ///< a defect of ours
};

/// The stable snake_case name used in API answers ("not_found"), the HTTP status and the exit code.
struct ErrorTraits {
    std::string_view name;
    int http_status;
    int exit_code;
};
const ErrorTraits& errorTraits(ErrorCode code);

/// Inverse of errorTraits().name; kInternal for an unknown name.
ErrorCode errorCodeFromName(std::string_view name);

/// One problem of several, with its place. Line and column are 1-based; 0 means unknown.
struct ErrorDetail {
    std::string path;  ///< where in the document: "spec.runtime.version" or a JSON pointer
    std::string file;
    int line = 0;
    int column = 0;
    std::string message;

    /// "file:line:column: path: message", leaving out what is unknown.
    std::string str() const;
};

/// A failure, as a value. `message` is one line without a trailing full stop; `hint`, when set, is
/// the next step a user can take. Never holds a secret.
struct Error {
    ErrorCode code = ErrorCode::kInternal;
    std::string message;
    std::string hint;
    std::vector<ErrorDetail> details;

    Error() = default;
    Error(ErrorCode c, std::string m, std::string h = {})
        : code(c), message(std::move(m)), hint(std::move(h)) {}

    /// The same error with "<context>: " before its message.
    Error within(std::string_view context) &&;
};

/// An Error of kIo (or kStorageFull for ENOSPC and EDQUOT, kNotFound for ENOENT, kPermissionDenied
/// for EACCES and EPERM) reading "<what>: <strerror(err)>".
Error errnoError(int err, std::string_view what);

}  // namespace aegis
