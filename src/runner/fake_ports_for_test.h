#pragma once

#include <algorithm>
#include <atomic>
#include <deque>
#include <map>
#include <mutex>
#include <set>
#include <thread>

#include "os/clock.h"
#include "runner/runner.h"

namespace aegis::runner {

/// A journal in memory: what a crash leaves. Commits at once.
class FakeJournal : public ports::Journal {
  public:
    void append(ports::Batch batch, Committed done) override {
        Status status;
        {
            std::lock_guard lock(mutex_);
            auto& log = logs_[batch.execution];
            if (dead) return;  // the process is gone: nobody hears
            bool starts = std::ranges::any_of(batch.events, [](const execution::Event& e) {
                return std::holds_alternative<execution::ExecutionStarted>(e.data);
            });
            if (log.size() != batch.expected_seq) {
                status = Error(ErrorCode::kConflict, "expected another seq");
            } else if (starts && starts_refused > 0) {
                --starts_refused;
                status = Error(ErrorCode::kConflict, "a lock is in use");
            } else {
                log.insert(log.end(), batch.events.begin(), batch.events.end());
                for (auto& body : batch.bodies)
                    bodies_[body.ref.sha256] = *body.bytes;
                rows_[batch.execution] = batch.row;
            }
            bool answered = std::ranges::any_of(batch.events, [](const execution::Event& e) {
                return std::holds_alternative<execution::LlmCallCompleted>(e.data);
            });
            if (hold_answers && answered) {
                held_ = std::move(done);
                return;
            }
        }
        done(status);
    }
    Result<std::vector<execution::Event>> events(const ExecutionId& id, std::uint64_t after,
                                                 std::size_t limit) override {
        std::lock_guard lock(mutex_);
        std::vector<execution::Event> out;
        for (const auto& e : logs_[id])
            if (e.seq > after && out.size() < limit) out.push_back(e);
        return out;
    }
    Result<std::string> body(const ExecutionId&, const execution::BodyRef& ref) override {
        std::lock_guard lock(mutex_);
        auto it = bodies_.find(ref.sha256);
        if (it == bodies_.end()) return {ErrorCode::kNotFound, "no such body"};
        return it->second;
    }
    Result<ports::ExecutionRow> row(const ExecutionId& id) override {
        std::lock_guard lock(mutex_);
        if (!rows_.contains(id)) return {ErrorCode::kNotFound, "no such execution"};
        return rows_[id];
    }
    Result<std::vector<ports::ExecutionRow>> unfinished() override {
        std::lock_guard lock(mutex_);
        std::vector<ports::ExecutionRow> out;
        for (auto& [id, row] : rows_)
            if (!execution::isTerminal(row.status)) out.push_back(row);
        return out;
    }
    Result<ports::ExecutionPage> list(const ports::ExecutionFilter&) override {
        return unsupported();
    }
    Result<std::vector<ExecutionId>> endedBefore(UtcTime, std::size_t) override {
        return unsupported();
    }
    Result<std::vector<ExecutionId>> idsByPrefix(const std::string&, int) override {
        return unsupported();
    }
    Result<std::optional<ExecutionId>> byIdempotencyKey(const AgentId&, const std::string&,
                                                        std::string&) override {
        return unsupported();
    }
    Status remove(const ExecutionId&) override { return unsupported(); }
    Status releaseEnded() override { return {}; }
    Result<ports::NodeEventPage> nodeEvents(const ports::NodeEventFilter&) override {
        return unsupported();
    }
    void observe(Observer) override {}
    void unobserve() override {}

    bool holds() {
        std::lock_guard lock(mutex_);
        return held_ != nullptr;
    }
    /// What was held is on disk.
    void release() {
        Committed done;
        {
            std::lock_guard lock(mutex_);
            done = std::exchange(held_, nullptr);
        }
        done({});
    }

    std::atomic<bool> hold_answers = false;  ///< the commit of a model's answer takes its time
    std::atomic<bool> dead = false;
    std::atomic<int> starts_refused = 0;  ///< so many to come

  private:
    static Error unsupported() { return {ErrorCode::kUnsupported, "not in this test"}; }
    std::mutex mutex_;
    Committed held_;
    std::map<ExecutionId, std::vector<execution::Event>> logs_;
    std::map<std::string, std::string> bodies_;
    std::map<ExecutionId, ports::ExecutionRow> rows_;
};

/// One agent, for ever.
class FakeRegistry : public ports::Registry {
  public:
    ports::AgentRecord record;
    Result<std::vector<ports::DeployResult>> deploy(
        const std::vector<ports::NewRevision>&) override {
        return unsupported();
    }
    Result<ports::AgentPage> list(const ports::AgentFilter&) override { return unsupported(); }
    Result<ports::AgentRecord> byId(const AgentId&) override { return record; }
    Result<ports::AgentRecord> byName(const std::string&) override { return record; }
    Result<ports::AgentRecord> revision(const AgentId&, int) override { return record; }
    Result<std::vector<ports::AgentRecord>> revisions(const AgentId&) override {
        return unsupported();
    }
    Result<std::vector<ports::AgentRecord>> byPrefix(const std::string&, int) override {
        return unsupported();
    }
    Result<ports::AgentRecord> setStatus(const AgentId&, ports::AgentStatus) override {
        return unsupported();
    }

  private:
    static Error unsupported() { return {ErrorCode::kUnsupported, "not in this test"}; }
};

/// Answers from a list; an empty list leaves the call waiting until it is cancelled.
class FakeModels : public ports::Models {
  public:
    CallId start(ports::ModelRequest request, Deadline, ports::ModelSink sink) override {
        std::unique_lock lock(mutex);
        auto id = ++last_;
        prompts.push_back(*request.messages.back().content);
        requests.push_back(request);
        if (answers.empty()) {
            waiting_[id] = sink.done;
            return id;
        }
        auto answer = answers.front();
        answers.pop_front();
        lock.unlock();
        if (answer) sink.delta(answer->content);
        if (!answer && sink.again_in) sink.again_in(5000);
        sink.done(std::move(answer));
        return id;
    }
    void cancel(CallId id) override {
        std::function<void(Result<ports::ModelAnswer>)> done;
        {
            std::lock_guard lock(mutex);
            auto it = waiting_.find(id);
            if (it == waiting_.end()) return;
            done = it->second;
            waiting_.erase(it);
        }
        done(Error(ErrorCode::kCancelled, "cancelled"));
    }
    std::vector<std::string> aliases() const override { return {"default"}; }
    Result<ports::Price> price(const std::string&) const override { return ports::Price{1, 2}; }

    std::mutex mutex;
    std::deque<Result<ports::ModelAnswer>> answers;
    std::vector<std::string> prompts;
    std::vector<ports::ModelRequest> requests;

  private:
    CallId last_ = 0;
    std::map<CallId, std::function<void(Result<ports::ModelAnswer>)>> waiting_;
};

class FakeTools : public ports::Tools, public ports::SandboxFiles {
  public:
    std::vector<std::string> names() const override { return {"echo"}; }
    std::vector<ports::ToolSpec> offered(const agent::Manifest&) const override { return {}; }
    ports::ToolAdmission admit(const ports::ToolContext&,
                               const ports::ToolCall& call) const override {
        ports::ToolAdmission out;
        out.summary = call.arguments;
        out.reason = "unknown tool";
        if (call.name == "echo") out.verdict = ports::ToolAdmission::Verdict::kRun;
        if (call.name == "cmd.run") {
            out.verdict = ports::ToolAdmission::Verdict::kDispatch;
            out.barrier = true;
            out.dispatch.command = call.arguments;
        }
        return out;
    }
    void run(const ports::ToolContext&, const ports::ToolCall& call, Deadline,
             std::function<void(ports::ToolOutcome)> done) override {
        ++runs;
        done({true, "echoed " + call.arguments, call.arguments, "", {}});
    }
    ports::ToolOutcome finish(const ports::ToolCall&,
                              const ports::DispatchOutcome& outcome) const override {
        return {outcome.exit_code == 0, outcome.standard_output, "", "", outcome.exit_code};
    }
    Result<std::string> read(const ports::SandboxId&, const std::string&, std::uint64_t,
                             Deadline) override {
        return {ErrorCode::kNotFound, "no such file"};
    }
    std::atomic<int> runs = 0;
};

class FakeVolumes : public ports::Volumes {
  public:
    void attach(ports::AttachRequest, Deadline,
                std::function<void(Result<std::vector<ports::AttachedVolume>>)> done) override {
        done(std::vector<ports::AttachedVolume>{
            {VolumeId::generate(os::systemRandom()), "w", "/w", "/"}});
    }
    void detach(const ExecutionId&, UtcTime, Deadline, std::function<void(Status)> done) override {
        ++detached;
        done({});
    }
    std::vector<ports::VolumeRecord> full(const ExecutionId&) override { return {}; }
    void onFull(OnFull tell) override { on_full = std::move(tell); }
    void expectWrites(const ExecutionId& id) override {
        if (on_write) on_write(id);
    }
    Result<std::vector<ports::VolumeRecord>> list() override {
        return std::vector<ports::VolumeRecord>{};
    }
    Result<ports::VolumeRecord> get(const VolumeId&) override {
        return {ErrorCode::kNotFound, "no such volume"};
    }
    Status erase(const VolumeId&) override { return {}; }
    Result<std::unique_ptr<ports::VolumeView>> view(const VolumeId&) override {
        return {ErrorCode::kNotFound, "no such volume"};
    }
    Status sweep(const std::set<ExecutionId>&, UtcTime) override { return {}; }
    Status available() override { return {}; }
    std::atomic<int> detached = 0;
    OnFull on_full;
    std::function<void(const ExecutionId&)> on_write;  ///< a program begins
};

/// Its guests are threads that speak the guest protocol to the runner, as bootstrap.py does.
class FakeRuntime : public ports::Runtime {
  public:
    ~FakeRuntime() override { join(); }
    std::string name() const override { return "fake"; }
    Status available() override { return {}; }
    Result<ports::ImageFacts> checkImage(const std::string&, const std::string&) override {
        return ports::ImageFacts{};
    }
    void start(ports::SandboxSpec spec, Deadline, ports::SandboxSink& sink) override {
        std::lock_guard lock(mutex_);
        sinks_[spec.id] = &sink;
        sink.up(spec.id, {"fake", "f", 1});
        guests_.emplace_back([this, spec = std::move(spec)] { guest(spec); });
    }
    void close(const ports::SandboxId& id, Deadline, std::function<void(Status)> done) override {
        end(id, {.died = "closed"});
        done({});
    }
    void run(const ports::SandboxId&, std::vector<std::string>, Deadline,
             std::function<void(Result<ports::CommandResult>)> done) override {
        done(Error(ErrorCode::kUnsupported, "not in this test"));
    }
    Result<os::Fd> root(const ports::SandboxId&) override {
        return {ErrorCode::kUnsupported, "not in this test"};
    }
    Status sweep(const std::set<ports::SandboxId>&) override { return {}; }
    void join() {
        for (auto& guest : guests_)
            if (guest.joinable()) guest.join();
    }

    Runner* runner = nullptr;
    int exit_code = 0;
    /// What a guest does instead, on a thread of its own; its result is what it prints.
    std::function<std::string(const ports::SandboxSpec&)> program;

  private:
    void end(const ports::SandboxId& id, ports::BootstrapExit exit) {
        ports::SandboxSink* sink = nullptr;
        {
            std::lock_guard lock(mutex_);
            sink = std::exchange(sinks_[id], nullptr);
        }
        if (sink != nullptr) sink->ended(id, std::move(exit));
    }
    void guest(const ports::SandboxSpec& spec) {
        if (program) {
            ports::BootstrapExit exit;
            exit.exit_code = exit_code;
            exit.standard_output = program(spec) + "\n";
            end(spec.id, exit);
            return;
        }
        auto& clock = os::systemClock();
        auto call = std::make_shared<GuestCall>();
        proto::guest::GenerateRequest request;
        request.request_id = "r";
        request.execution_id = spec.id.execution.str();
        request.prompt = *spec.prompt;
        runner->generate(spec.id, request, call);
        while (auto message = call->next(Deadline::in(clock.boot(), 20'000), clock)) {
            using Kind = GuestMessage::Kind;
            if (message->kind == Kind::kError) return;
            if (message->kind == Kind::kFinal) {
                ports::BootstrapExit exit;
                exit.exit_code = exit_code;
                exit.standard_output = message->content + "\n";
                end(spec.id, exit);
                return;
            }
            if (message->kind != Kind::kDispatch) continue;
            call = std::make_shared<GuestCall>();
            proto::guest::DispatchResult result;
            result.dispatch_id = message->dispatch_id;
            result.stdout_text = "ran " + message->command.command;
            runner->dispatchResult(spec.id, result, call);
        }
    }
    std::mutex mutex_;
    std::map<ports::SandboxId, ports::SandboxSink*> sinks_;
    std::vector<std::thread> guests_;
};

}  // namespace aegis::runner
