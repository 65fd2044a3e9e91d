#pragma once

#include <map>
#include <string>

#include "net/server.h"
#include "text/json.h"

namespace aegis::api {

/// {"error":{"code","message","hint"?,"details":[{"path","file"?,"line","column","message"}]}}.
json::Object errorBody(const Error& error);

/// Sends an error with its status. Nothing is sent when an answer has begun.
void sendError(net::ResponseWriter& writer, const Error& error);
void sendJson(net::ResponseWriter& writer, int status, const json::Value& value);
/// The value with `status`, or the error.
void sendResult(net::ResponseWriter& writer, const Result<json::Value>& result, int status = 200);

/// An integer parameter of the query within [least, most]; `fallback` when it is absent.
Result<std::int64_t> intParameter(const net::Request& request, std::string_view name,
                                  std::int64_t fallback, std::int64_t least, std::int64_t most);
/// Every "label=k=v" of the query.
Result<std::map<std::string, std::string>> labelParameters(const net::Request& request);

}  // namespace aegis::api
