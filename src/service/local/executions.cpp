// Starting, showing, watching and cancelling executions; volumes; the node.

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <condition_variable>
#include <deque>
#include <mutex>

#include "service/local/local_service.h"
#include "service/local/volume_sources.h"
#include "text/digest.h"
#include "text/edit_distance.h"
#include "text/json_schema.h"

namespace aegis::service {

using namespace execution;
using aegis::Status;  // not the execution's

namespace {

constexpr std::size_t kMaxQueued = 10'000;
constexpr std::size_t kMaxInputBytes = 8U << 20U;
constexpr std::size_t kMaxLabels = 32;
constexpr std::size_t kMaxLabelBytes = 2048;
constexpr std::size_t kMaxKeyBytes = 256;
constexpr int kMaxIterations = 100;
constexpr std::int64_t kMaxTimeoutMs = 24 * 3'600'000;
constexpr std::int64_t kCancelMs = 60'000;

Status checkLabels(const std::map<std::string, std::string>& labels) {
    std::size_t bytes = 0;
    for (const auto& [key, value] : labels) {
        if (key.empty()) return {ErrorCode::kInvalid, "a label has an empty name"};
        bytes += key.size() + value.size();
    }
    if (labels.size() > kMaxLabels || bytes > kMaxLabelBytes)
        return {ErrorCode::kInvalid, fmt::format("at most {} labels of {} bytes in all",
                                                 kMaxLabels, kMaxLabelBytes)};
    return {};
}

Status checkLimits(const ExecuteRequest& request, const agent::Manifest& manifest) {
    if (request.max_iterations) {
        int n = *request.max_iterations;
        if (n < 1 || n > kMaxIterations)
            return {ErrorCode::kInvalid,
                    fmt::format("max_iterations is {}, expected 1 to {}", n, kMaxIterations)};
        if (n > 1 && manifest.execution.mode == agent::Mode::kOneShot)
            return {ErrorCode::kInvalid, "the agent is one-shot: it has exactly one iteration"};
    }
    if (request.timeout_ms && (*request.timeout_ms < 1 || *request.timeout_ms > kMaxTimeoutMs))
        return {ErrorCode::kInvalid, "timeout must be more than 0 and at most 24h"};
    if (request.idempotency_key.size() > kMaxKeyBytes)
        return {ErrorCode::kInvalid,
                fmt::format("the idempotency key is longer than {} bytes", kMaxKeyBytes)};
    return checkLabels(request.labels);
}

Status checkDeployed(const ports::AgentRecord& record) {
    if (record.status == ports::AgentStatus::kDeployed) return {};
    bool paused = record.status == ports::AgentStatus::kPaused;
    return {ErrorCode::kConflict,
            fmt::format("agent \"{}\" is {}", record.name, agentStatusName(record.status)),
            paused ? fmt::format("aegis agent resume {}", record.name) : std::string()};
}

/// The manifest's budget with the request's limits in the place of its own.
Result<std::optional<Budget>> budgetOf(const ExecuteRequest& request,
                                       const agent::Manifest& manifest,
                                       const ports::Models& models, const std::string& alias) {
    auto given = manifest.execution.budget.value_or(agent::Budget{});
    const auto& own = request.budget;
    Budget out;
    out.usd = own.usd ? own.usd : given.usd;
    out.tokens = own.tokens ? own.tokens : given.tokens;
    out.llm_calls = own.llm_calls ? own.llm_calls : given.llm_calls;
    out.tool_calls = own.tool_calls ? own.tool_calls : given.tool_calls;
    if (!out.usd && !out.tokens && !out.llm_calls && !out.tool_calls)
        return std::optional<Budget>();
    bool negative = out.usd.value_or(0) < 0 || out.tokens.value_or(0) < 0 ||
                    out.llm_calls.value_or(0) < 0 || out.tool_calls.value_or(0) < 0;
    if (negative) return {ErrorCode::kInvalid, "a budget cannot be less than 0"};
    if (out.usd) {
        // What a call costs would stay unknown: the limit would not be one.
        auto price = models.price(alias);
        if (!price) return std::move(price.error()).within("budget.usd");
        out.input_usd_per_mtok = price->input_per_mtok;
    }
    return std::optional(out);
}

/// The text that becomes {{input}}, checked against the agent's schema.
Result<std::string> inputOf(const ExecuteRequest& request, const agent::Manifest& manifest) {
    const auto& defaults = manifest.task.input_data;
    std::string text =
        request.input.value_or(defaults.empty() ? "{}" : json::dump(json::Value(defaults)));
    if (text.size() > kMaxInputBytes)
        return Error(ErrorCode::kTooLarge,
                     fmt::format("the input is {} bytes, at most {} are allowed", text.size(),
                                 kMaxInputBytes));
    if (!json::isUtf8(text)) return Error(ErrorCode::kInvalid, "the input is not UTF-8");
    if (!manifest.input_schema) return text;
    auto parsed = json::parse(text);
    if (!parsed) return std::move(parsed.error()).within("input");
    if (auto* object = parsed->if_object()) {
        for (const auto& member : defaults) {
            if (!object->contains(member.key())) (*object)[member.key()] = member.value();
        }
    }
    AEGIS_TRY(auto schema, text::JsonSchema::compile(*manifest.input_schema));
    auto violations = schema.validate(*parsed);
    if (violations.empty()) return text;
    Error error(ErrorCode::kInvalid, "the input does not match the agent's input_schema");
    for (const auto& v : violations) error.details.push_back({v.pointer, "", 0, 0, v.message});
    return error;
}

Result<std::string> aliasOf(const ExecuteRequest& request, const agent::Manifest& manifest,
                            const std::vector<std::string>& known) {
    auto alias = request.model.empty() ? manifest.runtime.model : request.model;
    if (alias == "default" || std::ranges::find(known, alias) != known.end()) return alias;
    std::string hint = known.empty() ? std::string("no model provider is configured")
                                     : fmt::format("known aliases: {}", fmt::join(known, ", "));
    if (auto near = text::closest(alias, known, 2))
        hint = fmt::format("did you mean \"{}\"?", *near);
    return Error(ErrorCode::kInvalid, fmt::format("unknown model alias \"{}\"", alias),
                 std::move(hint));
}

Plan planOf(const ExecuteRequest& request, const agent::Manifest& manifest) {
    const auto& spec = manifest.execution;
    Plan plan;
    plan.max_iterations = request.max_iterations.value_or(spec.max_iterations);
    plan.iteration_timeout_ms = spec.iteration_timeout_ms;
    plan.timeout_ms = request.timeout_ms.value_or(manifest.security.resources.timeout_ms);
    plan.max_tool_calls = spec.max_tool_calls;
    plan.max_model_calls = spec.max_model_calls;
    plan.has_validators = !spec.validation.empty();
    plan.checks_exit_code = std::ranges::any_of(spec.validation, [](const agent::Validator& v) {
        return std::holds_alternative<agent::ExitCodeCheck>(v.check);
    });
    plan.has_volumes = !manifest.volumes.empty();
    return plan;
}

std::string requestDigest(const ExecuteRequest& request, const std::string& input) {
    const auto& budget = request.budget;
    auto text = fmt::format("{}\n{}\n{}\n{}\n{}", input, request.model,
                            request.max_iterations.value_or(0), request.timeout_ms.value_or(0),
                            fmt::join(request.labels, ","));
    if (budget.usd || budget.tokens || budget.llm_calls || budget.tool_calls)
        text += fmt::format("\n{} {} {} {}", budget.usd.value_or(-1), budget.tokens.value_or(-1),
                            budget.llm_calls.value_or(-1), budget.tool_calls.value_or(-1));
    return text::sha256Hex(text);
}

/// The record of an execution as it was accepted, from what is known without the journal: a
/// function of when that was.
std::function<Result<json::Value>(UtcTime)> acceptedRecord(const runner::Submission& submission) {
    const auto& context = submission.context;
    ports::ExecutionRow row;
    row.id = context.id;
    row.agent_id = context.agent_id;
    row.agent_name = context.agent_name;
    row.agent_revision = context.agent_revision;
    row.status = execution::Status::kPending;
    row.labels = context.labels;
    row.max_iterations = submission.created.plan.max_iterations;
    row.last_seq = 1;
    return [row, created = submission.created,
            input = submission.input.bytes](UtcTime at) mutable -> Result<json::Value> {
        row.created_at = at;
        RecordView view;
        addToRecord(view, {1, at, 0, 0, 0, std::move(created)});
        AEGIS_TRY(auto record, executionRecord(row, view, [&](const BodyRef& ref) {
                      return ref.empty() ? Result<std::string>(std::string()) : *input;
                  }));
        return json::Value(std::move(record));
    };
}

}  // namespace

Result<LocalService::ManifestPtr> LocalService::manifestOf(const ports::AgentRecord& record) {
    constexpr std::size_t kMost = 32;
    constexpr std::size_t kMostBytes = 64U << 10U;
    const std::pair key(record.id, record.revision);
    {
        std::lock_guard lock(mutex_);
        auto known = manifests_.find(key);
        if (known != manifests_.end()) return known->second;
    }
    AEGIS_TRY(auto value, json::parse(record.manifest_json));
    AEGIS_TRY(auto parsed, agent::manifestFromJson(value));
    ManifestPtr manifest = std::make_shared<const agent::Manifest>(std::move(parsed));
    if (record.manifest_json.size() > kMostBytes) return manifest;
    std::lock_guard lock(mutex_);
    if (manifests_.size() >= kMost) manifests_.clear();
    manifests_[key] = manifest;
    return manifest;
}

Result<json::Value> LocalService::execute(const Principal&, const ExecuteRequest& request) {
    if (p_.runner.queued() >= kMaxQueued)
        return Error(ErrorCode::kTooMany,
                     fmt::format("{} executions are waiting already", kMaxQueued), "try later");
    AEGIS_TRY(auto record, resolveAgent(request.agent));
    runner::Submission submission;
    auto& context = submission.context;
    // A repeat is answered whatever has become of the agent since.
    if (request.idempotency_key.empty()) AEGIS_CHECK(checkDeployed(record));
    AEGIS_TRY(context.manifest, manifestOf(record));
    const auto& manifest = *context.manifest;
    AEGIS_CHECK(checkLimits(request, manifest));
    AEGIS_TRY(auto input, inputOf(request, manifest));
    AEGIS_TRY(auto alias, aliasOf(request, manifest, p_.models.aliases()));
    AEGIS_TRY(auto budget, budgetOf(request, manifest, p_.models, alias));
    auto digest = requestDigest(request, input);
    if (!request.idempotency_key.empty()) {
        std::string stored;
        AEGIS_TRY(auto existing,
                  p_.journal.byIdempotencyKey(record.id, request.idempotency_key, stored));
        if (existing && stored != digest)
            return Error(ErrorCode::kConflict,
                         "the idempotency key was used for a different request");
        if (existing) {
            AEGIS_TRY(auto row, p_.journal.row(*existing));
            return fullRecord(row);
        }
        AEGIS_CHECK(checkDeployed(record));
    }
    AEGIS_CHECK(checkSources(p_.volumes, manifest));
    context.id = ExecutionId::generate(p_.random);
    context.agent_id = record.id;
    context.agent_name = record.name;
    context.agent_revision = record.revision;
    AEGIS_TRY(auto resolved, p_.runner.resolve(manifest));
    context.isolation = resolved.first;
    context.image = resolved.second;
    context.runtime = p_.runner.runtime(context.isolation);
    if (context.runtime == nullptr)
        return Error(ErrorCode::kUnsupported,
                     fmt::format("isolation {} is not available on this node", context.isolation));
    context.labels = request.labels;
    context.idempotency_key = request.idempotency_key;
    context.idempotency_digest = digest;
    submission.input = ports::makeBody(std::move(input));
    context.input = submission.input.ref;
    auto& created = submission.created;
    created.agent_id = record.id;
    created.agent_name = record.name;
    created.agent_revision = record.revision;
    created.input = submission.input.ref;
    created.plan = planOf(request, manifest);
    created.plan.budget = budget;
    created.model_alias = alias;
    created.labels = request.labels;
    auto fresh = acceptedRecord(submission);
    auto accepted = p_.runner.submit(std::move(submission));
    if (accepted) return fresh(*accepted);
    bool raced = accepted.error().code == ErrorCode::kConflict && !request.idempotency_key.empty();
    if (!raced) return accepted.error();
    std::string stored;
    AEGIS_TRY(auto existing,
              p_.journal.byIdempotencyKey(record.id, request.idempotency_key, stored));
    if (!existing || stored != digest) return accepted.error();
    AEGIS_TRY(auto row, p_.journal.row(*existing));
    return fullRecord(row);
}

BodyText LocalService::bodies(const ExecutionId& id) {
    return [this, id](const BodyRef& ref) { return p_.journal.body(id, ref); };
}

Result<RecordView> LocalService::view(const ExecutionId& id) {
    constexpr std::size_t kPage = 1000;
    RecordView out;
    while (true) {
        AEGIS_TRY(auto events, p_.journal.events(id, out.last_seq, kPage));
        for (const auto& event : events) addToRecord(out, event);
        if (events.size() < kPage) return out;
    }
}

Result<json::Value> LocalService::fullRecord(const ports::ExecutionRow& row) {
    AEGIS_TRY(auto folded, view(row.id));
    // The row was read before the events: the events' word is the newer one.
    auto current = row;
    current.status = folded.status;
    current.started_at = folded.started_at;
    current.ended_at = folded.ended_at;
    current.failure = folded.error;
    current.usage = folded.usage;
    current.total_iterations = static_cast<int>(folded.iterations.size());
    AEGIS_TRY(auto record, executionRecord(current, folded, bodies(row.id)));
    return json::Value(std::move(record));
}

Result<json::Value> LocalService::listExecutions(const Principal&, const ListExecutions& query) {
    ports::ExecutionFilter filter;
    if (!query.status.empty()) {
        filter.status = statusFromName(query.status);
        if (!filter.status)
            return Error(ErrorCode::kInvalid, fmt::format("unknown status \"{}\"", query.status),
                         "one of pending, running, completed, failed, cancelled");
    }
    AEGIS_TRY(filter.agent, agentFilter(query.agent));
    filter.since = query.since;
    filter.labels = query.labels;
    filter.limit = query.limit;
    filter.cursor = query.cursor;
    AEGIS_TRY(auto page, p_.journal.list(filter));
    json::Array items;
    for (const auto& row : page.rows) {
        auto item = executionRow(row);
        if (query.input_summary) {
            AEGIS_TRY(item["input_summary"], inputSummary(row.id));
        }
        items.push_back(std::move(item));
    }
    auto count = items.size();
    auto next = page.next_cursor.empty() ? json::Value(nullptr) : json::Value(page.next_cursor);
    return json::Value(json::Object{
        {"items", std::move(items)}, {"count", count}, {"next_cursor", std::move(next)}});
}

Result<json::Value> LocalService::inputSummary(const ExecutionId& id) {
    constexpr std::uint64_t kMostBytes = 64U << 10U;
    constexpr std::size_t kShownBytes = 240;
    auto events = p_.journal.events(id, 0, 1);
    // Removed since the page was read.
    if (!events && events.error().code == ErrorCode::kNotFound) return json::Value(nullptr);
    if (!events) return events.error();
    const auto* created =
        events->empty() ? nullptr : std::get_if<execution::ExecutionCreated>(&events->front().data);
    if (created == nullptr || created->input.size > kMostBytes) return json::Value(nullptr);
    if (created->input.empty()) return json::Value("");
    auto text = p_.journal.body(id, created->input);
    if (!text && text.error().code == ErrorCode::kNotFound) return json::Value(nullptr);
    if (!text) return text.error();
    auto end = std::min(kShownBytes, text->size());
    while (end > 0 && end < text->size() && ((*text)[end] & 0xc0) == 0x80)
        --end;
    return json::Value(json::toUtf8(text->substr(0, end)));
}

Result<std::string> LocalService::executionBody(const std::string& execution,
                                                const std::string& sha256) {
    AEGIS_TRY(auto row, resolveExecution(execution));
    return p_.journal.body(row.id, {sha256, 0});
}

Result<json::Value> LocalService::getExecution(const Principal&, const std::string& execution) {
    AEGIS_TRY(auto row, resolveExecution(execution));
    return fullRecord(row);
}

Result<json::Value> LocalService::executionLogs(const Principal&, const std::string& execution,
                                                int iteration) {
    AEGIS_TRY(auto row, resolveExecution(execution));
    AEGIS_TRY(auto folded, view(row.id));
    auto count = static_cast<int>(folded.iterations.size());
    if (iteration < 0 || iteration > count)
        return Error(ErrorCode::kNotFound,
                     fmt::format("execution {} has no iteration {}", row.id.str(), iteration),
                     fmt::format("it has {}", count));
    AEGIS_TRY(auto logs, service::executionLogs(folded, iteration, bodies(row.id)));
    return json::Value(std::move(logs));
}

Result<json::Value> LocalService::cancelExecution(const Principal& who,
                                                  const std::string& execution) {
    AEGIS_TRY(auto row, resolveExecution(execution));
    auto already = [&](std::string_view status) {
        return Error(ErrorCode::kConflict,
                     fmt::format("execution {} is already {}", row.id.str(), status));
    };
    if (isTerminal(row.status)) return already(statusName(row.status));
    auto cancelled = p_.runner.cancel(row.id, "requested by " + who.name,
                                      Deadline::in(p_.clock.boot(), kCancelMs));
    if (!cancelled && cancelled.error().code == ErrorCode::kNotFound) {
        AEGIS_TRY(row, p_.journal.row(row.id));
        if (isTerminal(row.status)) return already(statusName(row.status));
        return Error(ErrorCode::kUnavailable, "the execution is being loaded", "try again");
    }
    if (!cancelled) return cancelled.error();
    AEGIS_TRY(row, p_.journal.row(row.id));
    return fullRecord(row);
}

Status LocalService::removeExecution(const Principal&, const std::string& execution) {
    AEGIS_TRY(auto row, resolveExecution(execution));
    return p_.journal.remove(row.id);
}

Result<json::Value> LocalService::executionEvents(const Principal&, const std::string& execution,
                                                  std::uint64_t after, int limit) {
    AEGIS_TRY(auto row, resolveExecution(execution));
    AEGIS_TRY(auto events, p_.journal.events(row.id, after, static_cast<std::size_t>(limit)));
    json::Array items;
    for (const auto& event : events) items.push_back(toJson(event, row.id, row.agent_id));
    auto next = events.empty() ? after : events.back().seq;
    return json::Value(json::Object{{"items", std::move(items)}, {"next_after", next}});
}

std::shared_ptr<Watch> LocalService::watch(const ports::ExecutionRow& row, std::uint64_t after,
                                           Watch::Deliver deliver) {
    return std::make_shared<Watch>(p_.hub, p_.journal, row.id, row.agent_id, after,
                                   std::move(deliver));
}

Status LocalService::watchExecution(const Principal&, const std::string& execution,
                                    std::uint64_t after, std::int64_t,
                                    const EventCallback& callback) {
    AEGIS_TRY(auto row, resolveExecution(execution));
    std::mutex mutex;
    std::condition_variable wake;
    std::deque<EncodedEventPtr> queue;
    auto following = watch(row, after, [&](const EncodedEventPtr& event) {
        {
            std::lock_guard lock(mutex);
            queue.push_back(event);
        }
        wake.notify_one();
        return true;
    });
    auto status = following->run();
    while (status) {
        std::unique_lock lock(mutex);
        wake.wait(lock, [&] { return !queue.empty(); });
        auto event = std::move(queue.front());
        queue.pop_front();
        lock.unlock();
        auto value = json::parse(event->json);
        if (!value) status = value.error();
        if (!status || !callback(*value) || event->terminal) break;
    }
    following->stop();
    return status;
}

Result<json::Value> LocalService::listVolumes(const Principal&) {
    AEGIS_TRY(auto all, p_.volumes.list());
    json::Array items;
    for (const auto& record : all) items.push_back(volumeRecord(record));
    auto count = items.size();
    return json::Value(json::Object{{"items", std::move(items)}, {"count", count}});
}

Result<json::Value> LocalService::getVolume(const Principal&, const std::string& volume) {
    AEGIS_TRY(auto record, resolveVolume(volume));
    return json::Value(volumeRecord(record));
}

Status LocalService::deleteVolume(const Principal&, const std::string& volume) {
    AEGIS_TRY(auto record, resolveVolume(volume));
    AEGIS_CHECK(namedByNobody(p_.registry, record.id));
    return p_.volumes.erase(record.id);
}

Result<json::Value> LocalService::nodeStatus(const Principal&) {
    auto status = p_.node_status();
    status["running_executions"] = p_.runner.running();
    status["queued_executions"] = p_.runner.queued();
    json::Array aliases;
    for (const auto& alias : p_.models.aliases()) aliases.push_back(json::Value(alias));
    status["model_aliases"] = std::move(aliases);
    return json::Value(std::move(status));
}

}  // namespace aegis::service
