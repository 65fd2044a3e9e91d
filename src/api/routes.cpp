// The table of routes: the one place that says which paths there are, what they take and give.

#include "api/api_routes.h"

namespace aegis::api {
namespace {

constexpr std::string_view kAgentStatuses = "deployed paused archived";
constexpr std::string_view kExecutionStatuses = "pending running completed failed cancelled";
constexpr std::string_view kSse = "text/event-stream";

Parameter text(std::string_view name, std::string_view about) {
    return {name, ParameterType::kText, about};
}
Parameter number(std::string_view name, std::string_view about, std::int64_t least,
                 std::int64_t most = INT64_MAX) {
    return {name, ParameterType::kInteger, about, least, most};
}
Parameter flag(std::string_view name, std::string_view about) {
    return {name, ParameterType::kBoolean, about};
}
Parameter word(std::string_view name, std::string_view about, std::string_view words) {
    return {name, ParameterType::kWord, about, 0, 0, words};
}
const Parameter kLabel{"label", ParameterType::kLabel, "k=v; several must all match"};
const Parameter kSince{"since", ParameterType::kTime, "not before this time"};
const Parameter kCursor = text("cursor", "next_cursor of the page before");

Parameter limit(std::int64_t least, std::int64_t most) {
    return number("limit", "at most so many items", least, most);
}

}  // namespace

std::vector<ApiRoutes::Route> ApiRoutes::agentRoutes() {
    using R = ApiRoutes;
    return {
        {{"POST", "/v1/agents", "deployAgents", "Deploys manifests: all of them or none",
          {flag("validate_only", "check without storing")}, "DeployRequest",
          {{200, "Deployed"}, {201, "Deployed"}}, {409, 413}},
         &R::deploy},
        {{"GET", "/v1/agents", "listAgents", "Agents by name",
          {word("status", "only these", kAgentStatuses), flag("all", "archived ones too"), kLabel,
           limit(0, 10'000), kCursor}, "", {{200, "AgentPage"}}},
         &R::listAgents},
        {{"GET", "/v1/agents/lookup/{name}", "lookupAgent", "An agent by its name",
          {number("revision", "an older one", 0, INT32_MAX)}, "", {{200, "Agent"}}, {404}},
         &R::getAgent},
        {{"GET", "/v1/agents/{agent}", "getAgent", "An agent by name, id or unique prefix",
          {number("revision", "an older one", 0, INT32_MAX)}, "", {{200, "Agent"}}, {404}},
         &R::getAgent},
        {{"DELETE", "/v1/agents/{agent}", "deleteAgent", "Archives an agent; its history stays",
          {}, "", {{200, "Agent"}}, {404, 409}},
         &R::deleteAgent},
        {{"GET", "/v1/agents/{agent}/versions", "listAgentVersions", "Revisions, newest first",
          {}, "", {{200, "RevisionList"}}, {404}},
         &R::agentVersions},
        {{"POST", "/v1/agents/{agent}/pause", "pauseAgent", "Refuses new executions from now on",
          {}, "", {{200, "Agent"}}, {404, 409}},
         &R::pauseAgent},
        {{"POST", "/v1/agents/{agent}/resume", "resumeAgent", "Takes executions again",
          {}, "", {{200, "Agent"}}, {404, 409}},
         &R::resumeAgent},
        {{"POST", "/v1/agents/{agent}/execute", "executeAgent", "Starts an execution of this agent",
          {}, "ExecuteRequest", {{201, "Execution"}}, {404, 409, 413, 429, 507}},
         &R::executeAgent},
    };
}

std::vector<ApiRoutes::Route> ApiRoutes::executionRoutes() {
    using R = ApiRoutes;
    return {
        {{"POST", "/v1/executions", "createExecution", "Starts an execution; answers once durable",
          {}, "CreateExecutionRequest", {{201, "Execution"}}, {404, 409, 413, 429, 507}},
         &R::createExecution},
        {{"GET", "/v1/executions", "listExecutions", "Executions, newest first",
          {text("agent_id", "of this agent: name, id or unique prefix"),
           text("agent", "the same"), word("status", "only these", kExecutionStatuses), kSince,
           kLabel, limit(1, 1000), kCursor,
           flag("input_summary", "each with the beginning of its input")}, "",
          {{200, "ExecutionPage"}}},
         &R::listExecutions},
        {{"GET", "/v1/executions/{execution}", "getExecution",
          "An execution by id, unique prefix or @last", {}, "", {{200, "Execution"}}, {404}},
         &R::getExecution},
        {{"DELETE", "/v1/executions/{execution}", "deleteExecution",
          "Removes an ended one with all that is stored of it", {}, "", {{204, "", ""}},
          {404, 409}},
         &R::deleteExecution},
        {{"GET", "/v1/executions/{execution}/logs", "getExecutionLogs",
          "Per iteration: output, tool calls, stdout and stderr",
          {number("iteration", "only this one; 0: all", 0, 100'000)}, "",
          {{200, "IterationLog[]"}}, {404}},
         &R::executionLogs},
        {{"POST", "/v1/executions/{execution}/cancel", "cancelExecution",
          "Cancels; answers when no process of it is alive", {}, "", {{200, "Execution"}},
          {404, 409, 504}},
         &R::cancelExecution},
        {{"GET", "/v1/executions/{execution}/events", "listExecutionEvents", "A page of its events",
          {number("after", "only those with a larger seq", 0), limit(1, 1000)}, "",
          {{200, "EventPage"}}, {404}},
         &R::executionEvents},
        {{"GET", "/v1/executions/{execution}/bodies/{sha256}", "getExecutionBody",
          "A text that its events refer to: a prompt, an answer, a result", {}, "",
          {{200, "", "application/octet-stream"}}, {404}},
         &R::executionBody},
        {{"GET", "/v1/executions/{execution}/export", "exportExecution",
          "Record, manifest, events with their bodies and logs as one .tar.gz", {}, "",
          {{200, "", "application/gzip"}}, {404}},
         &R::exportExecution},
        {{"GET", "/v1/executions/{execution}/replay", "replayExecution",
          "Runs an ended one again from its record and compares", {}, "", {{200, "Replay"}},
          {404, 409}},
         &R::replayExecution},
        {{"GET", "/v1/executions/{execution}/stream", "streamExecution",
          "Its events as server-sent events, live, up to the terminal one; Last-Event-ID is "
          "honoured",
          {number("after", "only those with a larger seq", 0)}, "", {{200, "Event", kSse}},
          {404, 429}},
         &R::streamExecution},
    };
}

std::vector<ApiRoutes::Route> ApiRoutes::nodeRoutes() {
    using R = ApiRoutes;
    return {
        {{"GET", "/v1/events", "listNodeEvents",
          "The node's events, agents' too, in commit order; with Accept: text/event-stream or "
          "follow=true live",
          {text("after", "a cursor of an earlier answer, or newest: only what is to come"),
           text("cursor", "the same"), kSince,
           text("agent_id", "of this agent: name, id or unique prefix"), text("agent", "the same"),
           {"type", ParameterType::kTexts, "only these types"},
           flag("follow", "as a stream"), limit(1, 1000)}, "",
          {{200, "NodeEventPage"}, {200, "NodeEvent", kSse}}, {404, 429}},
         &R::nodeEvents},
        {{"GET", "/v1/volumes", "listVolumes", "All volumes", {}, "", {{200, "VolumeList"}}},
         &R::listVolumes},
        {{"GET", "/v1/volumes/{volume}", "getVolume", "A volume by id or unique prefix", {}, "",
          {{200, "Volume"}}, {404}},
         &R::getVolume},
        {{"DELETE", "/v1/volumes/{volume}", "deleteVolume", "Deletes a volume that is not in use",
          {}, "", {{204, "", ""}}, {404, 409}},
         &R::deleteVolume},
        {{"GET", "/v1/volumes/{volume}/files", "listVolumeFiles", "What is in a volume",
          {flag("stat", "never a file's content"), text("after", "next_after of the page before")},
          "", {{200, "VolumeFile"}}, {404}},
         &R::volumeFiles},
        {{"GET", "/v1/volumes/{volume}/files/{path...}", "getVolumeFile",
          "A directory's entries, or a file's content; links are not followed",
          {flag("stat", "never a file's content"), text("after", "next_after of the page before")},
          "", {{200, "VolumeFile"}, {200, "", "application/octet-stream"}}, {404}},
         &R::volumeFiles},
        {{"GET", "/v1/node", "getNode", "What this node is and does", {}, "", {{200, "Node"}}},
         &R::node},
        {{"GET", "/version", "getVersion", "The daemon's version", {}, "", {{200, "Version"}}},
         &R::version},
        {{"GET", "/health/live", "getLive", "The process serves", {}, "", {{200, "Live"}}},
         &R::live},
        {{"GET", "/health/ready", "getReady", "Executions can be started now, or why not", {}, "",
          {{200, "Ready"}, {503, "Ready"}}},
         &R::ready},
        {{"GET", "/metrics", "getMetrics", "Prometheus text format 0.0.4", {}, "",
          {{200, "", "text/plain"}}},
         &R::metrics},
        {{"GET", "/openapi.json", "getOpenApi", "This document", {}, "", {{200, "any"}}},
         &R::openApi},
        {{"GET", "/", "getConsole", "The console, a web page; needs no token", {}, "",
          {{200, "", "text/html"}, {304, "", ""}}},
         &R::page},
        {{"GET", "/console/{file}", "getConsoleFile", "The page's scripts, styles and icon", {}, "",
          {{200, "", "text/javascript"}, {200, "", "text/css"}, {200, "", "image/svg+xml"},
           {304, "", ""}}, {404}},
         &R::page},
    };
}

const std::vector<ApiRoutes::Route>& ApiRoutes::routes() {
    static const std::vector<Route> kRoutes = [] {
        auto all = agentRoutes();
        for (auto more : {executionRoutes(), nodeRoutes()})
            all.insert(all.end(), more.begin(), more.end());
        return all;
    }();
    return kRoutes;
}

std::vector<const Operation*> ApiRoutes::operations() {
    std::vector<const Operation*> out;
    for (const auto& route : routes()) out.push_back(&route);
    return out;
}

}  // namespace aegis::api
