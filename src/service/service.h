#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/time.h"
#include "text/json.h"

namespace aegis::service {

/// Who asks. Made by the listener that accepted the request; decides what is allowed.
struct Principal {
    std::string name = "local";
    bool admin = true;
};

/// One manifest text with the name that error positions show.
struct ManifestFile {
    std::string name;
    std::string text;
};

struct ListAgents {
    std::string status;  ///< "deployed", "paused", "archived" or "" (deployed and paused)
    bool all = false;    ///< archived ones too
    std::map<std::string, std::string> labels;
    int limit = 0;
    std::string cursor;
};

struct ListExecutions {
    std::string agent;   ///< name, id or unique prefix; "" for all
    std::string status;  ///< "" for all
    std::optional<UtcTime> since;
    std::map<std::string, std::string> labels;
    int limit = 50;
    std::string cursor;
    bool input_summary = false;  ///< each with the beginning of its input
};

/// Takes the place of the manifest's budget, limit by limit.
struct BudgetRequest {
    std::optional<double> usd;
    std::optional<std::int64_t> tokens, llm_calls, tool_calls;
};

struct ExecuteRequest {
    std::string agent;  ///< name, id or unique prefix
    std::optional<std::string> input;  ///< the exact text; none: the manifest's input_data, else {}
    std::optional<int> max_iterations;
    std::string model;  ///< alias; "" for the manifest's
    std::map<std::string, std::string> labels;
    std::string idempotency_key;
    std::optional<std::int64_t> timeout_ms;
    BudgetRequest budget;
};

/// The node's events, agents' too.
struct NodeEventQuery {
    /// Opaque cursor of an event or a page; "" from the first, "newest" what comes after it.
    std::string after;
    std::optional<UtcTime> since;    ///< those at or after it
    std::string agent;               ///< name (archived bearers too), id or unique prefix
    std::vector<std::string> types;  ///< "" for all
    int limit = 100;                 ///< of a page
};

/// What a download is, before its first byte.
struct DownloadHead {
    std::string name;                   ///< of the file, as it would be called here
    std::optional<std::uint64_t> size;  ///< none: not known
};
/// Takes a download as it comes; false to stop. An error after the first byte leaves it cut.
struct DownloadSink {
    std::function<bool(const DownloadHead&)> begin;
    std::function<bool(std::string_view)> piece;
};

/// Receives events in order, each exactly once, as the API encodes them. Return false to stop.
using EventCallback = std::function<bool(const json::Value& event)>;

/// A reference to an execution is its id, a unique prefix of 4 or more characters (a trailing
/// "-..." is accepted), or "@last". Errors: kNotFound (with "did you mean"), kInvalid with the
/// matches listed for an ambiguous prefix, kInvalid with positions in `details`, kUnreachable from
/// a client. Safe on any thread.
class Service {
  public:
    virtual ~Service() = default;

    /// {"items":[agent record + "result":"created|updated|unchanged" + "warnings":["…"]]}.
    /// All or nothing. With `validate_only` nothing is stored and "result" is "valid".
    virtual Result<json::Value> deploy(const Principal& who, const std::vector<ManifestFile>& files,
                                       bool validate_only) = 0;
    /// {"items":[…],"count":n,"next_cursor":…}; records without the manifest.
    virtual Result<json::Value> listAgents(const Principal& who, const ListAgents& query) = 0;
    /// `revision` 0: the newest.
    virtual Result<json::Value> getAgent(const Principal& who, const std::string& agent,
                                         int revision) = 0;
    /// {"items":[{"revision","version","created_at","manifest_yaml"}],"count":n}, newest first.
    virtual Result<json::Value> agentVersions(const Principal& who, const std::string& agent) = 0;
    /// The record afterwards. All three are idempotent but for an archived agent (kConflict).
    virtual Result<json::Value> pauseAgent(const Principal& who, const std::string& agent) = 0;
    virtual Result<json::Value> resumeAgent(const Principal& who, const std::string& agent) = 0;
    virtual Result<json::Value> deleteAgent(const Principal& who, const std::string& agent) = 0;

    /// The execution record, once it is durable.
    virtual Result<json::Value> execute(const Principal& who, const ExecuteRequest& request) = 0;
    virtual Result<json::Value> listExecutions(const Principal& who,
                                               const ListExecutions& query) = 0;
    virtual Result<json::Value> getExecution(const Principal& who,
                                             const std::string& execution) = 0;
    /// [{"iteration","output","tool_calls":[…],"stdout","stderr"}]; `iteration` 0: all.
    virtual Result<json::Value> executionLogs(const Principal& who, const std::string& execution,
                                              int iteration) = 0;
    /// The record afterwards, when no process of it is alive. kConflict if it had ended.
    virtual Result<json::Value> cancelExecution(const Principal& who,
                                                const std::string& execution) = 0;
    virtual Status removeExecution(const Principal& who, const std::string& execution) = 0;
    /// A page of events with seq > after: {"items":[…],"next_after":n}.
    virtual Result<json::Value> executionEvents(const Principal& who, const std::string& execution,
                                                std::uint64_t after, int limit) = 0;
    /// Every event with seq > after until the terminal one, live. Re-joins by itself where the
    /// transport breaks, for at most `patience`. Ends with success after the terminal event or when
    /// the callback returns false.
    virtual Status watchExecution(const Principal& who, const std::string& execution,
                                  std::uint64_t after, std::int64_t patience_ms,
                                  const EventCallback& callback) = 0;

    /// A page in commit order: {"items":[event + "agent_name", "cursor"],"next_cursor"}. One that
    /// is not full ends at the newest event; "next_cursor" goes on from it then too.
    virtual Result<json::Value> nodeEvents(const Principal& who, const NodeEventQuery& query) = 0;
    /// Every event behind the cursor, live, until the callback returns false; none is skipped or
    /// repeated. Re-joins by itself where the transport breaks, for at most `patience`.
    virtual Status watchNodeEvents(const Principal& who, const NodeEventQuery& query,
                                   std::int64_t patience_ms, const EventCallback& callback) = 0;

    /// Record, manifest, events, bodies and logs as one .tar.gz (service/local/archive.h).
    virtual Status exportExecution(const Principal& who, const std::string& execution,
                                   const DownloadSink& sink) = 0;
    /// Runs an ended one again from its record: {"status":"reproduced|diverged","events",
    /// "iterations",…,"divergence":null|{"seq","iteration","what","recorded","replayed"}}.
    virtual Result<json::Value> replayExecution(const Principal& who,
                                                const std::string& execution) = 0;

    virtual Result<json::Value> listVolumes(const Principal& who) = 0;
    virtual Result<json::Value> getVolume(const Principal& who, const std::string& volume) = 0;
    virtual Status deleteVolume(const Principal& who, const std::string& volume) = 0;
    /// What is at a path of a volume: {"path","type","size","modified_at"}, and for a directory
    /// "items" (by name, a page of those behind `after`) with "next_after". Links are not followed.
    virtual Result<json::Value> volumeFiles(const Principal& who, const std::string& volume,
                                            const std::string& path, const std::string& after) = 0;
    /// The content of a regular file.
    virtual Status readVolumeFile(const Principal& who, const std::string& volume,
                                  const std::string& path, const DownloadSink& sink) = 0;

    /// {"version","node_id","started_at","data_dir","isolation",…}: what `daemon status` shows.
    virtual Result<json::Value> nodeStatus(const Principal& who) = 0;
};

}  // namespace aegis::service
