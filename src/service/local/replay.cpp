// Running an execution again from its record: here, or from an archive.

#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "service/local/archive.h"
#include "service/local/local_service.h"
#include "wire/tar.h"

namespace aegis::service {

using namespace execution;
using aegis::Status;  // not the execution's

namespace {

constexpr std::size_t kEventPage = 500;
constexpr std::uint64_t kMaxArchiveBytes = 1ULL << 30U;
constexpr std::size_t kMaxArchiveFiles = 500'000;

Error stillRunning(const std::string& id, std::string_view status) {
    return {ErrorCode::kConflict, fmt::format("execution {} is still {}", id, status),
            fmt::format("wait for its end: aegis execution wait {}", id)};
}

Error damaged(std::string_view what) {
    return {ErrorCode::kInvalid, fmt::format("not an exported execution: {}", what)};
}

/// The first place where two JSON values differ.
struct Difference {
    std::string pointer, one, other;
};
std::optional<Difference> difference(const json::Value& one, const json::Value& other,
                                     const std::string& pointer) {
    if (one == other) return std::nullopt;
    if (one.is_object() && other.is_object()) {
        for (const auto& member : one.get_object()) {
            std::string_view key(member.key());
            const auto* found = json::find(other, key);
            auto at = fmt::format("{}/{}", pointer, key);
            if (found == nullptr) return Difference{at, json::dump(member.value()), "nothing"};
            if (auto inner = difference(member.value(), *found, at)) return inner;
        }
        for (const auto& member : other.get_object()) {
            std::string_view key(member.key());
            if (json::find(one, key) == nullptr)
                return Difference{fmt::format("{}/{}", pointer, key), "nothing",
                                  json::dump(member.value())};
        }
        return std::nullopt;
    }
    if (one.is_array() && other.is_array()) {
        const auto& a = one.get_array();
        const auto& b = other.get_array();
        for (std::size_t i = 0; i < std::min(a.size(), b.size()); ++i) {
            if (auto inner = difference(a[i], b[i], fmt::format("{}/{}", pointer, i))) return inner;
        }
        if (a.size() == b.size()) return std::nullopt;
        return Difference{pointer, fmt::format("{} items", a.size()),
                          fmt::format("{} items", b.size())};
    }
    // 1 and 1.0 are the same number in two guises.
    if (one.is_number() && other.is_number() &&
        one.to_number<double>() == other.to_number<double>())
        return std::nullopt;
    return Difference{pointer, json::dump(one), json::dump(other)};
}

/// The files of an archive by their names in its folder.
class ArchiveFiles {
  public:
    static Result<ArchiveFiles> read(std::string_view archive) {
        ArchiveFiles out;
        AEGIS_TRY(auto bytes, wire::gunzip(archive, kMaxArchiveBytes));
        // Kept whole: the entries point into it. unique_ptr, so that a move leaves it in its place.
        out.bytes_ = std::make_unique<const std::string>(std::move(bytes));
        AEGIS_TRY(auto entries, wire::readTar(*out.bytes_, kMaxArchiveFiles));
        for (const auto& entry : entries) {
            auto slash = entry.name.find('/');
            if (slash == std::string::npos) return damaged("a file outside its folder");
            if (!out.files_.emplace(entry.name.substr(slash + 1), entry.content).second)
                return damaged(fmt::format("{} is there twice", entry.name));
        }
        return out;
    }
    Result<std::string_view> file(const std::string& name) const {
        auto at = files_.find(name);
        if (at == files_.end())
            return Error(ErrorCode::kInvalid, fmt::format("the archive has no {}", name));
        return at->second;
    }
    Result<json::Value> value(const std::string& name) const {
        AEGIS_TRY(auto text, file(name));
        auto parsed = json::parse(text);
        if (!parsed) return std::move(parsed.error()).within(name);
        return parsed;
    }

  private:
    std::unique_ptr<const std::string> bytes_;
    std::map<std::string, std::string_view> files_;
};

/// An event from the form in which the API shows it.
Result<Event> eventFrom(const json::Value& shown, int version) {
    Event event;
    event.seq = static_cast<std::uint64_t>(json::getInt(shown, "seq"));
    auto time = UtcTime::parse(json::getString(shown, "time"));
    const auto* data = json::find(shown, "data");
    if (!time || data == nullptr) return Error(ErrorCode::kInvalid, "time or data is missing");
    event.time = *time;
    event.iteration = static_cast<int>(json::getInt(shown, "iteration"));
    event.candidate = static_cast<int>(json::getInt(shown, "candidate"));
    event.sandbox = static_cast<int>(json::getInt(shown, "sandbox"));
    AEGIS_TRY(event.data, decodeData(json::getString(shown, "type"), version, *data));
    return event;
}

Result<std::vector<Event>> eventsFrom(std::string_view lines, int version) {
    std::vector<Event> out;
    while (!lines.empty()) {
        auto line = lines.substr(0, lines.find('\n'));
        lines.remove_prefix(std::min(lines.size(), line.size() + 1));
        auto value = json::parse(line);
        auto event = value ? eventFrom(*value, version) : Result<Event>(value.error());
        if (!event)
            return std::move(event.error())
                .within(fmt::format("events.ndjson, line {}", out.size() + 1));
        out.push_back(std::move(*event));
        if (out.size() > kMaxEventsPerExecution) return damaged("too many events");
    }
    return out;
}

/// The row that lists show, against what the events say.
std::optional<runner::Divergence> rowDifference(const ports::ExecutionRow& row,
                                                const State& state) {
    auto text = [](execution::Status status, int iterations, const Usage& usage) {
        return fmt::format("{}, {} iterations, {} calls, {} + {} tokens, {} USD",
                           statusName(status), iterations, usage.calls, usage.prompt_tokens,
                           usage.completion_tokens, usage.cost_usd);
    };
    auto recorded = text(row.status, row.total_iterations, row.usage);
    auto replayed = text(state.status, state.iteration, state.usage);
    if (recorded == replayed) return std::nullopt;
    return runner::Divergence{0, 0, "record", recorded, replayed};
}

}  // namespace

Result<json::Object> recordOf(const ExecutionId& id, const RecordView& view, const BodyText& body) {
    ports::ExecutionRow row;
    row.id = id;
    row.agent_id = view.created.agent_id;
    row.agent_name = view.created.agent_name;
    row.agent_revision = view.created.agent_revision;
    row.status = view.status;
    row.labels = view.created.labels;
    row.max_iterations = view.created.plan.max_iterations;
    row.total_iterations = static_cast<int>(view.iterations.size());
    row.created_at = view.created_at;
    row.started_at = view.started_at;
    row.ended_at = view.ended_at;
    row.failure = view.error;
    row.usage = view.usage;
    row.last_seq = view.last_seq;
    return executionRecord(row, view, body);
}

json::Object replayRecord(const ExecutionId& id, const runner::ReplayReport& report) {
    json::Value divergence(nullptr);
    if (const auto& d = report.divergence)
        divergence = json::Object{{"seq", d->seq},
                                  {"iteration", d->iteration},
                                  {"what", d->what},
                                  {"recorded", json::toUtf8(d->recorded)},
                                  {"replayed", json::toUtf8(d->replayed)}};
    return {
        {"execution_id", id.str()},    {"status", report.divergence ? "diverged" : "reproduced"},
        {"events", report.events},     {"iterations", report.iterations},
        {"prompts", report.prompts},   {"bodies", report.bodies},
        {"verdicts", report.verdicts}, {"divergence", std::move(divergence)}};
}

Result<json::Value> LocalService::replayExecution(const Principal&, const std::string& execution) {
    AEGIS_TRY(auto row, resolveExecution(execution));
    if (!isTerminal(row.status)) return stillRunning(row.id.str(), statusName(row.status));
    AEGIS_TRY(auto agent, p_.registry.revision(row.agent_id, row.agent_revision));
    AEGIS_TRY(auto value, json::parse(agent.manifest_json));
    AEGIS_TRY(auto manifest, agent::manifestFromJson(value));
    runner::Recording recording{
        row.id, row.agent_id, manifest,
        [&](std::uint64_t after) { return p_.journal.events(row.id, after, kEventPage); },
        [&](const BodyRef& ref) -> Result<std::shared_ptr<const std::string>> {
            if (ref.empty()) return std::make_shared<const std::string>();
            AEGIS_TRY(auto text, p_.journal.body(row.id, ref));
            return std::make_shared<const std::string>(std::move(text));
        }};
    AEGIS_TRY(auto report, runner::replay(recording));
    if (!report.divergence) report.divergence = rowDifference(row, report.state);
    return json::Value(replayRecord(row.id, report));
}

Result<json::Value> replayArchive(std::string_view archive) {
    AEGIS_TRY(auto files, ArchiveFiles::read(archive));
    AEGIS_TRY(auto head, files.value("export.json"));
    auto id = ExecutionId::parse(json::getString(head, "execution_id"));
    auto agent_id = AgentId::parse(json::getString(head, "agent_id"));
    if (json::getString(head, "format") != kArchiveFormat || !id || !agent_id)
        return damaged("export.json does not say so");
    if (json::getInt(head, "version") != kArchiveVersion)
        return Error(ErrorCode::kUnsupported,
                     "the archive was written by another version of aegis");
    AEGIS_TRY(auto manifest_value, files.value("manifest.json"));
    AEGIS_TRY(auto manifest, agent::manifestFromJson(manifest_value));
    AEGIS_TRY(auto lines, files.file("events.ndjson"));
    AEGIS_TRY(auto events,
              eventsFrom(lines, static_cast<int>(json::getInt(head, "event_version"))));
    auto body = [&](const BodyRef& ref) -> Result<std::string> {
        if (ref.empty()) return std::string();
        AEGIS_TRY(auto text, files.file("bodies/" + ref.sha256));
        return std::string(text);
    };
    RecordView view;
    for (const auto& event : events)
        addToRecord(view, event);
    if (!events.empty() && !isTerminal(view.status) &&
        json::getInt(head, "events") == static_cast<std::int64_t>(events.size()))
        return stillRunning(id->str(), statusName(view.status));
    runner::Recording recording{
        *id, *agent_id, manifest,
        [&](std::uint64_t after) -> Result<std::vector<Event>> {
            auto from = std::ranges::upper_bound(events, after, {}, &Event::seq);
            auto count = std::min<std::ptrdiff_t>(events.end() - from, kEventPage);
            return std::vector<Event>(from, from + count);
        },
        [&](const BodyRef& ref) -> Result<std::shared_ptr<const std::string>> {
            AEGIS_TRY(auto text, body(ref));
            return std::make_shared<const std::string>(std::move(text));
        }};
    AEGIS_TRY(auto report, runner::replay(recording));
    if (!report.divergence) {
        AEGIS_TRY(auto recorded, files.value("record.json"));
        AEGIS_TRY(auto derived, recordOf(*id, view, body));
        if (auto d = difference(recorded, json::Value(std::move(derived)), ""))
            report.divergence = {0, 0, "record.json " + d->pointer, d->one, d->other};
    }
    return json::Value(replayRecord(*id, report));
}

}  // namespace aegis::service
