// What is in the events' data. Texts, lists, maps and references that are empty are left out.

#include <algorithm>
#include <array>

#include "api/schemas.h"

namespace aegis::api {
namespace {

constexpr std::array kAgentTypes{std::string_view("AgentDeployed"),
                                 std::string_view("AgentUpdated"),
                                 std::string_view("AgentPaused"), std::string_view("AgentResumed"),
                                 std::string_view("AgentDeleted")};
constexpr std::string_view kAgentData = "name text\n revision int";
constexpr std::string_view kEgressData = "host? text\n port int\n reason? text\n bytes int";
constexpr std::string_view kEndData = "iterations int\n duration_ms int";

constexpr std::array kData{
    SchemaText{"ExecutionCreated", R"(agent_id uuid
        agent_name text
        agent_revision int
        input? BodyRef
        plan Plan
        model_alias? text
        labels? map
        root? uuid
        parent? uuid)"},
    SchemaText{"CancelRequested", "reason? text"},
    SchemaText{"OutcomeDecided", "outcome Outcome\n error? Failure\n output? BodyRef"},
    SchemaText{"EffectLost", "effect text\n call int"},
    SchemaText{"ExecutionStarted", "deadline time"},
    SchemaText{"IterationStarted", "deadline time\n previous_error? BodyRef"},
    SchemaText{"SandboxStarted", "runtime text\n name? text\n start_ms int"},
    SchemaText{"LlmCallStarted", R"(call int
        conversation int
        turn int
        request_id? text
        model_alias? text
        prompt? BodyRef with turn 0
        format? text "openai" or "anthropic": asked in that API's format
        reserved? Reservation)"},
    SchemaText{"LlmCallCompleted", R"(call int
        answer? BodyRef
        tool_calls int
        usage Usage
        provider? text
        model? text
        finish_reason? text
        duration_ms int)"},
    SchemaText{"LlmCallFailed", "call int\n error? Failure\n duration_ms int"},
    SchemaText{"ToolCallStarted", R"(call int
        conversation int
        turn int
        index int
        tool text
        summary? text
        dispatch_id? text
        barrier bool)"},
    SchemaText{"ToolCallCompleted", R"(call int
        tool text
        summary? text
        ok bool
        exit_code? int
        reason? text
        result? BodyRef
        duration_ms int)"},
    SchemaText{"ToolCallDenied", R"(call int
        conversation int
        turn int
        index int
        tool text
        summary? text
        reason? text
        result? BodyRef)"},
    SchemaText{"EgressAllowed", kEgressData},
    SchemaText{"EgressDenied", kEgressData},
    SchemaText{"OutputAppended", "stream text\n text? text"},
    SchemaText{"IterationCompleted", R"(exit_code? int
        error? Failure
        output? BodyRef
        stdout? BodyRef
        stderr? BodyRef
        error_text? BodyRef)"},
    SchemaText{"ValidationCompleted", R"(results? ValidationEvent[]
        score number
        passed bool
        error_text? BodyRef)"},
    SchemaText{"IterationRefining", "error_text? BodyRef"},
    SchemaText{"BudgetExceeded", "what text\n message? text"},
    SchemaText{"VolumeAttached", "volume_id uuid\n name text\n mount_point text"},
    SchemaText{"VolumeDetached", "volume_id uuid"},
    SchemaText{"VolumeQuotaExceeded", "volume_id uuid\n name text"},
    SchemaText{"ExecutionResumed", ""},
    SchemaText{"ExecutionCompleted", kEndData},
    SchemaText{"ExecutionFailed", "iterations int\n duration_ms int\n error? Failure"},
    SchemaText{"ExecutionCancelled", kEndData},
    SchemaText{kAgentTypes[0], kAgentData},
    SchemaText{kAgentTypes[1], kAgentData},
    SchemaText{kAgentTypes[2], kAgentData},
    SchemaText{kAgentTypes[3], kAgentData},
    SchemaText{kAgentTypes[4], kAgentData},
};

}  // namespace

const std::span<const SchemaText> kEventData = kData;

const std::string_view kEventFields = R"(seq int without gaps from 1 per execution
    time time
    execution_id uuid
    agent_id uuid
    type text
    iteration? int
    candidate? int
    sandbox? int
    data object
    agent_name? text in the node's events
    cursor? text in the node's events)";

const std::string_view kAgentEventFields = R"(time time
    agent_id uuid
    type text
    data object
    agent_name? text
    cursor? text)";

bool isAgentEvent(std::string_view type) {
    return std::ranges::find(kAgentTypes, type) != kAgentTypes.end();
}

}  // namespace aegis::api
