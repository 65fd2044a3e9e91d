// Records, pages and requests.

#include <array>

#include "api/schemas.h"

namespace aegis::api {
namespace {

// The same fields in lists, single records and answers to a deploy.
#define AEGIS_AGENT_FIELDS                                                              \
    "id uuid\n agent_id uuid the same\n name text\n version text\n description text\n"  \
    "status AgentStatus\n revision int\n labels map\n annotations map\n"                \
    "runtime AgentRuntime\n created_at time\n updated_at time\n deployed_at time\n"
#define AEGIS_MANIFEST_FIELDS \
    "manifest_yaml text as deployed\n manifest Manifest|null resolved: every default filled in\n"
#define AEGIS_EXECUTION_FIELDS                                                             \
    "id uuid\n execution_id uuid the same\n agent_id uuid\n agent_name text\n"             \
    "agent_revision int\n status ExecutionStatus\n error Failure|null\n labels map\n"      \
    "max_iterations int\n total_iterations int\n created_at time\n started_at time|null\n" \
    "ended_at time|null\n duration_ms int|null\n usage Usage\n"
#define AEGIS_REQUEST_FIELDS                                                               \
    "input? any a string is taken verbatim; anything else as its JSON text\n"              \
    "max_iterations? int|null\n model? text|null an alias\n labels? map|null\n"            \
    "idempotency_key? text|null\n timeout? text|null like 30s\n budget? Budget|null\n"

constexpr std::array kWordList{
    SchemaText{"AgentStatus", "deployed paused archived"},
    SchemaText{"ExecutionStatus", "pending running completed failed cancelled"},
    SchemaText{"IterationStatus", "running success refining failed cancelled"},
    SchemaText{"Outcome", "completed failed cancelled"},
    SchemaText{"DeployResult", "created updated unchanged valid"},
    SchemaText{"ToolStatus", "running ok error denied lost"},
    SchemaText{"ErrorCode",
               "invalid not_found unauthenticated permission_denied conflict too_large too_many "
               "unsupported unreachable unavailable timeout cancelled storage_full io internal"},
    SchemaText{"FailureCode",
               "validation_exhausted timeout iteration_timeout sandbox_error out_of_memory "
               "model_error model_call_limit tool_call_limit budget_exceeded internal"},
};

constexpr std::array kObjectList{
    SchemaText{"Error", "error ErrorBody"},
    SchemaText{"ErrorBody", "code ErrorCode\n message text\n hint? text the next step\n"
                            "details ErrorDetail[]"},
    SchemaText{"ErrorDetail", "path text of a field, query.x, or a JSON pointer\n file? text\n"
                              "line int 0: unknown\n column int\n message text"},
    SchemaText{"Failure", "code FailureCode\n message text"},
    SchemaText{"Usage",
               "calls int\n prompt_tokens int\n completion_tokens int\n cost_usd number"},
    SchemaText{"BodyRef", "sha256 text\n size int"},
    SchemaText{"Budget", "usd? number\n tokens? int\n llm_calls? int\n tool_calls? int"},
    SchemaText{"Plan", R"(max_iterations int
        iteration_timeout_ms int
        timeout_ms int
        max_tool_calls int
        max_model_calls int
        checks_exit_code bool
        has_validators bool
        has_volumes bool
        budget? PlanBudget)"},
    SchemaText{"PlanBudget", "usd? number\n tokens? int\n llm_calls? int\n tool_calls? int\n"
                             "input_usd_per_mtok number"},
    SchemaText{"Reservation", "tokens int\n usd number"},

    SchemaText{"AgentRuntime", "isolation text|null\n language text|null\n version text|null\n"
                               "image text|null\n model text|null"},
    SchemaText{"AgentSummary", AEGIS_AGENT_FIELDS},
    SchemaText{"Agent", AEGIS_AGENT_FIELDS AEGIS_MANIFEST_FIELDS},
    SchemaText{"DeployedAgent", AEGIS_AGENT_FIELDS AEGIS_MANIFEST_FIELDS
               "result DeployResult\n warnings text[]"},
    SchemaText{"ValidatedAgent",
               "name text\n result DeployResult\n warnings text[]\n manifest_yaml text\n"
               "manifest Manifest"},
    SchemaText{"AgentPage", "items AgentSummary[]\n count int\n next_cursor text|null"},
    SchemaText{"DeployedList", "items DeployedAgent[]\n count int"},
    SchemaText{"ValidatedList", "items ValidatedAgent[]\n count int"},
    SchemaText{"Revision", "revision int\n version text\n created_at time\n manifest_yaml text"},
    SchemaText{"RevisionList", "items Revision[]\n count int"},

    SchemaText{"ManifestFile", "name? text in positions of errors\n text text"},
    SchemaText{"ManifestFiles", "files ManifestFile[]"},
    SchemaText{"ManifestText", "manifest_yaml text"},
    SchemaText{"ExecuteRequest", AEGIS_REQUEST_FIELDS},
    SchemaText{"CreateExecutionRequest",
               "agent_id text name, id or unique prefix\n" AEGIS_REQUEST_FIELDS},

    SchemaText{"ExecutionSummary", AEGIS_EXECUTION_FIELDS
               "input_summary? text|null where asked for; null: too large to look into\n"},
    SchemaText{"Execution", AEGIS_EXECUTION_FIELDS
               "input text\n output text|null\n model text the alias\n"
               "volumes ExecutionVolume[]\n iterations Iteration[]"},
    SchemaText{"ExecutionVolume", "id uuid\n name text\n mount_point text"},
    SchemaText{"ExecutionPage", "items ExecutionSummary[]\n count int\n next_cursor text|null"},
    SchemaText{"Iteration", R"(number int
        status IterationStatus
        started_at time|null
        ended_at time|null
        duration_ms int|null
        exit_code int|null
        output text|null
        error Failure|null
        validation Validation|null
        tool_calls ToolCall[]
        llm Usage)"},
    SchemaText{"Validation", "score number\n results ValidationResult[]"},
    SchemaText{"ValidationResult",
               "validator text\n passed bool\n score number\n confidence number\n detail text"},
    SchemaText{"ValidationEvent",
               "validator? text\n passed bool\n score number\n confidence number\n detail? text"},
    SchemaText{"ToolCall", "tool text\n summary text\n status ToolStatus\n duration_ms int\n"
                           "exit_code? int\n reason? text"},
    SchemaText{"IterationLog", R"(iteration int
        status IterationStatus
        output text|null
        tool_calls ToolCall[]
        stdout text|null
        stderr text|null
        error Failure|null)"},
    SchemaText{"EventPage", "items Event[]\n next_after int"},
    SchemaText{"NodeEventPage", "items NodeEvent[]\n next_cursor text"},

    SchemaText{"Volume", R"(id uuid
        name text
        agent_id uuid
        storage_class text
        size_limit_bytes int
        used_bytes int
        execution_id uuid|null
        mounted_by uuid|null
        expires_at time|null
        created_at time)"},
    SchemaText{"VolumeList", "items Volume[]\n count int"},
    SchemaText{"VolumeFile", R"(path text
        type text file, directory or other
        size? int of a file
        modified_at? time of a file
        items? VolumeEntry[] of a directory, by name
        count? int
        next_after? text|null)"},
    SchemaText{"VolumeEntry", R"(name text
        type text file, directory, symlink or other
        size int
        modified_at time
        target? text of a symlink)"},
    SchemaText{"Replay", R"(execution_id uuid
        status text reproduced or diverged
        events int
        iterations int
        prompts int
        bodies int
        verdicts int
        divergence Divergence|null)"},
    SchemaText{"Divergence", R"(seq int of the event; 0: of none
        iteration int
        what text
        recorded text
        replayed text)"},

    SchemaText{"Version", "version text\n api_version text"},
    SchemaText{"Live", "status text"},
    SchemaText{"Ready", "status text ready or not_ready\n checks HealthCheck[]"},
    SchemaText{"HealthCheck", "name text\n ok bool\n message text why not"},
    SchemaText{"Node", R"(version text
        node_id uuid
        pid int
        started_at time
        address text
        data_dir text
        isolation text
        running_executions int
        queued_executions int
        model_aliases text[])"},

    SchemaText{"Manifest",
               "apiVersion text\n kind text\n metadata ManifestMetadata\n spec ManifestSpec"},
    SchemaText{"ManifestMetadata",
               "name text\n version text\n description text\n labels map\n annotations map"},
    SchemaText{"ManifestSpec", R"(runtime ManifestRuntime
        task ManifestTask
        input_schema? any
        execution ManifestExecution
        security ManifestSecurity
        volumes ManifestVolume[]
        tools? any[]
        env map
        context object[]
        schedule? ManifestSchedule
        advanced ManifestAdvanced)"},
    SchemaText{"ManifestRuntime", R"(language? text
        version? text
        image? text
        image_pull_policy text
        isolation text
        model text
        temperature? number
        max_tokens? int)"},
    SchemaText{"ManifestTask", "instruction text\n prompt_template text\n input_data object"},
    SchemaText{"ManifestExecution", R"(mode text
        max_iterations int
        iteration_timeout text
        max_tool_calls int
        max_model_calls int
        validation ManifestValidator[]
        tool_validation? ManifestValidator[]
        budget? Budget)"},
    SchemaText{"ManifestValidator", R"(type text
        min_score number
        min_confidence number
        expected? int
        allow_stderr? bool
        schema? any
        schema_path? text
        target_path? text
        pattern? text
        target? text
        command? text[]
        timeout? text
        judge_agent? text
        model? text
        criteria? text
        on_unavailable? text
        judges? text[]
        consensus? text
        min_judges_required? int)"},
    SchemaText{"ManifestSecurity", "network ManifestNetwork\n filesystem ManifestFilesystem\n"
                                   "resources ManifestResources"},
    SchemaText{"ManifestNetwork", "mode text\n allowlist text[]\n denylist text[]"},
    SchemaText{"ManifestFilesystem", "read? text[]\n write? text[]\n read_only bool"},
    SchemaText{"ManifestResources",
               "cpu int\n memory int\n disk int\n pids int\n timeout text"},
    SchemaText{"ManifestVolume", R"(name text
        storage_class? text
        mount_point text
        access_mode text
        size_limit? int
        ttl_hours? number
        source? ManifestVolumeSource)"},
    SchemaText{"ManifestVolumeSource", "volume_id text"},
    SchemaText{"ManifestSchedule", "cron text\n timezone text\n enabled bool"},
    SchemaText{"ManifestAdvanced",
               "warm_pool_size? int\n bootstrap_path? text\n startup_script? text"},
};

#undef AEGIS_AGENT_FIELDS
#undef AEGIS_MANIFEST_FIELDS
#undef AEGIS_EXECUTION_FIELDS
#undef AEGIS_REQUEST_FIELDS

}  // namespace

const std::span<const SchemaText> kWords = kWordList;
const std::span<const SchemaText> kObjects = kObjectList;

}  // namespace aegis::api
