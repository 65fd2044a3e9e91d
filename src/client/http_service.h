#pragma once

#include <memory>

#include "base/secret.h"
#include "net/http_client.h"
#include "service/service.h"

namespace aegis::client {

struct ClientOptions {
    std::string daemon_addr = "localhost:9090";
    Secret token;
    /// How an https address is connected to; asked for only then, and kept. Empty: it cannot be.
    std::function<Result<net::HttpConnection::Connector>()> secure;
    /// Told of each request: its line, the status or the error, the time. Never a token or a body.
    std::function<void(const std::string& line)> trace;
};

/// A daemon's service. The daemon decides who is asking (by the token), so principals are ignored.
/// Errors carry the daemon's code, message, hint and details; kUnreachable when there is no daemon.
/// One thread at a time.
class HttpService : public service::Service {
  public:
    static Result<std::unique_ptr<HttpService>> create(ClientOptions options, Clock& clock);

    Result<json::Value> deploy(const service::Principal& who,
                               const std::vector<service::ManifestFile>& files,
                               bool validate_only) override;
    Result<json::Value> listAgents(const service::Principal& who,
                                   const service::ListAgents& query) override;
    Result<json::Value> getAgent(const service::Principal& who, const std::string& agent,
                                 int revision) override;
    Result<json::Value> agentVersions(const service::Principal& who,
                                      const std::string& agent) override;
    Result<json::Value> pauseAgent(const service::Principal& who,
                                   const std::string& agent) override;
    Result<json::Value> resumeAgent(const service::Principal& who,
                                    const std::string& agent) override;
    Result<json::Value> deleteAgent(const service::Principal& who,
                                    const std::string& agent) override;
    Result<json::Value> execute(const service::Principal& who,
                                const service::ExecuteRequest& request) override;
    Result<json::Value> listExecutions(const service::Principal& who,
                                       const service::ListExecutions& query) override;
    Result<json::Value> getExecution(const service::Principal& who,
                                     const std::string& execution) override;
    Result<json::Value> executionLogs(const service::Principal& who, const std::string& execution,
                                      int iteration) override;
    Result<json::Value> cancelExecution(const service::Principal& who,
                                        const std::string& execution) override;
    Status removeExecution(const service::Principal& who, const std::string& execution) override;
    Result<json::Value> executionEvents(const service::Principal& who, const std::string& execution,
                                        std::uint64_t after, int limit) override;
    Status watchExecution(const service::Principal& who, const std::string& execution,
                          std::uint64_t after, std::int64_t patience_ms,
                          const service::EventCallback& callback) override;
    Result<json::Value> nodeEvents(const service::Principal& who,
                                   const service::NodeEventQuery& query) override;
    Status watchNodeEvents(const service::Principal& who, const service::NodeEventQuery& query,
                           std::int64_t patience_ms,
                           const service::EventCallback& callback) override;
    Result<json::Value> listVolumes(const service::Principal& who) override;
    Result<json::Value> getVolume(const service::Principal& who,
                                  const std::string& volume) override;
    Status deleteVolume(const service::Principal& who, const std::string& volume) override;
    Result<json::Value> volumeFiles(const service::Principal& who, const std::string& volume,
                                    const std::string& path, const std::string& after) override;
    Status readVolumeFile(const service::Principal& who, const std::string& volume,
                          const std::string& path, const service::DownloadSink& sink) override;
    Status exportExecution(const service::Principal& who, const std::string& execution,
                           const service::DownloadSink& sink) override;
    Result<json::Value> replayExecution(const service::Principal& who,
                                        const std::string& execution) override;
    Result<json::Value> nodeStatus(const service::Principal& who) override;

  private:
    /// How one attempt at a stream ended; of one event, kLost: go on.
    enum class StreamEnd : std::uint8_t { kTerminal, kStopped, kLost };
    using Take = std::function<StreamEnd(const json::Value&)>;
    HttpService(net::Endpoint endpoint, net::HttpConnection::Connector connector, Secret token,
                Clock& clock);
    net::ClientRequest make(std::string method, std::string target, std::string body = {}) const;
    Result<json::Value> call(const net::ClientRequest& request, std::int64_t timeout_ms);
    Result<json::Value> get(std::string target);
    /// The same again while a daemon that has answered before is away: it restarts, perhaps.
    Result<json::Value> getPatiently(const std::string& target, std::int64_t patience_ms);
    Result<json::Value> post(std::string target, const json::Value& body,
                             std::int64_t timeout_ms = 60'000);
    Status remove(std::string target);
    Status download(const std::string& target, const service::DownloadSink& sink);
    Error explain(Error error) const;
    void trace(const net::ClientRequest& request, BootTime begun, const std::string& result) const;
    /// `joined`: whether the daemon began to answer.
    Result<StreamEnd> stream(const std::string& target, const Take& take, bool& joined);
    /// Streams until `take` ends it, again from target() whenever the stream is lost, for at most
    /// `patience` without a daemon that answers.
    Status follow(const std::function<std::string()>& target, const Take& take,
                  std::int64_t patience_ms, const std::string& hint);
    std::string nodeEventsTarget(const service::NodeEventQuery& query) const;

    net::Endpoint endpoint_;
    net::HttpConnection::Connector connector_;
    Secret token_;
    Clock& clock_;
    net::HttpConnection connection_;
    bool met_ = false;  ///< the daemon has answered once
    std::function<void(const std::string&)> trace_;
};

}  // namespace aegis::client
