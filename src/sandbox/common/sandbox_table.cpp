#include "sandbox/common/sandbox_table.h"

#include <algorithm>
#include <chrono>
#include <future>
#include <thread>

#include "os/clock.h"

namespace aegis::sandbox {
namespace {
constexpr std::int64_t kPollMs = 5;
}

void SandboxTable::start(std::shared_ptr<GuestSandbox> sandbox, ports::SandboxSink& sink) {
    reactor_.post([this, sandbox = std::move(sandbox), &sink] {
        const auto id = sandbox->spec().id;
        if (!sandboxes_.emplace(id, sandbox).second)
            return sink.failed(id, {ErrorCode::kConflict, "this sandbox exists already"}, false);
        sandbox->start();
    });
}

void SandboxTable::close(const ports::SandboxId& id, Deadline deadline,
                         std::function<void(Status)> done) {
    reactor_.post([this, id, deadline, done = std::move(done)] {
        auto found = sandboxes_.find(id);
        if (found == sandboxes_.end()) return done({});
        // A copy: the sandbox may take itself out of the table.
        const auto sandbox = found->second;
        sandbox->close(deadline, done);
    });
}

void SandboxTable::run(const ports::SandboxId& id, std::vector<std::string> command,
                       Deadline deadline, std::function<void(Result<ports::CommandResult>)> done) {
    reactor_.post([this, id, command = std::move(command), deadline, done = std::move(done)] {
        auto found = sandboxes_.find(id);
        if (found == sandboxes_.end())
            return done(Error(ErrorCode::kNotFound, "the sandbox is not running"));
        const auto sandbox = found->second;
        sandbox->run(command, deadline, done);
    });
}

std::map<ports::SandboxId, std::string> SandboxTable::snapshot() {
    std::promise<std::map<ports::SandboxId, std::string>> promise;
    reactor_.post([this, &promise] {
        std::map<ports::SandboxId, std::string> out;
        for (const auto& [id, sandbox] : sandboxes_)
            out.emplace(id, sandbox->runName());
        promise.set_value(std::move(out));
    });
    return promise.get_future().get();
}

Status SandboxTable::closeAll(const std::set<ports::SandboxId>& keep, Deadline deadline) {
    std::vector<std::future<Status>> results;
    for (const auto& [id, unused] : snapshot()) {
        if (keep.contains(id)) continue;
        // Shared: the callback is copied on its way.
        auto promise = std::make_shared<std::promise<Status>>();
        results.push_back(promise->get_future());
        close(id, deadline, [promise](Status status) { promise->set_value(std::move(status)); });
    }
    Status status;
    for (auto& result : results)
        if (auto one = result.get(); !one) status = std::move(one);
    // Dead is reported as soon as it is so; the start may still be under way.
    while (!deadline.passed(os::systemClock().boot())) {
        const auto live = snapshot();
        if (std::all_of(live.begin(), live.end(),
                        [&](const auto& entry) { return keep.contains(entry.first); }))
            return status;
        os::pauseMs(kPollMs);
    }
    return status;
}

}  // namespace aegis::sandbox
