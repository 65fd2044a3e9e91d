#pragma once

#include <cstdint>
#include <functional>
#include <initializer_list>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/time.h"
#include "execution/event.h"
#include "text/json.h"

namespace aegis::ports {

/// A tool as the model is told of it. Names may contain dots; adapters map them on the wire and
/// back.
struct ToolSpec {
    std::string name;
    std::string description;
    json::Value parameters;  ///< JSON Schema
    bool strict = false;     ///< arguments shall match the schema exactly; not every API can
};

/// Which tools an answer may or must call.
struct ToolChoice {
    enum class Kind : std::uint8_t { kAuto, kNone, kAny, kOne } kind = Kind::kAuto;
    std::string name;  ///< of kOne
};

/// One tool call of an answer. `arguments` is the text the model sent, which may not be JSON.
struct ToolCall {
    std::string id;
    std::string name;
    std::string arguments;
};

/// US dollars per million tokens.
struct Price {
    double input_per_mtok = 0, output_per_mtok = 0;
};

struct Message {
    enum class Role : std::uint8_t { kSystem, kUser, kAssistant, kTool } role = Role::kUser;
    /// Shared with the body cache: a prompt may be megabytes. Null: empty.
    std::shared_ptr<const std::string> content;
    std::vector<ToolCall> tool_calls;  ///< of an assistant
    std::string tool_call_id;          ///< of a tool
    bool is_error = false;             ///< of a tool: it failed
};

/// A list of tools that never changes: the requests of an execution share one.
class ToolSpecs {
  public:
    ToolSpecs() = default;
    ToolSpecs(std::initializer_list<ToolSpec> specs) : ToolSpecs(std::vector(specs)) {}
    ToolSpecs(std::vector<ToolSpec> specs)
        : specs_(std::make_shared<const std::vector<ToolSpec>>(std::move(specs))) {}

    auto begin() const { return list().begin(); }
    auto end() const { return list().end(); }
    bool empty() const { return list().empty(); }
    std::size_t size() const { return list().size(); }
    const ToolSpec& operator[](std::size_t i) const { return list()[i]; }

  private:
    const std::vector<ToolSpec>& list() const {
        static const std::vector<ToolSpec> kNone;
        return specs_ ? *specs_ : kNone;
    }
    std::shared_ptr<const std::vector<ToolSpec>> specs_;
};

struct ModelRequest {
    std::string alias;
    std::vector<Message> messages;
    ToolSpecs tools;
    std::optional<double> temperature;
    std::optional<int> max_tokens;
    std::optional<double> top_p;
    std::vector<std::string> stop;
    std::optional<ToolChoice> tool_choice;
    bool parallel_tool_calls = true;
};

struct ModelAnswer {
    std::string content;
    std::vector<ToolCall> tool_calls;
    execution::Usage usage;  ///< calls = 1; cost from the configured price
    std::string provider, model, finish_reason;
    std::string stop_sequence;  ///< of `stop`, where the provider says which it was
};

/// Called on the adapter's threads; must not block. done() comes once, after the last delta(), also
/// after cancel() (kCancelled).
struct ModelSink {
    std::function<void(std::string_view text)> delta;
    /// Before done() of a failure, where the provider said when it may do better; may be empty.
    std::function<void(std::int64_t ms)> again_in;
    std::function<void(Result<ModelAnswer>)> done;
};

/// Talks to providers: aliases with fall-back, retries, streaming, tool calls. An answer that makes
/// no sense is an error, never a guess. Safe on any thread; nothing blocks.
class Models {
  public:
    virtual ~Models() = default;
    using CallId = std::uint64_t;
    virtual CallId start(ModelRequest request, Deadline deadline, ModelSink sink) = 0;
    virtual void cancel(CallId id) = 0;
    /// The aliases that exist now, sorted ("default" included when any provider exists).
    virtual std::vector<std::string> aliases() const = 0;
    /// The highest prices among the providers that `alias` may use now; kInvalid, with the
    /// provider's name, if one of them has none.
    virtual Result<Price> price(const std::string& alias) const = 0;
};

}  // namespace aegis::ports
