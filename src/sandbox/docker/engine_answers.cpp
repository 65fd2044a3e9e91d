#include "sandbox/docker/engine_answers.h"

#include <fmt/format.h>

#include "sandbox/common/one_line.h"

namespace aegis::sandbox {
namespace {

constexpr std::size_t kMaxListed = 100'000;

std::vector<std::string> strings(const json::Value* value) {
    std::vector<std::string> out;
    if (value == nullptr || !value->is_array()) return out;
    for (const auto& item : value->get_array())
        if (item.is_string()) out.emplace_back(json::view(item.get_string()));
    return out;
}

bool nonEmpty(const json::Value* value) {
    if (value == nullptr) return false;
    if (value->is_array()) return !value->get_array().empty();
    return value->is_string() && !value->get_string().empty();
}

Error strange(std::string_view what) {
    return {ErrorCode::kUnavailable, fmt::format("Docker Engine's answer has no {}", what)};
}

}  // namespace

Result<json::Value> parseAnswer(std::string_view body) {
    auto value = json::parse(body, {.max_depth = 64, .allow_duplicate_keys = true});
    if (!value)
        return {ErrorCode::kUnavailable,
                "Docker Engine's answer is not JSON: " + value.error().message};
    return value;
}

Error engineError(int status, std::string_view body) {
    std::string message;
    if (auto value = parseAnswer(body)) message = oneLine(json::getString(*value, "message"));
    if (message.empty()) message = fmt::format("HTTP status {}", status);
    ErrorCode code = ErrorCode::kUnavailable;
    if (status == 404) code = ErrorCode::kNotFound;
    if (status == 409) code = ErrorCode::kConflict;
    if (status == 400) code = ErrorCode::kInvalid;
    if (status == 401 || status == 403) code = ErrorCode::kPermissionDenied;
    return {code, "Docker Engine: " + message};
}

Status progressError(const json::Value& line) {
    const auto text = json::getString(line, "error");
    if (text.empty() && json::find(line, "errorDetail") == nullptr) return {};
    return {ErrorCode::kUnavailable, "Docker Engine: " + oneLine(text.empty() ? "failed" : text)};
}

Result<ImageInfo> imageInfo(const json::Value& answer) {
    ImageInfo info;
    info.id = json::getString(answer, "Id");
    if (info.id.empty()) return strange("image id");
    const auto* config = json::find(answer, "Config");
    if (config == nullptr || !config->is_object()) return info;
    info.env = strings(json::find(*config, "Env"));
    info.working_dir = json::getString(*config, "WorkingDir");
    if (const auto* volumes = json::find(*config, "Volumes"); volumes && volumes->is_object())
        for (const auto& [path, unused] : volumes->get_object())
            info.volumes.emplace_back(path);
    info.declares_command =
        nonEmpty(json::find(*config, "Entrypoint")) || nonEmpty(json::find(*config, "Cmd"));
    return info;
}

Result<ContainerState> containerState(const json::Value& answer) {
    const auto* state = json::find(answer, "State");
    if (state == nullptr || !state->is_object()) return strange("container state");
    const auto pid = json::getInt(*state, "Pid");
    if (pid < 0 || pid > INT32_MAX) return strange("sane process id");
    return ContainerState{json::getBool(*state, "Running"), static_cast<int>(pid),
                          static_cast<int>(json::getInt(*state, "ExitCode")),
                          json::getBool(*state, "OOMKilled")};
}

Result<std::vector<ContainerSummary>> containerList(const json::Value& answer) {
    if (!answer.is_array() || answer.get_array().size() > kMaxListed)
        return strange("list of containers");
    std::vector<ContainerSummary> out;
    for (const auto& item : answer.get_array()) {
        ContainerSummary container;
        container.id = json::getString(item, "Id");
        if (!isContainerId(container.id)) return strange("container id");
        if (const auto* labels = json::find(item, "Labels"); labels && labels->is_object())
            for (const auto& [key, value] : labels->get_object())
                if (value.is_string())
                    container.labels.emplace(key, json::view(value.get_string()));
        out.push_back(std::move(container));
    }
    return out;
}

bool isContainerId(std::string_view text) {
    return text.size() == 64 && std::all_of(text.begin(), text.end(), [](char c) {
               return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
           });
}

std::string loadedReference(std::string_view line) {
    for (std::string_view start : {"Loaded image: ", "Loaded image ID: "}) {
        if (!line.starts_with(start)) continue;
        line.remove_prefix(start.size());
        return oneLine(line);
    }
    return {};
}

ImageReference splitReference(std::string_view reference) {
    if (const auto at = reference.find('@'); at != reference.npos) {
        auto repository = reference.substr(0, at);
        // "repo:tag@digest": the digest alone decides.
        const auto colon = repository.rfind(':');
        const auto slash = repository.rfind('/');
        if (colon != repository.npos && (slash == repository.npos || colon > slash))
            repository = repository.substr(0, colon);
        return {std::string(repository), std::string(reference.substr(at + 1))};
    }
    const auto colon = reference.rfind(':');
    const auto slash = reference.rfind('/');
    if (colon == reference.npos || (slash != reference.npos && colon < slash))
        return {std::string(reference), "latest"};
    return {std::string(reference.substr(0, colon)), std::string(reference.substr(colon + 1))};
}

}  // namespace aegis::sandbox
