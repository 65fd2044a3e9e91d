#pragma once

#include "base/result.h"

namespace aegis::launcher {

/// Lets forks of this process have what it has in memory of its programs' and libraries' code and
/// constants. Otherwise each has to be told by the kernel where in the file that is, page by page
/// as it comes there. Best once all that a fork will need has been used. One thread.
///
/// Success where the kernel or a policy does not allow it; after an error the process is not as it
/// was, and must not go on.
Status shareText();

}  // namespace aegis::launcher
