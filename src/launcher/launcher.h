#pragma once

namespace aegis::launcher {

/// Serves the daemon on `socket` (proto/launch.h) until it closes its end; then returns 0.
/// Sandboxes that were made live on. Anything that is not the protocol ends it with 1, what the
/// kernel refuses at its own start with 3. To be called first thing in a process of one thread.
int serve(int socket);

/// The descriptor at which a launcher finds its socket.
inline constexpr int kSocket = 3;

}  // namespace aegis::launcher
