"""What Anthropic's Messages API refuses, and how it answers."""

import json
import re

from openai_api import is_int

NAME = re.compile(r"^[a-zA-Z0-9_-]{1,64}$")
ID = re.compile(r"^[a-zA-Z0-9_-]+$")
KNOWN = set("model messages max_tokens system tools tool_choice temperature top_p top_k stream "
            "stop_sequences metadata thinking service_tier".split())
FINISH = {"stop": "end_turn", "tool_calls": "tool_use", "length": "max_tokens"}


class Refused(Exception):
    """A request that the API refuses."""

    def __init__(self, message, status=400, kind="invalid_request_error"):
        super().__init__(message)
        self.message, self.status, self.kind = message, status, kind

    def body(self):
        return {"type": "error", "error": {"type": self.kind, "message": self.message}}


def error_body(status, message):
    kind = {429: "rate_limit_error", 529: "overloaded_error"}.get(status, "api_error")
    return {"type": "error", "error": {"type": kind, "message": message}}


def key_of(headers):
    return headers.get("x-api-key", "")


def check_key(headers, keys):
    if key_of(headers) not in keys:
        raise Refused("x-api-key header is required" if not key_of(headers) else
                      "invalid x-api-key", 401, "authentication_error")
    if headers.get("anthropic-version") != "2023-06-01":
        raise Refused("anthropic-version: header is required")


def need(condition, message):
    if not condition:
        raise Refused(message)


def check_tools(tools):
    need(isinstance(tools, list), "tools: Input should be a valid list")
    names = set()
    for i, tool in enumerate(tools):
        where = f"tools.{i}.custom"
        need(isinstance(tool, dict), f"tools.{i}: Input should be a valid dictionary")
        for key in tool:
            need(key in ("name", "description", "input_schema", "type", "cache_control"),
                 f"{where}.{key}: Extra inputs are not permitted")
        name = tool.get("name")
        need(isinstance(name, str) and NAME.match(name),
             f"{where}.name: String should match pattern '^[a-zA-Z0-9_-]{{1,64}}$'")
        need(name not in names, "tools: Tool names must be unique.")
        names.add(name)
        schema = tool.get("input_schema")
        need(isinstance(schema, dict), f"{where}.input_schema: Field required")
        need(schema.get("type") == "object",
             f"{where}.input_schema.type: Input should be 'object'")


def check_choice(body):
    choice = body.get("tool_choice")
    if choice is None:
        return
    need(body.get("tools"), "tool_choice may only be specified while providing tools.")
    need(isinstance(choice, dict) and choice.get("type") in ("auto", "any", "tool", "none"),
         "tool_choice: Input tag does not match any of the expected tags")
    for key in choice:
        need(key in ("type", "name", "disable_parallel_tool_use"),
             f"tool_choice.{choice['type']}.{key}: Extra inputs are not permitted")
    need(choice["type"] != "none" or len(choice) == 1, "tool_choice.none: Extra inputs")
    names = [t["name"] for t in body["tools"]]
    need(choice["type"] != "tool" or choice.get("name") in names,
         f"Tool '{choice.get('name')}' not found in provided tools")


def check_block(block, role, where, results_due):
    need(isinstance(block, dict), f"{where}: Input should be a valid dictionary")
    kind = block.get("type")
    if kind == "text":
        need(isinstance(block.get("text"), str), f"{where}.text: Field required")
        need(block["text"], "messages: text content blocks must be non-empty")
    elif kind == "tool_use":
        need(role == "assistant", f"{where}: `tool_use` blocks can only be in assistant messages")
        need(isinstance(block.get("id"), str) and ID.match(block["id"]),
             f"{where}.id: String should match pattern '^[a-zA-Z0-9_-]+$'")
        need(isinstance(block.get("name"), str) and NAME.match(block["name"]),
             f"{where}.name: String should match pattern '^[a-zA-Z0-9_-]{{1,64}}$'")
        need(isinstance(block.get("input"), dict),
             f"{where}.input: Input should be a valid dictionary")
    elif kind == "tool_result":
        need(role == "user", f"{where}: `tool_result` blocks can only be in user messages")
        need(block.get("tool_use_id") in results_due, f"{where}: unexpected `tool_use_id` found in "
             f"`tool_result` blocks: {block.get('tool_use_id')}. Each `tool_result` block must "
             "have a corresponding `tool_use` block in the previous message.")
        results_due.remove(block["tool_use_id"])
    else:
        need(False, f"{where}: Input tag '{kind}' found using 'type' does not match any of the "
             "expected tags")


def check_messages(messages):
    need(isinstance(messages, list) and messages, "messages: at least one message is required")
    due = []
    for i, message in enumerate(messages):
        need(isinstance(message, dict), f"messages.{i}: Input should be a valid dictionary")
        role, content = message.get("role"), message.get("content")
        need(role in ("user", "assistant"),
             f"messages: Unexpected role \"{role}\". The Messages API accepts a top-level `system` "
             "parameter, not \"system\" as an input message role.")
        need(i > 0 or role == "user", "messages: first message must use the \"user\" role")
        for key in message:
            need(key in ("role", "content"), f"messages.{i}.{key}: Extra inputs are not permitted")
        if isinstance(content, str):
            need(content, f"messages.{i}: all messages must have non-empty content")
            content = [{"type": "text", "text": content}]
        need(isinstance(content, list) and content,
             f"messages.{i}: all messages must have non-empty content")
        used = [b["id"] for b in content if isinstance(b, dict) and b.get("type") == "tool_use"
                and isinstance(b.get("id"), str)]
        need(len(set(used)) == len(used), "messages: `tool_use` ids must be unique")
        for j, block in enumerate(content):
            check_block(block, role, f"messages.{i}.content.{j}", due)
        need(not due, f"messages.{i}: `tool_use` ids were found without `tool_result` blocks "
             "immediately after: " + ", ".join(due) + ". Each `tool_use` block must have a "
             "corresponding `tool_result` block in the next message.")
        due = used
    need(not due, "messages: `tool_use` ids were found without `tool_result` blocks immediately "
         "after: " + ", ".join(due))
    last = messages[-1]
    if last["role"] == "assistant" and isinstance(last["content"], str):
        need(last["content"] == last["content"].rstrip(),
             "messages: final assistant content cannot end with trailing whitespace")


def check(body, models):
    """Raises Refused for what the real API refuses."""
    need(isinstance(body, dict), "The request body is not valid JSON")
    need(isinstance(body.get("model"), str) and body["model"], "model: Field required")
    if models and body["model"] not in models:
        raise Refused(f"model: {body['model']}", 404, "not_found_error")
    need("max_tokens" in body, "max_tokens: Field required")
    need(is_int(body["max_tokens"]) and body["max_tokens"] >= 1,
         "max_tokens: Input should be greater than or equal to 1")
    for key in body:
        need(key in KNOWN, f"{key}: Extra inputs are not permitted")
    need(isinstance(body.get("system", ""), (str, list)), "system: Input should be a valid string")
    need(isinstance(body.get("stream", False), bool), "stream: Input should be a valid boolean")
    temperature = body.get("temperature", 1)
    need(isinstance(temperature, (int, float)) and 0 <= temperature <= 1,
         "temperature: range: 0..1")
    if "tools" in body:
        check_tools(body["tools"])
    check_choice(body)
    check_messages(body.get("messages"))
    uses_tools = any(isinstance(b, dict) and b.get("type") in ("tool_use", "tool_result")
                     for m in body["messages"] if isinstance(m["content"], list)
                     for b in m["content"])
    need(not uses_tools or body.get("tools"), "Requests which include `tool_use` or `tool_result` "
         "blocks must define tools")


def tool_input(arguments):
    try:
        value = json.loads(arguments)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def document(model, answer):
    content = [{"type": "text", "text": answer.content}] if answer.content else []
    content += [{"type": "tool_use", "id": i, "name": n, "input": tool_input(a)}
                for i, n, a in answer.calls]
    return {"id": "msg_1", "type": "message", "role": "assistant", "model": model,
            "content": content, "stop_reason": FINISH.get(answer.finish_reason(), "end_turn"),
            "stop_sequence": None, "usage": {"input_tokens": answer.prompt_tokens,
                                             "output_tokens": answer.completion_tokens}}


def events(body, answer):
    """The stream's events as bytes, one at a time."""
    def event(kind, **fields):
        data = json.dumps({"type": kind, **fields}, ensure_ascii=False)
        return f"event: {kind}\ndata: {data}\n\n".encode()

    whole = document(body["model"], answer)
    yield event("message_start", message={**whole, "content": [], "stop_reason": None,
                "usage": {"input_tokens": answer.prompt_tokens, "output_tokens": 1}})
    yield event("ping")
    index = 0
    if answer.content:
        yield event("content_block_start", index=0, content_block={"type": "text", "text": ""})
        for piece in answer.pieces():
            yield event("content_block_delta", index=0, delta={"type": "text_delta", "text": piece})
        yield event("content_block_stop", index=0)
        index = 1
    for call_id, name, arguments in answer.calls:
        yield event("content_block_start", index=index, content_block={
            "type": "tool_use", "id": call_id, "name": name, "input": {}})
        for piece in answer.split(arguments):
            yield event("content_block_delta", index=index,
                        delta={"type": "input_json_delta", "partial_json": piece})
        yield event("content_block_stop", index=index)
        index += 1
    yield event("message_delta", delta={"stop_reason": whole["stop_reason"], "stop_sequence": None},
                usage={"output_tokens": answer.completion_tokens})
    yield event("message_stop")
