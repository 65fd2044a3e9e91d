#pragma once

#include <optional>
#include <string>
#include <vector>

#include "doctor/finding.h"
#include "doctor/machine.h"

namespace aegis::doctor {

/// What is to be checked.
struct Subject {
    config::Config config;
    std::string config_path;            ///< as it was asked for
    bool config_found = false;          ///< else the built-in defaults are in `config`
    std::optional<Error> config_error;  ///< it cannot be used; `config` has the defaults
    std::vector<ErrorDetail> config_warnings;
    std::string data_dir;
    /// Where the daemon is looked for: "localhost:9090".
    std::string daemon_addr;
    std::string version;                ///< of this program
    bool docker_needed = true;          ///< agents cannot run without a container engine
    bool process_needed = false;        ///< agents run in embedded sandboxes by default
    std::vector<std::string> recipes;   ///< images that can be built here: "aegis/python:3.11"
    std::vector<std::string> unpacked;  ///< those of the configuration that are, in data_dir
};

// Each check by itself: pure rules over what the machine tells.

Findings checkSystem(Machine& machine, const Subject& subject);
Findings checkConfiguration(Machine& machine, const Subject& subject);
Findings checkEngine(Machine& machine, const Subject& subject);
Findings checkImages(Machine& machine, const Subject& subject);
Findings checkCgroups(Machine& machine, const Subject& subject);
Findings checkSandboxing(Machine& machine, const Subject& subject);
Findings checkVolumes(Machine& machine, const Subject& subject);
Findings checkStorage(Machine& machine, const Subject& subject);
Findings checkLimits(Machine& machine, const Subject& subject);
Findings checkClock(Machine& machine, const Subject& subject);
Findings checkDaemon(Machine& machine, const Subject& subject);
/// One provider; its failure is a warning here, for others may serve (see settleProviders).
Findings checkProvider(Machine& machine, const config::ProviderConfig& provider);
/// An Ollama that the daemon finds by itself, where the configuration names no provider.
Findings checkNoProvider(Machine& machine, const Subject& subject);

/// With no provider that is fit for use, their warnings are failures. A key that is only missing
/// here may be set in the environment of a daemon that runs.
void settleProviders(Findings& findings, bool daemon_runs);

}  // namespace aegis::doctor
