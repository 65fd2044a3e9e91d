#include "base/error.h"

#include <fmt/format.h>

#include <array>
#include <cerrno>
#include <cstring>

namespace aegis {
namespace {

// In the order of ErrorCode. Exit codes are those of the command line's manual.
constexpr std::array<ErrorTraits, 15> kTraits{{
    {"invalid", 400, 2},
    {"not_found", 404, 1},
    {"unauthenticated", 401, 3},
    {"permission_denied", 403, 3},
    {"conflict", 409, 4},
    {"too_large", 413, 2},
    {"too_many", 429, 10},
    {"unsupported", 400, 2},
    {"unreachable", 502, 5},
    {"unavailable", 503, 10},
    {"timeout", 504, 10},
    {"cancelled", 409, 7},
    {"storage_full", 507, 10},
    {"io", 500, 10},
    {"internal", 500, 10},
}};

}  // namespace

const ErrorTraits& errorTraits(ErrorCode code) { return kTraits[static_cast<std::size_t>(code)]; }

ErrorCode errorCodeFromName(std::string_view name) {
    for (std::size_t i = 0; i < kTraits.size(); ++i) {
        if (kTraits[i].name == name) return static_cast<ErrorCode>(i);
    }
    return ErrorCode::kInternal;
}

std::string ErrorDetail::str() const {
    std::string out;
    if (!file.empty()) out += file + ":";
    if (line > 0) out += fmt::format("{}:{}:", line, column);
    if (!out.empty()) out += ' ';
    if (!path.empty()) out += path + ": ";
    return out + message;
}

Error Error::within(std::string_view context) && {
    message = fmt::format("{}: {}", context, message);
    return std::move(*this);
}

Error errnoError(int err, std::string_view what) {
    ErrorCode code = ErrorCode::kIo;
    if (err == ENOSPC || err == EDQUOT) code = ErrorCode::kStorageFull;
    if (err == ENOENT) code = ErrorCode::kNotFound;
    if (err == EACCES || err == EPERM) code = ErrorCode::kPermissionDenied;
    std::array<char, 128> buffer{};
    return {code, fmt::format("{}: {}", what, ::strerror_r(err, buffer.data(), buffer.size()))};
}

}  // namespace aegis
