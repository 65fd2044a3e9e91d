#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "os/fd.h"
#include "ports/sandbox.h"
#include "proto/ctl.h"

namespace aegis::sandbox {

/// What of an image a payload gets.
struct ImageDefaults {
    std::vector<std::string> env;  ///< NAME=value
    std::string working_dir;       ///< empty: none
};

/// Whether the payload is the managed bootstrap from its first instruction on, so that one that
/// waits can be it.
bool startsManaged(const ports::SandboxSpec& spec);

/// Whether this is how a sandbox with a startup script ends when that has failed; takes the sign
/// out of the output.
bool tookStartupFailure(const ports::SandboxSpec& spec, ports::BootstrapExit& exit);

/// The payload's working directory: the specification's, else the image's, else /tmp.
std::string workingDirectory(const ports::SandboxSpec& spec, const ImageDefaults& image);

/// The payload's environment as NAME=value: the image's, then HOME, where the guest's init serves
/// the daemon's socket and its egress proxy, and the specification's on top. A port of 0: not
/// served.
std::vector<std::string> payloadEnv(const ports::SandboxSpec& spec, const ImageDefaults& image,
                                    int api_port, int proxy_port = 0);

/// The `prepare` message for PID 1: the managed bootstrap, up to the point where it needs its job.
/// For sandboxes made before it is known for whom.
Result<std::string> prepareMessage(const ImageDefaults& image);

/// What a template of sandboxes executes: the same interpreter, in which every payload that is
/// forked of it waits for its job.
std::vector<std::string> templateCommand();

/// At most this much of each of the payload's streams is kept.
inline constexpr std::size_t kCaptureCap = 1 << 20;

/// The `start` message for PID 1. A prompt that cannot be an argument comes as a sealed memory file
/// to be sent with it as the third descriptor.
struct PayloadStart {
    std::string message;
    os::Fd prompt;  ///< empty: the prompt is an argument
};
/// kTooLarge when the environment does not fit a message.
Result<PayloadStart> payloadStart(const ports::SandboxSpec& spec,
                                  const std::vector<std::string>& env, const std::string& cwd);

}  // namespace aegis::sandbox
