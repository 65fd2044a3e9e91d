#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/secret.h"
#include "net/event_stream.h"
#include "net/server.h"
#include "service/local/local_service.h"

namespace aegis::api {

struct ApiOptions {
    Secret token;          ///< empty: none is asked for
    bool loopback = true;  ///< the address is a loopback one: only loopback names may be in Host
};

/// Serves the API on any number of listeners. Safe on any thread; outlives its servers.
class ApiRoutes {
  public:
    ApiRoutes(service::LocalService& service, net::StreamHub& streams, ports::Journal& journal,
              ApiOptions options);

    void handle(const net::Request& request, net::ResponseWriter& writer);

    /// Whether unfinished executions were loaded: /health/ready says so.
    void setReady(bool ready) { ready_ = ready; }

    /// Limits on bodies, and which requests may use the connections kept for cancel and health.
    static std::uint64_t bodyLimit(std::string_view method, std::string_view path);
    static bool isReserved(std::string_view method, std::string_view path);

  private:
    /// One request with what its path's pattern captured.
    struct Call {
        const net::Request& request;
        net::ResponseWriter& writer;
        std::vector<std::string> captured;
        service::Principal who;
    };
    using Function = void (ApiRoutes::*)(Call&);
    struct Route {
        std::string_view method;
        std::string_view pattern;  ///< "{}" captures one segment
        Function function;
    };
    static const std::vector<Route>& routes();

    bool mayAsk(const net::Request& request, net::ResponseWriter& writer) const;

    void deploy(Call& call);
    void listAgents(Call& call);
    void getAgent(Call& call);
    void agentVersions(Call& call);
    void pauseAgent(Call& call);
    void resumeAgent(Call& call);
    void deleteAgent(Call& call);
    void createExecution(Call& call);
    void executeAgent(Call& call);
    void listExecutions(Call& call);
    void getExecution(Call& call);
    void executionLogs(Call& call);
    void deleteExecution(Call& call);
    void cancelExecution(Call& call);
    void executionEvents(Call& call);
    void streamExecution(Call& call);
    void nodeEvents(Call& call);
    void streamNodeEvents(Call& call, const service::NodeEventQuery& query);
    void listVolumes(Call& call);
    void getVolume(Call& call);
    void deleteVolume(Call& call);
    void node(Call& call);
    void version(Call& call);
    void live(Call& call);
    void ready(Call& call);

    void startExecution(Call& call, const json::Value& body, const std::string& agent);

    service::LocalService& service_;
    net::StreamHub& streams_;
    ports::Journal& journal_;
    ApiOptions options_;
    std::atomic<bool> ready_{false};
};

}  // namespace aegis::api
