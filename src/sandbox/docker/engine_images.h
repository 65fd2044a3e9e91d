#pragma once

#include <memory>
#include <string>

#include "base/result.h"
#include "ports/root_images.h"

namespace aegis::sandbox {

/// The container engine's images, for the embedded sandbox; nothing is pulled. The engine need not
/// be there. kInvalid, kUnsupported for a bad docker_host.
Result<std::unique_ptr<ports::ImageOrigin>> engineImages(const std::string& docker_host);

}  // namespace aegis::sandbox
