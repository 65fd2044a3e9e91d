// Volumes and sandboxes: what an iteration runs in.

#include <fmt/format.h>

#include <algorithm>
#include <mutex>

#include "base/log.h"
#include "runner/effects.h"
#include "runner/prompt.h"

namespace aegis::runner {

using namespace execution;
using aegis::Status;  // not the execution's

namespace {

constexpr std::int64_t kAttachMs = 60'000;
constexpr std::int64_t kDetachMs = 30'000;
constexpr std::int64_t kKillMs = 10'000;
constexpr std::int64_t kStartMs = 300'000;  // an image may have to be fetched first
constexpr std::size_t kMaxErrorTail = 16'384;

Failure sandboxFailure(const Error& error) {
    auto message = error.hint.empty() ? error.message
                                      : fmt::format("{} (hint: {})", error.message, error.hint);
    return {std::string(failure_code::kSandboxError), std::move(message)};
}

std::string memoryText(std::uint64_t bytes) {
    return bytes % (1ULL << 20U) == 0 ? fmt::format("{} MiB", bytes >> 20U)
                                      : fmt::format("{} bytes", bytes);
}

/// Turns what the sandbox port says into inputs. Keeps itself alive until the sandbox has ended:
/// the port refers to it, and an actor that was halted may be gone before.
class Sink : public ports::SandboxSink, public std::enable_shared_from_this<Sink> {
  public:
    explicit Sink(std::shared_ptr<Actor> actor) : actor_(std::move(actor)) {}

    void hold() { self_ = shared_from_this(); }

    void up(const ports::SandboxId& id, ports::SandboxStartInfo info) override {
        actor_->post(SandboxUp{id.ordinal, {info.runtime, info.name, info.start_ms}});
    }
    void failed(const ports::SandboxId& id, Error error, bool fatal) override {
        actor_->post(SandboxFailed{id.ordinal, sandboxFailure(error), fatal});
        self_.reset();
    }
    void ended(const ports::SandboxId& id, ports::BootstrapExit exit) override {
        auto actor = actor_;
        // On the core thread first: only there is it known what the last final message was.
        actor->run([actor, id, exit = std::move(exit)]() mutable {
            auto final_answer = finalAnswer(actor->state());
            actor->deps().work([actor, id, final_answer, exit = std::move(exit)]() mutable {
                report(actor, id, final_answer, std::move(exit));
            });
        });
        self_.reset();
    }

  private:
    static void report(const std::shared_ptr<Actor>& actor, const ports::SandboxId& id,
                       const BodyRef& final_answer, ports::BootstrapExit exit);

    std::shared_ptr<Actor> actor_;
    std::shared_ptr<Sink> self_;
};

std::string outputOf(Actor& actor, const BodyRef& final_answer, const std::string& out) {
    if (!final_answer.empty()) {
        auto text = actor.deps().bodies.get(actor.context().id, final_answer);
        auto answer = text ? json::parse(**text) : Result<json::Value>(text.error());
        if (answer) return std::string(json::getString(*answer, "content"));
    }
    return out.ends_with('\n') ? out.substr(0, out.size() - 1) : out;
}

Failure failureOf(const Actor& actor, const ports::BootstrapExit& exit) {
    bool ended_well = exit.died.empty() && exit.exit_code == 0;
    if (exit.out_of_memory && !ended_well) {
        auto limit = actor.context().manifest->security.resources.memory_bytes;
        return {std::string(failure_code::kOutOfMemory),
                fmt::format("out of memory: a process was killed at the limit of {}",
                            memoryText(limit))};
    }
    if (!exit.died.empty()) return {std::string(failure_code::kSandboxError), exit.died};
    if (exit.startup_failed)
        return {std::string(failure_code::kSandboxError),
                fmt::format("the startup script failed with exit code {}",
                            exit.exit_code.value_or(-1))};
    if (!exit.exit_code) {
        return {std::string(failure_code::kSandboxError),
                fmt::format("the bootstrap was killed by signal {}", exit.signal)};
    }
    return {};
}

void Sink::report(const std::shared_ptr<Actor>& actor, const ports::SandboxId& id,
                  const BodyRef& final_answer, ports::BootstrapExit exit) {
    BootstrapEnded input;
    input.sandbox = id.ordinal;
    input.exit_code = exit.exit_code;
    input.failure = failureOf(*actor, exit);
    if (exit.out_of_memory && input.failure.code.empty())
        exit.standard_error += "[aegis] out of memory: a process inside was killed\n";
    std::vector<ports::Body> bodies;
    auto store = [&bodies](std::string text) {
        if (text.empty()) return BodyRef{};
        bodies.push_back(ports::makeBody(std::move(text)));
        return bodies.back().ref;
    };
    std::string error = input.failure.message;
    if (error.empty() && exit.exit_code.value_or(0) != 0)
        error = fmt::format("the bootstrap exited with code {}", *exit.exit_code);
    if (!error.empty() && !exit.standard_error.empty()) {
        auto from =
            exit.standard_error.size() - std::min(exit.standard_error.size(), kMaxErrorTail);
        error += "\nstderr:\n" + exit.standard_error.substr(from);
    }
    input.output = store(outputOf(*actor, final_answer, exit.standard_output));
    input.standard_output = store(std::move(exit.standard_output));
    input.standard_error = store(std::move(exit.standard_error));
    input.error = store(std::move(error));
    reportFullVolumes(actor);
    actor->post(std::move(input), std::move(bodies));
}

ports::SandboxSpec specOf(const ExecutionContext& context, const State& state, int ordinal,
                          std::vector<ports::AttachedVolume> volumes) {
    const auto& manifest = *context.manifest;
    const auto& resources = manifest.security.resources;
    ports::SandboxSpec spec;
    spec.id = {context.id, ordinal};
    spec.agent = context.agent_id;
    spec.agent_name = context.agent_name;
    spec.iteration = state.iteration;
    spec.image = context.image;
    spec.image_pull_policy = std::string(agent::name(manifest.runtime.image_pull_policy));
    spec.volumes = std::move(volumes);
    spec.mounts = agent::mountPlan(manifest);
    spec.create_directories = agent::pathsToCreate(manifest);
    spec.cpu_millicores = resources.cpu_millicores;
    spec.memory_bytes = resources.memory_bytes;
    spec.tmp_bytes = resources.disk_bytes;
    spec.pids = resources.pids;
    spec.env = manifest.env;
    spec.env["AEGIS_AGENT_ID"] = context.agent_id.str();
    spec.env["AEGIS_EXECUTION_ID"] = context.id.str();
    spec.env["AEGIS_ITERATION"] = std::to_string(state.iteration);
    spec.env["AEGIS_MODEL_ALIAS"] = state.model_alias;
    spec.env["OPENAI_API_KEY"] = "aegis-placeholder";
    spec.env["ANTHROPIC_API_KEY"] = "aegis-placeholder";
    spec.cwd = agent::defaultCwd(manifest);
    spec.bootstrap_path = manifest.advanced.bootstrap_path;
    spec.startup_script = manifest.advanced.startup_script;
    spec.keep_ready = manifest.advanced.warm_pool_size;
    return spec;
}

/// A start that may be called off: after stop() the port has either been asked, and closing the
/// sandbox will find it, or never will be.
class StartGate {
  public:
    void stop() {
        std::lock_guard lock(mutex_);
        stopped_ = true;
    }
    template <class F>
    bool enter(F&& start) {
        std::lock_guard lock(mutex_);
        if (!stopped_) start();
        return !stopped_;
    }

  private:
    std::mutex mutex_;
    bool stopped_ = false;
};

/// Attaching is repeatable: asked again it tells where the volumes of this execution are.
void withVolumes(const std::shared_ptr<Actor>& actor,
                 std::function<void(Result<std::vector<ports::AttachedVolume>>)> then) {
    const auto& context = actor->context();
    if (context.manifest->volumes.empty()) {
        then(std::vector<ports::AttachedVolume>{});
        return;
    }
    auto& deps = actor->deps();
    deps.volumes.attach({context.id, context.agent_id, context.manifest->volumes},
                        Deadline::in(deps.clock.boot(), kAttachMs), std::move(then));
}

}  // namespace

void reportFullVolumes(const std::shared_ptr<Actor>& actor) {
    if (actor->context().manifest->volumes.empty()) return;
    for (const auto& volume : actor->deps().volumes.full(actor->context().id))
        actor->post(QuotaExceeded{{volume.id, volume.name}});
}

std::function<void()> attachVolumes(const std::shared_ptr<Actor>& actor) {
    withVolumes(actor, [actor](Result<std::vector<ports::AttachedVolume>> volumes) {
        if (!volumes) {
            actor->post(SandboxFailed{0, sandboxFailure(volumes.error()), true});
            return;
        }
        VolumesReady ready;
        for (const auto& v : *volumes)
            ready.volumes.push_back({v.id, v.name, v.mount_point});
        actor->post(std::move(ready));
    });
    return [] {};
}

std::function<void()> startSandbox(const std::shared_ptr<Actor>& actor, const EffectKey& key) {
    if (actor->context().runtime == nullptr) {
        actor->post(SandboxFailed{key.sandbox, sandboxFailure(actor->context().no_runtime), true});
        return [] {};
    }
    auto state = actor->state();
    auto gate = std::make_shared<StartGate>();
    withVolumes(actor, [actor, key, gate, state = std::move(state)](auto volumes) mutable {
        if (!volumes) {
            actor->post(SandboxFailed{key.sandbox, sandboxFailure(volumes.error()), true});
            return;
        }
        auto job = [actor, key, gate, state = std::move(state),
                    volumes = std::move(*volumes)]() mutable {
            auto& deps = actor->deps();
            auto prompt = renderPrompt(deps, actor->context(), state);
            if (!prompt) {
                actor->post(
                    SandboxFailed{key.sandbox,
                                  {std::string(failure_code::kInternal), prompt.error().message},
                                  true});
                return;
            }
            auto spec = specOf(actor->context(), state, key.sandbox, std::move(volumes));
            spec.prompt = std::make_shared<const std::string>(std::move(*prompt));
            auto deadline = Deadline::in(deps.clock.boot(), kStartMs);
            gate->enter([&] {
                auto sink = std::make_shared<Sink>(actor);
                sink->hold();
                actor->sandboxAsked();
                actor->context().runtime->start(std::move(spec), deadline, *sink);
            });
        };
        actor->deps().work(std::move(job));
    });
    return [gate] { gate->stop(); };
}

void killSandbox(const std::shared_ptr<Actor>& actor, int ordinal,
                 std::function<void(Status)> done) {
    if (ordinal <= 0 || actor->context().runtime == nullptr) {
        done({});
        return;
    }
    auto deadline = Deadline::in(actor->deps().clock.boot(), kKillMs);
    actor->context().runtime->close({actor->context().id, ordinal}, deadline, std::move(done));
}

std::function<void()> closeSandbox(const std::shared_ptr<Actor>& actor, const EffectKey& key) {
    bool detach = key.last && actor->state().volumes_attached;
    killSandbox(actor, key.sandbox, [actor, key, detach](Status killed) {
        auto closed = [actor, key](const Status& status) {
            SandboxClosed input{key.sandbox, key.last, {}};
            if (!status) {
                log(LogLevel::kError, "a sandbox or its volumes could not be closed",
                    {{"execution_id", actor->context().id.str()},
                     {"error", status.error().message}});
                input.failure = {std::string(failure_code::kSandboxError), status.error().message};
            }
            actor->post(std::move(input));
        };
        if (!killed || !detach) {
            closed(killed);
            return;
        }
        auto& deps = actor->deps();
        deps.volumes.detach(actor->context().id, deps.clock.utc(),
                            Deadline::in(deps.clock.boot(), kDetachMs), closed);
    });
    return [] {};
}

}  // namespace aegis::runner
