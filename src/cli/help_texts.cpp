// What help and man pages say beyond the flags. A path that is no command fails a test, and so does
// a command without an example.

#include <algorithm>
#include <array>
#include <utility>

#include "cli/help.h"

namespace aegis::cli {
namespace {

constexpr std::string_view kAgents = "Agents and executions";
constexpr std::string_view kMachine = "This machine";
constexpr std::string_view kMore = "More";

constexpr std::array<std::pair<std::string_view, std::string_view>, 10> kHeadingOf{
    {{"agent", kAgents},
     {"run", kAgents},
     {"execute", kAgents},
     {"execution", kAgents},
     {"events", kAgents},
     {"volume", kAgents},
     {"daemon", kMachine},
     {"image", kMachine},
     {"config", kMachine},
     {"doctor", kMachine}}};

std::vector<HelpText> agentTexts() {
    return {
        {"agent", "", {}},
        {"agent deploy",
         "Every problem of a manifest is reported at once, with its place, and nothing is stored "
         "if "
         "any document is invalid. The same metadata.name updates the live agent in place: the id "
         "stays, the revision grows, executions that are running go on with theirs.",
         {{"store a manifest, or update the agent of that name", "aegis agent deploy agent.yaml"},
          {"all manifests of a directory, together or not at all", "aegis agent deploy ./agents"},
          {"only check", "aegis agent deploy --validate-only agent.yaml"},
          {"the new agent's id, for a script",
           "aegis agent deploy agent.yaml -o json | jq -r .id"}}},
        {"agent list",
         "",
         {{"", "aegis agent list"},
          {"by label", "aegis agent list --label type=developer"},
          {"archived ones too, with full ids and revisions", "aegis agent list --all --wide"}}},
        {"agent get",
         "",
         {{"", "aegis agent get python-coder"},
          {"an older manifest", "aegis agent get python-coder --revision 2"},
          {"with all defaults resolved", "aegis agent get python-coder -o json | jq .manifest"}}},
        {"agent pause",
         "A paused agent refuses new executions (exit code 4). Those that were accepted go on.",
         {{"", "aegis agent pause python-coder"}}},
        {"agent resume", "", {{"", "aegis agent resume python-coder"}}},
        {"agent delete",
         "Archives the agent: its history is kept, it cannot be restored, and its name is free for "
         "a new agent with a new id. Executions that were accepted go on.",
         {{"", "aegis agent delete python-coder"},
          {"without being asked", "aegis agent delete --yes python-coder pr-reviewer"}}},
        {"agent diff", "", {{"what would a deploy change?", "aegis agent diff agent.yaml"}}},
        {"agent init",
         "The manifest runs as it is: every field is explained beside it. An existing file is "
         "overwritten only with --yes.",
         {{"write my-agent.yaml with comments, to start from", "aegis agent init my-agent"}}},
    };
}

std::vector<HelpText> executionTexts() {
    return {
        {"run",
         "Deploys the file under its name if it changed, executes it and watches: the one-line way "
         "for a single file. The exit code is that of execute --watch.",
         {{"", "aegis run agent.yaml --input '{\"task\": \"reverse a list\"}'"}}},
        {"execute",
         "Prints the execution's id as soon as it is stored durably. With --watch it streams what "
         "happens until the end, and the exit code is 0 if the execution completed, 6 if it failed "
         "and 7 if it was cancelled. Ctrl-C leaves the execution running.",
         {{"start and watch",
           "aegis execute --agent python-coder --watch --input '{\"task\": \"reverse a list\"}'"},
          {"the input from a file or from stdin",
           "aegis execute --agent pr-reviewer --input @pr.json"},
          {"only the id, for a script", "aegis execute --agent python-coder -o json | jq -r .id"},
          {"at most once, however often it is called",
           "aegis execute --agent nightly --idempotency-key 2026-02-23"}}},
        {"execution", "", {}},
        {"execution list",
         "",
         {{"", "aegis execution list"},
          {"what failed in the last day", "aegis execution list --status failed --since 24h"},
          {"cancel all that run of one agent",
           "aegis execution list --agent nightly --status running -q | xargs aegis execution "
           "cancel"}}},
        {"execution get",
         "",
         {{"the newest execution", "aegis execution get @last"},
          {"its final output", "aegis execution get @last -o json | jq -r .output"}}},
        {"execution logs",
         "",
         {{"", "aegis execution logs @last"},
          {"what the container of one iteration wrote to stderr",
           "aegis execution logs a1b2c3d4 --iteration 2 --stderr"}}},
        {"execution watch",
         "A lost connection or a restarted daemon is joined again at the last event seen.",
         {{"from its first event", "aegis execution watch @last"}}},
        {"execution wait",
         "The exit code is 0 if all completed, 6 if one failed, 7 if one was cancelled, 8 if the "
         "time ran out; the highest of these for several.",
         {{"", "aegis execution wait @last --timeout 10m"}}},
        {"execution cancel",
         "When the command returns, no process of the execution is alive. One that has ended "
         "already is a conflict (exit code 4).",
         {{"", "aegis execution cancel a1b2c3d4"}}},
        {"execution replay",
         "Runs an execution again, offline, from the recorded answers and results. The first "
         "divergence is an error that shows both sides (exit code 10); an execution that has not "
         "ended is a conflict (exit code 4).",
         {{"", "aegis execution replay @last"},
          {"an archive, without a daemon", "aegis execution replay execution.tar.gz"}}},
        {"execution export",
         "A file that exists is replaced with --yes only. The archive holds inputs, prompts and "
         "answers, and no key of a provider.",
         {{"record, manifest, events and logs in one archive", "aegis execution export @last"},
          {"to another machine",
           "aegis execution export @last --file - | ssh build tee e.tar.gz"}}},
    };
}

std::vector<HelpText> nodeTexts() {
    return {
        {"events",
         "",
         {{"what happens on this node, as it happens", "aegis events --follow"},
          {"one agent's last hour", "aegis events --agent python-coder --since 1h"}}},
    };
}

std::vector<HelpText> volumeTexts() {
    return {
        {"volume", "", {}},
        {"volume list", "", {{"", "aegis volume list --execution @last"}}},
        {"volume get", "", {{"", "aegis volume get 3f2a91c0"}}},
        {"volume delete",
         "A volume that an execution holds, or that the manifest of an agent names, is a conflict "
         "(exit code 4).",
         {{"", "aegis volume delete 3f2a91c0"}}},
        {"volume files", "", {{"", "aegis volume files 3f2a91c0 /src"}}},
        {"volume cp",
         "Into a directory that exists, else under the name given. A file that exists is replaced "
         "with --yes only; symbolic links, special files and files longer than the volume are left "
         "out.",
         {{"copy a file out", "aegis volume cp 3f2a91c0:/result.json ./result.json"},
          {"a directory", "aegis volume cp 3f2a91c0:/src ."},
          {"to stdout", "aegis volume cp 3f2a91c0:/result.json - | jq"}}},
    };
}

std::vector<HelpText> machineTexts() {
    return {
        {"daemon", "Without a command: daemon start.", {}},
        {"daemon start",
         "",
         {{"in the background; returns when it is ready", "aegis daemon start --detach"},
          {"with a configuration", "aegis daemon start --config /etc/aegis/aegis-config.yaml"}}},
        {"daemon stop", "", {{"", "aegis daemon stop"}}},
        {"daemon status", "", {{"", "aegis daemon status -o json"}}},
        {"daemon reload",
         "Applies providers, aliases, limits and the log level without touching executions that "
         "run.",
         {{"", "aegis daemon reload"}}},
        {"image", "", {}},
        {"image list", "", {{"", "aegis image list"}}},
        {"image build", "", {{"", "aegis image build python 3.11"}}},
        {"config", "", {}},
        {"config validate", "", {{"", "aegis config validate --config new.yaml"}}},
        {"config dump", "", {{"what is in force, defaults included", "aegis config dump"}}},
        {"doctor", "", {{"", "aegis doctor"}}},
    };
}

std::vector<HelpText> moreTexts() {
    return {
        {"",
         "A manifest describes an agent: what it shall do, with which tools, on which files, "
         "within which limits, and how its result is checked. AEGIS runs every attempt in a fresh, "
         "closed-in container and hands a validator's complaint to the next attempt.",
         {{"start a daemon", "aegis daemon start --detach"},
          {"deploy an agent", "aegis agent deploy agent.yaml"},
          {"execute it and watch",
           "aegis execute --agent python-coder --watch --input '{\"task\": \"reverse a list\"}'"},
          {"what happened", "aegis execution get @last"}}},
        {"schema",
         "",
         {{"for editors that know JSON Schema", "aegis schema agent > aegis-agent.schema.json"}}},
        {"completion",
         "Completes commands, flags and values, and the names and ids that the daemon knows.",
         {{"bash, for one user",
           "aegis completion bash > ~/.local/share/bash-completion/"
           "completions/aegis"},
          {"zsh, into a folder of $fpath", "aegis completion zsh > ~/.zfunc/_aegis"},
          {"fish", "aegis completion fish > ~/.config/fish/completions/aegis.fish"}}},
        {"help", "", {{"", "aegis help agent deploy"}}},
    };
}

}  // namespace

const std::vector<HelpText>& allHelpTexts() {
    static const std::vector<HelpText> kTexts = [] {
        std::vector<HelpText> out;
        for (auto&& part : {moreTexts(), agentTexts(), executionTexts(), nodeTexts(), volumeTexts(),
                            machineTexts()})
            out.insert(out.end(), part.begin(), part.end());
        return out;
    }();
    return kTexts;
}

const HelpText* helpTextOf(std::string_view path) {
    const auto& all = allHelpTexts();
    auto found = std::ranges::find(all, path, &HelpText::path);
    return found == all.end() ? nullptr : &*found;
}

std::string_view headingOf(std::string_view command) {
    for (const auto& [name, heading] : kHeadingOf) {
        if (name == command) return heading;
    }
    return kMore;
}

const std::vector<std::string_view>& headings() {
    static const std::vector<std::string_view> kAll{kAgents, kMachine, kMore};
    return kAll;
}

}  // namespace aegis::cli
