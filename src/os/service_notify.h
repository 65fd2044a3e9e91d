#pragma once

#include <string_view>

namespace aegis::os {

/// One datagram to the service manager that started this process, at $NOTIFY_SOCKET: "READY=1",
/// "STOPPING=1", "STATUS=…", several by newlines (sd_notify(3)). Nothing happens where there is
/// none. Never waits; a manager that does not listen is no error of ours. Any thread.
void notifyServiceManager(std::string_view state);

}  // namespace aegis::os
