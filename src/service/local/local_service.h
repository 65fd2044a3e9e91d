#pragma once

#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <utility>

#include "ports/registry.h"
#include "runner/runner.h"
#include "service/local/event_hub.h"
#include "service/local/node_feed.h"
#include "service/local/records.h"
#include "service/local/watch.h"
#include "service/service.h"

namespace aegis::service {

/// What the local service is made of. References outlive it.
struct LocalParts {
    Clock& clock;
    Random& random;
    ports::Journal& journal;
    ports::Registry& registry;
    ports::Models& models;
    ports::Volumes& volumes;
    runner::Runner& runner;
    EventHub& hub;
    NodeFeed& feed;
    /// What this node offers now.
    std::function<agent::NodeFacts()> facts;
    /// What `daemon status` shows beside what the service knows.
    std::function<json::Object()> node_status;
};

/// The service on this node. Safe on any thread; calls block on the store, cancel on the sandbox.
class LocalService : public Service {
  public:
    explicit LocalService(LocalParts parts) : p_(std::move(parts)) {}

    Result<json::Value> deploy(const Principal& who, const std::vector<ManifestFile>& files,
                               bool validate_only) override;
    Result<json::Value> listAgents(const Principal& who, const ListAgents& query) override;
    Result<json::Value> getAgent(const Principal& who, const std::string& agent,
                                 int revision) override;
    Result<json::Value> agentVersions(const Principal& who, const std::string& agent) override;
    Result<json::Value> pauseAgent(const Principal& who, const std::string& agent) override;
    Result<json::Value> resumeAgent(const Principal& who, const std::string& agent) override;
    Result<json::Value> deleteAgent(const Principal& who, const std::string& agent) override;

    Result<json::Value> execute(const Principal& who, const ExecuteRequest& request) override;
    Result<json::Value> listExecutions(const Principal& who, const ListExecutions& query) override;
    Result<json::Value> getExecution(const Principal& who, const std::string& execution) override;
    Result<json::Value> executionLogs(const Principal& who, const std::string& execution,
                                      int iteration) override;
    Result<json::Value> cancelExecution(const Principal& who,
                                        const std::string& execution) override;
    Status removeExecution(const Principal& who, const std::string& execution) override;
    Result<json::Value> executionEvents(const Principal& who, const std::string& execution,
                                        std::uint64_t after, int limit) override;
    Status watchExecution(const Principal& who, const std::string& execution, std::uint64_t after,
                          std::int64_t patience_ms, const EventCallback& callback) override;

    Result<json::Value> nodeEvents(const Principal& who, const NodeEventQuery& query) override;
    Status watchNodeEvents(const Principal& who, const NodeEventQuery& query,
                           std::int64_t patience_ms, const EventCallback& callback) override;

    Result<json::Value> listVolumes(const Principal& who) override;
    Result<json::Value> getVolume(const Principal& who, const std::string& volume) override;
    Status deleteVolume(const Principal& who, const std::string& volume) override;
    Result<json::Value> volumeFiles(const Principal& who, const std::string& volume,
                                    const std::string& path, const std::string& after) override;
    Status readVolumeFile(const Principal& who, const std::string& volume, const std::string& path,
                          const DownloadSink& sink) override;
    Status exportExecution(const Principal& who, const std::string& execution,
                           const DownloadSink& sink) override;
    Result<json::Value> replayExecution(const Principal& who,
                                        const std::string& execution) override;
    Result<json::Value> nodeStatus(const Principal& who) override;

    // ---- For the API's event streams, which do not block a thread for each watcher ----

    /// An execution by id, unique prefix or "@last".
    Result<ports::ExecutionRow> resolveExecution(const std::string& reference);
    /// A text that an execution's events refer to, by its digest. kNotFound if it has no such.
    Result<std::string> executionBody(const std::string& execution, const std::string& sha256);
    /// A watch on it; run() it to begin.
    std::shared_ptr<Watch> watch(const ports::ExecutionRow& row, std::uint64_t after,
                                 Watch::Deliver deliver);
    /// The journal's filter for a query of the node's events.
    Result<ports::NodeEventFilter> nodeEventFilter(const NodeEventQuery& query);
    /// NodeFeed's subscribe and unsubscribe.
    NodeFeed::Subscription follow(ports::NodeEventFilter from, NodeFeed::Watcher watcher);
    void unfollow(NodeFeed::Subscription subscription);

  private:
    Result<ports::AgentRecord> resolveAgent(const std::string& reference);
    /// What finds an agent's executions and events: its name, archived bearers included, or its id.
    Result<std::string> agentFilter(const std::string& reference);
    Result<ports::VolumeRecord> resolveVolume(const std::string& reference);
    /// Parsed, from memory if it was before: a revision never changes.
    using ManifestPtr = std::shared_ptr<const agent::Manifest>;
    Result<ManifestPtr> manifestOf(const ports::AgentRecord& record);
    Result<json::Value> setStatus(const std::string& agent, ports::AgentStatus status);
    Result<json::Value> fullRecord(const ports::ExecutionRow& row);
    Result<execution::RecordView> view(const ExecutionId& id);
    BodyText bodies(const ExecutionId& id);
    /// The first characters of its input; null if that is too large to be read for a list.
    Result<json::Value> inputSummary(const ExecutionId& id);

    LocalParts p_;
    std::mutex mutex_;
    std::map<std::pair<AgentId, int>, ManifestPtr> manifests_;
};

}  // namespace aegis::service
