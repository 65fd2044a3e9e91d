#pragma once

#include <cstdint>

#include "agent/manifest.h"
#include "ports/tools.h"

namespace aegis::tools {

struct CmdOptions {
    int timeout_secs = 60;                       ///< when a call names none
    std::uint64_t output_limit_bytes = 1 << 20;  ///< per stream, kept from its tail
    /// Not empty: only these commands; a command's empty list allows any first argument.
    agent::SubcommandAllowlist subcommand_allowlist;
};

inline constexpr int kMaxTimeoutSecs = 3600;

/// The tool `cmd.run`. Immutable; any thread.
class CmdRun {
  public:
    explicit CmdRun(CmdOptions options) : options_(std::move(options)) {}

    static ports::ToolSpec spec();
    ports::ToolAdmission admit(const agent::Manifest& manifest, const ports::ToolCall& call) const;
    /// ok = exit code 0. The model gets {"exit_code","stdout","stderr","truncated"}.
    ports::ToolOutcome finish(const ports::ToolCall& call,
                              const ports::DispatchOutcome& outcome) const;

  private:
    Result<ports::DispatchCommand> parse(const agent::Manifest& manifest,
                                         const ports::ToolCall& call) const;

    CmdOptions options_;
};

}  // namespace aegis::tools
