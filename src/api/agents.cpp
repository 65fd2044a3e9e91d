// Paths of agents.

#include "api/answer.h"
#include "api/api_routes.h"

namespace aegis::api {
namespace {

struct DeployBody {
    std::vector<service::ManifestFile> files;
    bool many = false;  ///< the answer is a list, whatever it holds
};

bool isJson(const net::Request& request) {
    return request.headers.get("Content-Type").find("json") != std::string_view::npos;
}

/// {"files":[{"name","text"}]}: several files at once, all or nothing.
Result<DeployBody> filesOf(const json::Value& list) {
    Error wrong(ErrorCode::kInvalid, "files must be a list of {name, text}");
    DeployBody out;
    out.many = true;
    if (!list.is_array()) return wrong;
    for (const auto& item : list.get_array()) {
        const auto* text = json::find(item, "text");
        if (text == nullptr || !text->is_string()) return wrong;
        out.files.push_back({std::string(json::getString(item, "name", "manifest")),
                             std::string(json::view(text->get_string()))});
    }
    return out;
}

Result<DeployBody> bodyOf(const net::Request& request) {
    DeployBody out;
    if (!isJson(request)) {
        out.files.push_back({"manifest", request.body});
        return out;
    }
    AEGIS_TRY(auto value, json::parse(request.body));
    if (const auto* files = json::find(value, "files")) return filesOf(*files);
    if (const auto* yaml = json::find(value, "manifest_yaml")) {
        if (!yaml->is_string()) return {ErrorCode::kInvalid, "manifest_yaml must be a string"};
        out.files.push_back({"manifest", std::string(json::view(yaml->get_string()))});
        return out;
    }
    out.files.push_back({"manifest", request.body});
    return out;
}

}  // namespace

void ApiRoutes::deploy(Call& call) {
    auto body = bodyOf(call.request);
    if (!body) {
        sendError(call.writer, body.error());
        return;
    }
    auto validate = call.request.query.get("validate_only") == "true";
    auto result = service_.deploy(call.who, body->files, validate);
    if (!result) {
        sendError(call.writer, result.error());
        return;
    }
    const auto& items = json::find(*result, "items")->as_array();
    bool created = false;
    for (const auto& item : items) created |= json::getString(item, "result") == "created";
    bool one = !body->many && items.size() == 1;
    sendJson(call.writer, created ? 201 : 200, one ? items.front() : *result);
}

void ApiRoutes::listAgents(Call& call) {
    service::ListAgents query;
    query.status = call.request.query.get("status");
    query.all = call.request.query.get("all") == "true";
    query.cursor = call.request.query.get("cursor");
    auto labels = labelParameters(call.request);
    auto limit = intParameter(call.request, "limit", 0, 0, 10'000);
    if (!labels || !limit) {
        sendError(call.writer, labels ? limit.error() : labels.error());
        return;
    }
    query.labels = std::move(*labels);
    query.limit = static_cast<int>(*limit);
    sendResult(call.writer, service_.listAgents(call.who, query));
}

void ApiRoutes::getAgent(Call& call) {
    auto revision = intParameter(call.request, "revision", 0, 0, INT32_MAX);
    if (!revision) {
        sendError(call.writer, revision.error());
        return;
    }
    sendResult(call.writer, service_.getAgent(call.who, call.captured[0],
                                              static_cast<int>(*revision)));
}

void ApiRoutes::agentVersions(Call& call) {
    sendResult(call.writer, service_.agentVersions(call.who, call.captured[0]));
}
void ApiRoutes::pauseAgent(Call& call) {
    sendResult(call.writer, service_.pauseAgent(call.who, call.captured[0]));
}
void ApiRoutes::resumeAgent(Call& call) {
    sendResult(call.writer, service_.resumeAgent(call.who, call.captured[0]));
}
void ApiRoutes::deleteAgent(Call& call) {
    sendResult(call.writer, service_.deleteAgent(call.who, call.captured[0]));
}

}  // namespace aegis::api
