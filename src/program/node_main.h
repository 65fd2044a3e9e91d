#pragma once

#include "cli/node_commands.h"
#include "config/config.h"

namespace aegis::program {

/// The configuration that --config (or ./aegis-config.yaml) gives, with its warnings printed. A
/// missing default file is an empty one; a missing file that was named is an error.
Result<config::Config> loadConfig(const cli::GlobalFlags& flags, bool warn);
/// The same, with the warnings in it instead of printed.
Result<config::ParsedConfig> parseConfigFile(const cli::GlobalFlags& flags);
Result<std::string> dataDirOf(const config::Config& config);

int startDaemon(cli::Context& context, const cli::NodeCommands::Start& how);
int stopDaemon(cli::Context& context);
int reloadDaemon(cli::Context& context);
int buildImage(cli::Context& context, const std::string& language, const std::string& version);
int listImages(cli::Context& context);
int validateConfig(cli::Context& context);
int dumpConfig(cli::Context& context);
/// `connect` makes the connection to a daemon, as for client commands.
int runDoctor(cli::Context& context, const cli::Context::ServiceFactory& connect);

}  // namespace aegis::program
