// aegis agent init

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "cli/agent_files.h"
#include "os/files.h"

namespace aegis::cli {
namespace {

constexpr std::string_view kDefaultName = "my-agent";
constexpr std::size_t kMaxName = 63;

// Lines that begin with "#" and a letter are fields to be taken in; "# " begins a remark.
constexpr std::string_view kStarter =
    R"(# An agent for AEGIS. A remark begins with "# "; a field that is
# switched off begins with "#" alone.
#
#   aegis run @FILE@ --input '{"task": "Say hello."}'
#
apiVersion: 100monkeys.ai/v1
kind: Agent
metadata:
  name: @NAME@
  version: "1.0.0"
  description: "Says what this agent is for."
  #labels:
    #team: my-team

spec:
  # The managed base image: no Dockerfile, no program of your own.
  runtime:
    language: python
    version: "3.11"
    # An alias of llm.aliases in aegis-config.yaml; without it: default.
    #model: default
    # docker or process; without it: what the node is configured for.
    #isolation: docker

  task:
    # What the agent has to do, whatever the input.
    instruction: |
      Do the task that the user gives you. Be concise.
    # What the model is sent. {{input}} is the text of --input as it was given; {{previous_error}}
    # says what was wrong with the iteration before, so that a retry can mend it.
    prompt_template: |
      {{instruction}}

      User: {{input}}
      {{#if previous_error}}
      Your previous attempt failed with the following error. Fix it:
      {{previous_error}}
      {{/if}}
      Assistant:

  execution:
    mode: iterative
    # An iteration that a validator refuses is followed by another one, at most so many.
    max_iterations: 5
    iteration_timeout: "300s"
    # All must pass, in order. Others: json_schema, command, semantic, multi_judge.
    validation:
      - type: exit_code
        expected: 0
      #- type: regex
        #pattern: "."

  # Deny by default: nothing is reachable, readable or writable that is not listed.
  security:
    network:
      # none, or: allow, with an allowlist like [api.github.com].
      mode: none
    resources:
      cpu: 1000
      memory: "512Mi"
      timeout: "300s"

  # Files that live through all iterations, for commands and for the fs.* tools.
  #volumes:
    #- name: workspace
      #storage_class: ephemeral
      #mount_point: /workspace
      #access_mode: read-write
      #size_limit_mb: 256
      #ttl_hours: 1

  # Without this list: every built-in tool that the rest allows.
  #tools: [cmd.run]
)";

bool isName(std::string_view name) {
    auto plain = [](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'); };
    return !name.empty() && name.size() <= kMaxName && plain(name.front()) &&
           std::ranges::all_of(name, [&](char c) { return plain(c) || c == '-'; });
}

std::string replaced(std::string text, std::string_view what, std::string_view with) {
    for (auto at = text.find(what); at != std::string::npos; at = text.find(what, at + with.size()))
        text.replace(at, what.size(), with);
    return text;
}

/// Refuses a file that is there, unless the user agrees; the answer is whether to write.
Result<bool> mayWrite(const Context& context, const std::string& path) {
    if (::access(path.c_str(), F_OK) != 0 || context.flags.yes) return true;
    if (!context.interactive())
        return Error(ErrorCode::kInvalid, fmt::format("{} is there already", path),
                     "--yes overwrites it");
    return context.confirm(fmt::format("Overwrite {}?", path));
}

}  // namespace

std::string starterManifest(const std::string& name) {
    return replaced(replaced(std::string(kStarter), "@NAME@", name), "@FILE@", name + ".yaml");
}

int initManifest(Context& context, const std::string& given, const std::string& file) {
    // "agent init -": the default agent to stdout.
    bool dash = given == "-";
    auto name = given.empty() || dash ? std::string(kDefaultName) : given;
    auto path = !file.empty() ? file : dash ? std::string("-") : name + ".yaml";
    if (!isName(name))
        return context.fail({ErrorCode::kInvalid, fmt::format("\"{}\" is no agent's name", name),
                             "lower-case letters, digits and dashes, at most 63, no dash first"});
    auto text = starterManifest(name);
    if (path == "-") {
        context.print(text);
        return 0;
    }
    auto may = mayWrite(context, path);
    if (!may) return context.fail(may.error());
    if (!*may) {
        context.note("nothing written");
        return 130;
    }
    auto folder = path.find('/') == std::string::npos ? "." : path.substr(0, path.rfind('/') + 1);
    if (::access(folder.c_str(), W_OK) != 0)
        return context.fail({ErrorCode::kInvalid, errnoError(errno, path).message});
    if (auto written = os::writeFileAtomic(path, text, 0644); !written)
        return context.fail({ErrorCode::kInvalid, written.error().message});
    if (context.format() != OutputFormat::kTable) {
        context.printValue(json::Object{{"name", name}, {"path", path}});
        return 0;
    }
    context.print(fmt::format("Wrote {}\n", path));
    context.note(fmt::format("hint: aegis run {} --input '{{\"task\": \"Say hello.\"}}'", path));
    return 0;
}

}  // namespace aegis::cli
