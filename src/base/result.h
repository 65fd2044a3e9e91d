#pragma once

#include <expected>
#include <type_traits>
#include <utility>

#include "base/error.h"

namespace aegis {

/// A value or an Error. libstdc++ 12's std::expected is not nodiscard and has no monadic
/// operations; this is it with the attribute. Exceptions never cross a room's boundary: functions
/// that can fail return a Result.
template <class T>
class [[nodiscard]] Result : public std::expected<T, Error> {
  public:
    using Base = std::expected<T, Error>;
    using Base::Base;
    Result(Error error) : Base(std::unexpect, std::move(error)) {}
    Result(ErrorCode code, std::string message, std::string hint = {})
        : Base(std::unexpect, code, std::move(message), std::move(hint)) {}
};

using Status = Result<void>;

}  // namespace aegis

/// Evaluates `expr` (a Result); returns its error from the enclosing function, else binds the
/// value.
#define AEGIS_CONCAT_(a, b) a##b
#define AEGIS_CONCAT(a, b) AEGIS_CONCAT_(a, b)
#define AEGIS_TRY(var, expr)                                                    \
    auto AEGIS_CONCAT(try_, __LINE__) = (expr);                                 \
    if (!AEGIS_CONCAT(try_, __LINE__))                                          \
        return ::aegis::Error(std::move(AEGIS_CONCAT(try_, __LINE__).error())); \
    var = std::move(*AEGIS_CONCAT(try_, __LINE__))
/// The same for a Status.
#define AEGIS_CHECK(expr)                                                  \
    do {                                                                   \
        if (auto aegis_status_ = (expr); !aegis_status_)                   \
            return ::aegis::Error(std::move(aegis_status_.error()));       \
    } while (false)
