#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "sandbox/docker/engine.h"

/// What Docker Engine answers, taken apart. An engine is trusted with the host, but not to be sane:
/// every answer is checked, and its texts are made fit for one line of output. Pure; any thread.
namespace aegis::sandbox {

/// kUnavailable when it is not JSON.
Result<json::Value> parseAnswer(std::string_view body);

/// The error for a status of 400 and above and its `{"message"}`.
Error engineError(int status, std::string_view body);

/// The error that a line of a progress stream carries, if it does.
Status progressError(const json::Value& line);

Result<ImageInfo> imageInfo(const json::Value& answer);
Result<ContainerState> containerState(const json::Value& answer);
Result<std::vector<ContainerSummary>> containerList(const json::Value& answer);

/// 64 lower-case hex digits.
bool isContainerId(std::string_view text);

/// The name in "Loaded image: name:tag" or "Loaded image ID: sha256:…"; empty for other lines.
std::string loadedReference(std::string_view line);

/// "host:5000/repo:tag", "repo@sha256:…"; the tag is `latest` when there is none, else the tag or
/// digest.
struct ImageReference {
    std::string repository;
    std::string tag;
};
ImageReference splitReference(std::string_view reference);

}  // namespace aegis::sandbox
