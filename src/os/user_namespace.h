#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/time.h"

/// A user namespace in which an ordinary user is what root is to a machine of his own: with ids
/// that the administrator gave him in /etc/subuid and /etc/subgid.
namespace aegis::os {

/// `count` ids from `inside` on are those from `outside` on, seen from here.
struct IdExtent {
    std::uint32_t inside = 0;
    std::uint32_t outside = 0;
    std::uint32_t count = 0;
};

/// The first id of a range of `count` or more that a text like /etc/subuid's gives a user, whom it
/// may name or number. Pure.
std::optional<std::uint32_t> subordinateRange(std::string_view text, std::string_view user,
                                              uid_t uid, std::uint32_t count);

struct SubordinateIds {
    std::uint32_t first_uid = 0;
    std::uint32_t first_gid = 0;
};
/// `count` of each for this process's user. kUnsupported names the file or the program that is
/// missing. Changes nothing.
Result<SubordinateIds> subordinateIds(std::uint32_t count);

/// Moves this process, which has one thread, into a user and a mount namespace of its own with
/// these maps, for good: there it has all capabilities, and the id 0 that the maps give its user.
/// Tried with a child first, so that a failure leaves this process where it is.
Status enterUserNamespace(const std::vector<IdExtent>& uids, const std::vector<IdExtent>& gids,
                          Deadline deadline);

/// Whether this process went that way. What only the machine's root may do, it may not.
bool inOwnUserNamespace();

/// This process's user, seen from where it was started.
uid_t startingUser();

}  // namespace aegis::os
