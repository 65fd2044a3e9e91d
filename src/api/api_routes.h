#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "api/contract.h"
#include "base/secret.h"
#include "net/event_stream.h"
#include "net/server.h"
#include "service/local/local_service.h"

namespace aegis::api {

/// One thing that must be well for executions to start.
struct HealthCheck {
    std::string name;     ///< "recovery", "engine", "disk"
    std::string problem;  ///< empty: it is well
};

struct ApiOptions {
    Secret token;          ///< empty: none is asked for
    bool loopback = true;  ///< the address is a loopback one: only loopback names may be in Host
    std::string version;
    /// What /health/ready answers from; may block for some seconds.
    std::function<std::vector<HealthCheck>()> checks;
    /// The text of /metrics.
    std::function<std::string()> metrics;
};

/// Serves the API on any number of listeners. Safe on any thread; outlives its servers.
class ApiRoutes {
  public:
    ApiRoutes(service::LocalService& service, net::StreamHub& streams, ports::Journal& journal,
              ApiOptions options);

    void handle(const net::Request& request, net::ResponseWriter& writer);

    /// What there is, as /openapi.json describes it.
    static std::vector<const Operation*> operations();

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
    struct Route : Operation {
        Function function;
    };
    static const std::vector<Route>& routes();
    static std::vector<Route> agentRoutes();
    static std::vector<Route> executionRoutes();
    static std::vector<Route> nodeRoutes();

    /// Whether it is of the web page, which has no data in it.
    static bool isPage(std::string_view path);
    /// Who asks, or why they may not.
    Result<service::Principal> principalOf(const net::Request& request) const;
    void route(const net::Request& request, net::ResponseWriter& writer, Call& call);
    /// False, with 429 sent, when there are as many event streams as there may be.
    bool mayStream(net::ResponseWriter& writer) const;

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
    void volumeFiles(Call& call);
    void exportExecution(Call& call);
    void replayExecution(Call& call);
    void node(Call& call);
    void version(Call& call);
    void live(Call& call);
    void ready(Call& call);
    void metrics(Call& call);
    void openApi(Call& call);
    void page(Call& call);
    void executionBody(Call& call);

    void startExecution(Call& call, const json::Value& body, const std::string& agent);

    service::LocalService& service_;
    net::StreamHub& streams_;
    ports::Journal& journal_;
    ApiOptions options_;
};

}  // namespace aegis::api
