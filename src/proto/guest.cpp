#include "proto/guest.h"

#include <fmt/format.h>

#include <limits>

namespace aegis::proto::guest {
namespace {

Error badField(std::string_view key, std::string_view expected) {
    Error error(ErrorCode::kInvalid, fmt::format("/{}: expected {}", key, expected));
    error.details.push_back(
        {.path = fmt::format("/{}", key), .message = fmt::format("expected {}", expected)});
    return error;
}

/// Takes fields out of one object and remembers the first that is wrong.
class Fields {
  public:
    explicit Fields(const json::Object& object) : object_(object) {}

    std::string text(std::string_view key, std::size_t limit) {
        const json::Value* value = object_.if_contains(key);
        if (value == nullptr || !value->is_string()) {
            fail(badField(key, "a string"));
            return {};
        }
        const std::string_view text = json::view(value->get_string());
        if (text.size() > limit)
            fail({ErrorCode::kTooLarge, fmt::format("/{}: more than {} bytes", key, limit)});
        return std::string(text);
    }
    std::string id(std::string_view key) {
        std::string text = this->text(key, kMaxIdBytes);
        if (!error_ && text.empty()) fail(badField(key, "a string that is not empty"));
        return text;
    }
    std::int64_t integer(std::string_view key, std::int64_t low, std::int64_t high) {
        const json::Value* value = object_.if_contains(key);
        const std::int64_t* number = value == nullptr ? nullptr : value->if_int64();
        if (number == nullptr || *number < low || *number > high) {
            fail(badField(key, fmt::format("an integer of {} to {}", low, high)));
            return low;
        }
        return *number;
    }
    bool boolean(std::string_view key) {
        const json::Value* value = object_.if_contains(key);
        if (value == nullptr || !value->is_bool()) {
            fail(badField(key, "true or false"));
            return false;
        }
        return value->get_bool();
    }
    json::Array optionalArray(std::string_view key) {
        const json::Value* value = object_.if_contains(key);
        if (value == nullptr || value->is_null()) return {};
        if (!value->is_array()) {
            fail(badField(key, "a list"));
            return {};
        }
        return value->get_array();
    }
    const std::optional<Error>& error() const { return error_; }

  private:
    void fail(Error error) {
        if (!error_) error_ = std::move(error);
    }

    const json::Object& object_;
    std::optional<Error> error_;
};

Result<Request> parseGenerate(Fields fields) {
    GenerateRequest request;
    request.request_id = fields.id("request_id");
    request.agent_id = fields.text("agent_id", kMaxIdBytes);
    request.execution_id = fields.id("execution_id");
    request.iteration_number = fields.integer("iteration_number", 1, 1'000'000);
    request.model_alias = fields.text("model_alias", kMaxIdBytes);
    request.prompt = fields.text("prompt", kMaxPromptBytes);
    request.messages = fields.optionalArray("messages");
    if (fields.error()) return *fields.error();
    return Request(std::move(request));
}

Result<Request> parseResult(Fields fields) {
    constexpr std::int64_t kDay = 86'400'000;
    DispatchResult result;
    result.execution_id = fields.id("execution_id");
    result.dispatch_id = fields.id("dispatch_id");
    result.exit_code = static_cast<std::int32_t>(
        fields.integer("exit_code", std::numeric_limits<std::int32_t>::min(),
                       std::numeric_limits<std::int32_t>::max()));
    result.stdout_text = fields.text("stdout", kMaxBodyBytes);
    result.stderr_text = fields.text("stderr", kMaxBodyBytes);
    result.duration_ms = fields.integer("duration_ms", 0, 30 * kDay);
    result.truncated = fields.boolean("truncated");
    if (fields.error()) return *fields.error();
    return Request(std::move(result));
}

std::string line(json::Object message) {
    return json::dump(json::Value(std::move(message))) + "\n";
}

}  // namespace

std::vector<std::string> bootstrapArgv(std::string_view python) {
    return {std::string(python), "-I", "-S", "-X", "utf8", "-c",
            "import sys; sys.path.append('/aegis/bin'); import bootstrap; bootstrap.main()"};
}

Result<Request> parseRequest(std::string_view body) {
    if (body.size() > kMaxBodyBytes)
        return Error(ErrorCode::kTooLarge,
                     fmt::format("request body of more than {} bytes", kMaxBodyBytes));
    AEGIS_TRY(const json::Value value, json::parse(body));
    if (!value.is_object()) return Error(ErrorCode::kInvalid, "expected a JSON object");
    const std::string_view type = json::getString(value, "type");
    if (type == "generate") return parseGenerate(Fields(value.get_object()));
    if (type == "dispatch_result") return parseResult(Fields(value.get_object()));
    return badField("type", "\"generate\" or \"dispatch_result\"");
}

std::string deltaLine(std::string_view content) {
    return R"({"type":"delta","content":)" + json::quote(content) + "}\n";
}

std::string dispatchLine(const Dispatch& dispatch) {
    json::Array args;
    for (const std::string& arg : dispatch.args) args.emplace_back(json::toUtf8(arg));
    json::Object env;
    for (const auto& [name, value] : dispatch.env_additions)
        env[json::toUtf8(name)] = json::toUtf8(value);
    return line({{"type", "dispatch"},
                 {"dispatch_id", dispatch.dispatch_id},
                 {"action", "exec"},
                 {"command", json::toUtf8(dispatch.command)},
                 {"args", std::move(args)},
                 {"cwd", json::toUtf8(dispatch.cwd)},
                 {"env_additions", std::move(env)},
                 {"timeout_secs", dispatch.timeout_secs},
                 {"max_output_bytes", dispatch.max_output_bytes}});
}

std::string finalLine(std::string_view content, std::int64_t tool_calls_executed) {
    return fmt::format(R"({{"type":"final","content":{},"tool_calls_executed":{}}}{})",
                       json::quote(content), tool_calls_executed, '\n');
}

std::string errorLine(std::string_view code, std::string_view message, bool retryable) {
    return line({{"type", "error"},
                 {"code", json::toUtf8(code)},
                 {"message", json::toUtf8(message)},
                 {"retryable", retryable}});
}

}  // namespace aegis::proto::guest
