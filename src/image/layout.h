#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "os/fd.h"

namespace aegis::image {

/// What a layout says of its image, after its digests were checked.
struct Layout {
    std::string digest;  ///< of the configuration: the image's id
    std::vector<std::string> env;
    std::string working_dir;
    bool declares_command = false;
    std::vector<os::Fd> layers;  ///< from the lowest; each is the content its digest states
};

/// Reads an OCI image layout (image-spec v1) or what `docker save` writes from a directory. Nothing
/// in it is trusted: paths stay inside, sizes are bounded, stated digests are verified. kInvalid.
Result<Layout> readLayout(int directory);

}  // namespace aegis::image
