"""What OpenAI's Chat Completions API refuses, and how it answers."""

import json
import re

NAME = re.compile(r"^[a-zA-Z0-9_-]{1,64}$")
KNOWN = set(
    "model messages tools tool_choice parallel_tool_calls temperature top_p n stream "
    "stream_options stop max_tokens max_completion_tokens presence_penalty frequency_penalty "
    "logit_bias logprobs top_logprobs user seed response_format metadata store "
    "reasoning_effort service_tier".split())
REASONING = re.compile(r"^(o\d|gpt-5)")


class Refused(Exception):
    """A request that the API refuses."""

    def __init__(self, message, status=400, param=None, code=None, kind="invalid_request_error"):
        super().__init__(message)
        self.message, self.status, self.param, self.code = message, status, param, code
        self.kind = kind

    def body(self):
        return {"error": {"message": self.message, "type": self.kind, "param": self.param,
                          "code": self.code}}


def error_body(status, message):
    kind = "rate_limit_error" if status == 429 else "server_error"
    return {"error": {"message": message, "type": kind, "param": None, "code": None}}


def key_of(headers):
    if headers.get("api-key"):
        return headers["api-key"]
    value = headers.get("Authorization", "")
    return value[7:] if value.startswith("Bearer ") else ""


def check_key(headers, keys):
    key = key_of(headers)
    if not key:
        raise Refused("You didn't provide an API key. You need to provide your API key in an "
                      "Authorization header using Bearer auth.", 401)
    if key not in keys:
        raise Refused(f"Incorrect API key provided: {key[:4]}****{key[-2:]}.", 401,
                      code="invalid_api_key")


def need(condition, message, param=None, code=None):
    if not condition:
        raise Refused(message, param=param, code=code)


def is_int(value):
    return isinstance(value, int) and not isinstance(value, bool)


def check_schema(schema, where, name):
    """The part of JSON Schema that OpenAI checks of a function's parameters."""
    bad = f"Invalid schema for function '{name}': "
    need(isinstance(schema, (dict, bool)), bad + f"In context={where}, it is not an object",
         "tools")
    if isinstance(schema, bool):
        return
    kinds = schema.get("type", [])
    kinds = [kinds] if isinstance(kinds, str) else kinds
    legal = {"object", "array", "string", "number", "integer", "boolean", "null"}
    need(isinstance(kinds, list) and all(k in legal for k in kinds),
         bad + f"In context={where}, {schema.get('type')!r} is not a valid type", "tools",
         "invalid_function_parameters")
    need("array" not in kinds or "items" in schema,
         bad + f"In context={where}, array schema missing items", "tools",
         "invalid_function_parameters")
    properties = schema.get("properties", {})
    need(isinstance(properties, dict), bad + "properties is not an object", "tools")
    required = schema.get("required", [])
    need(isinstance(required, list) and all(isinstance(r, str) for r in required),
         bad + "required is not a list of strings", "tools")
    for key, value in properties.items():
        check_schema(value, where + (key,), name)
    if "items" in schema:
        check_schema(schema["items"], where + ("items",), name)


def check_tools(tools):
    need(isinstance(tools, list) and tools, "Invalid 'tools': empty array.", "tools")
    names = set()
    for i, tool in enumerate(tools):
        where = f"tools[{i}]"
        need(isinstance(tool, dict) and tool.get("type") == "function",
             f"Invalid value for '{where}.type': supported values are 'function'.", where)
        function = tool.get("function")
        need(isinstance(function, dict), f"Missing required parameter: '{where}.function'.", where)
        name = function.get("name")
        need(isinstance(name, str) and NAME.match(name),
             f"Invalid '{where}.function.name': string does not match pattern. Expected a string "
             "that matches the pattern '^[a-zA-Z0-9_-]+$'.", where, "invalid_value")
        need(name not in names, f"Tool names must be unique: '{name}'.", where)
        names.add(name)
        need(isinstance(function.get("description", ""), str), f"Invalid type for '{where}'.",
             where)
        schema = function.get("parameters", {"type": "object", "properties": {}})
        got = schema.get("type") if isinstance(schema, dict) else schema
        need(got == "object", f"Invalid schema for function '{name}': schema must be a JSON Schema "
             f"of 'type: \"object\"', got 'type: \"{got}\"'.", where, "invalid_function_parameters")
        check_schema(schema, (), name)


def check_choice(body):
    choice = body.get("tool_choice")
    need(choice is None or body.get("tools"), "Invalid value for 'tool_choice': 'tool_choice' is "
         "only allowed when 'tools' are specified.", "tool_choice")
    need("parallel_tool_calls" not in body or body.get("tools"), "Invalid value for "
         "'parallel_tool_calls': 'parallel_tool_calls' is only allowed when 'tools' are specified.",
         "parallel_tool_calls")
    if isinstance(choice, dict):
        names = [t["function"]["name"] for t in body["tools"]]
        need(choice.get("type") == "function" and isinstance(choice.get("function"), dict)
             and choice["function"].get("name") in names,
             "Invalid value: tool_choice names no tool.", "tool_choice")
    else:
        need(choice in (None, "auto", "none", "required"), f"Invalid value: '{choice}'.",
             "tool_choice")


def check_content(content, where, may_be_null):
    if content is None:
        need(may_be_null, f"Invalid value for 'content': expected a string, got null. ({where})",
             where + ".content")
    elif isinstance(content, list):
        need(content and all(isinstance(p, dict) and isinstance(p.get("type"), str)
                             for p in content), f"Invalid '{where}.content'.", where)
    else:
        need(isinstance(content, str), f"Invalid type for '{where}.content': expected one of a "
             "string or array of objects.", where + ".content", "invalid_type")


def check_calls(calls, where):
    need(isinstance(calls, list) and calls, f"Invalid '{where}.tool_calls': empty array.", where)
    ids = []
    for call in calls:
        need(isinstance(call, dict) and isinstance(call.get("id"), str) and call["id"] and
             call.get("type") == "function", f"Invalid '{where}.tool_calls'.", where)
        function = call.get("function")
        need(isinstance(function, dict) and isinstance(function.get("arguments"), str),
             f"Invalid type for '{where}.tool_calls.function.arguments'.", where)
        need(isinstance(function.get("name"), str) and NAME.match(function["name"]),
             f"Invalid '{where}.tool_calls.function.name': string does not match pattern.", where,
             "invalid_value")
        ids.append(call["id"])
    need(len(set(ids)) == len(ids), f"Duplicate tool call ids in '{where}'.", where)
    return ids


def check_messages(messages):
    need(isinstance(messages, list) and messages,
         "Invalid 'messages': empty array. Expected an array with minimum length 1.", "messages",
         "empty_array")
    open_ids, any_call = [], False
    for i, message in enumerate(messages):
        where = f"messages[{i}]"
        need(isinstance(message, dict), f"Invalid type for '{where}'.", where)
        role = message.get("role")
        need(role in ("system", "developer", "user", "assistant", "tool"),
             f"Invalid value: '{role}'. Supported values are: 'system', 'assistant', 'user', "
             "'tool', and 'developer'.", where + ".role", "invalid_value")
        if role == "tool":
            need(any_call, "Invalid parameter: messages with role 'tool' must be a response to a "
                 "preceeding message with 'tool_calls'.", where)
            need(message.get("tool_call_id") in open_ids,
                 "Invalid parameter: 'tool_call_id' of '{}' not found in 'tool_calls' of previous "
                 "message.".format(message.get("tool_call_id")), where)
            open_ids.remove(message["tool_call_id"])
        else:
            need(not open_ids, "An assistant message with 'tool_calls' must be followed by tool "
                 "messages responding to each 'tool_call_id'. The following tool_call_ids did not "
                 "have response messages: " + ", ".join(open_ids), where)
            any_call = False
        has_calls = role == "assistant" and message.get("tool_calls") is not None
        check_content(message.get("content"), where, has_calls)
        if has_calls:
            open_ids, any_call = check_calls(message["tool_calls"], where), True
    need(not open_ids, "An assistant message with 'tool_calls' must be followed by tool messages "
         "responding to each 'tool_call_id'. The following tool_call_ids did not have response "
         "messages: " + ", ".join(open_ids), "messages")


def check(body, models):
    """Raises Refused for what the real API refuses."""
    need(isinstance(body, dict), "We could not parse the JSON body of your request.")
    need(isinstance(body.get("model"), str) and body["model"], "you must provide a model parameter")
    if models and body["model"] not in models:
        raise Refused(f"The model `{body['model']}` does not exist or you do not have access to "
                      "it.", 404, code="model_not_found")
    for key in body:
        need(key in KNOWN, f"Unrecognized request argument supplied: {key}", key)
    check_messages(body.get("messages"))
    if "tools" in body:
        check_tools(body["tools"])
    check_choice(body)
    stream = body.get("stream", False)
    need(isinstance(stream, bool), "Invalid type for 'stream': expected a boolean.", "stream")
    need(stream or "stream_options" not in body,
         "The 'stream_options' parameter is only allowed when 'stream' is enabled.",
         "stream_options")
    reasoning = REASONING.match(body["model"])
    need(not (reasoning and "max_tokens" in body), "Unsupported parameter: 'max_tokens' is not "
         "supported with this model. Use 'max_completion_tokens' instead.", "max_tokens",
         "unsupported_parameter")
    need(not reasoning or body.get("temperature", 1) == 1, "Unsupported value: 'temperature' does "
         "not support this value with this model. Only the default (1) value is supported.",
         "temperature", "unsupported_value")
    for key in ("max_tokens", "max_completion_tokens"):
        need(key not in body or (is_int(body[key]) and body[key] >= 1),
             f"Invalid '{key}': integer below minimum value. Expected a value >= 1.", key)
    temperature = body.get("temperature", 1)
    need(isinstance(temperature, (int, float)) and 0 <= temperature <= 2,
         "Invalid 'temperature': decimal above maximum value. Expected a value <= 2.",
         "temperature")


def wants_usage(body):
    options = body.get("stream_options")
    return isinstance(options, dict) and options.get("include_usage") is True


def document(model, answer):
    message = {"role": "assistant", "content": answer.content or None, "refusal": None}
    if answer.calls:
        message["tool_calls"] = [
            {"id": i, "type": "function", "function": {"name": n, "arguments": a}}
            for i, n, a in answer.calls]
    return {"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": model,
            "choices": [{"index": 0, "message": message, "logprobs": None,
                         "finish_reason": answer.finish_reason()}],
            "usage": {"prompt_tokens": answer.prompt_tokens,
                      "completion_tokens": answer.completion_tokens,
                      "total_tokens": answer.prompt_tokens + answer.completion_tokens}}


def events(body, answer):
    """The stream's events as bytes, one at a time."""
    def event(choices, usage=None):
        chunk = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1,
                 "model": body["model"], "system_fingerprint": "fp_test", "choices": choices}
        if wants_usage(body):
            chunk["usage"] = usage
        return b"data: " + json.dumps(chunk, ensure_ascii=False).encode() + b"\n\n"

    def delta(value, finish=None):
        return event([{"index": 0, "delta": value, "logprobs": None, "finish_reason": finish}])

    yield delta({"role": "assistant", "content": "" if answer.content else None})
    for piece in answer.pieces():
        yield delta({"content": piece})
    for index, (call_id, name, arguments) in enumerate(answer.calls):
        yield delta({"tool_calls": [{"index": index, "id": call_id, "type": "function",
                                     "function": {"name": name, "arguments": ""}}]})
        for piece in answer.split(arguments):
            yield delta({"tool_calls": [{"index": index, "function": {"arguments": piece}}]})
    yield delta({}, answer.finish_reason())
    if wants_usage(body):
        yield event([], document(body["model"], answer)["usage"])
    yield b"data: [DONE]\n\n"
