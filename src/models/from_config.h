#pragma once

#include "config/config.h"
#include "models/router.h"

namespace aegis::models {

/// The catalog that a configuration describes. Reads the scripts of scripted providers; kInvalid
/// with all their problems as details.
Result<Catalog> catalogFrom(const config::LlmConfig& config);

/// A router over `curl` with a timer thread of its own. `curl`, `clock` and `random` outlive it.
/// For a reload: router->reload(catalogFrom(config)).
Result<std::unique_ptr<Router>> makeRouter(const config::LlmConfig& config, net::CurlMulti& curl,
                                           Clock& clock, Random& random);

}  // namespace aegis::models
