// An execution as one archive.

#include <fmt/format.h>

#include <map>

#include "execution/bodies.h"
#include "execution/event_text.h"
#include "service/local/archive.h"
#include "service/local/local_service.h"
#include "wire/tar.h"

namespace aegis::service {

using namespace execution;
using aegis::Status;  // not the execution's

namespace {

constexpr std::size_t kEventPage = 500;
constexpr std::size_t kFlushBytes = 256 << 10;

Error nobody() { return {ErrorCode::kCancelled, "nobody takes it any more"}; }

/// Files into a compressed archive, as they come.
class Archive {
  public:
    Archive(std::string folder, UtcTime time, const DownloadSink& sink)
        : folder_(std::move(folder)), time_(time), sink_(sink) {}

    Status file(std::string_view name, std::string_view content) {
        AEGIS_CHECK(open(name, content.size()));
        AEGIS_CHECK(add(content));
        return close();
    }
    /// A file of `size` bytes that come by add(), then close().
    Status open(std::string_view name, std::uint64_t size) {
        AEGIS_TRY(auto header,
                  wire::tarHeader(fmt::format("{}/{}", folder_, name), size, time_.ms / 1000));
        size_ = size;
        return add(header);
    }
    Status close() { return add(wire::tarPadding(size_)); }
    Status add(std::string_view bytes) {
        gzip_.add(bytes, out_);
        return out_.size() < kFlushBytes ? Status{} : flush();
    }
    Status finish() {
        AEGIS_CHECK(add(wire::tarEnd()));
        gzip_.finish(out_);
        return flush();
    }

  private:
    Status flush() {
        if (!out_.empty() && !sink_.piece(out_)) return nobody();
        out_.clear();
        return {};
    }

    const std::string folder_;
    const UtcTime time_;
    const DownloadSink& sink_;
    wire::GzipWriter gzip_;
    std::string out_;
    std::uint64_t size_ = 0;
};

/// Calls `each` with every event up to `last`.
template <class F>
Status forEachEvent(ports::Journal& journal, const ExecutionId& id, std::uint64_t last, F&& each) {
    std::uint64_t after = 0;
    while (after < last) {
        AEGIS_TRY(auto page, journal.events(id, after, kEventPage));
        if (page.empty()) return {ErrorCode::kIo, "the log ends too early"};
        for (const auto& event : page) {
            after = event.seq;
            if (event.seq <= last) AEGIS_CHECK(each(event));
        }
    }
    return {};
}

std::string pretty(const json::Value& value) { return json::dumpPretty(value) + "\n"; }

}  // namespace

Status LocalService::exportExecution(const Principal&, const std::string& execution,
                                     const DownloadSink& sink) {
    AEGIS_TRY(auto row, resolveExecution(execution));
    AEGIS_TRY(auto agent, p_.registry.revision(row.agent_id, row.agent_revision));
    AEGIS_TRY(auto manifest, json::parse(agent.manifest_json));
    // One state of it, whatever is written meanwhile: the events up to this one.
    auto last = row.last_seq;
    RecordView view;
    std::uint64_t log_bytes = 0;
    std::map<std::string, BodyRef> bodies_used;
    auto line = [&](const Event& event) {
        return toText(event, row.id, row.agent_id) + "\n";
    };
    AEGIS_CHECK(forEachEvent(p_.journal, row.id, last, [&](const Event& event) -> Status {
        addToRecord(view, event);
        log_bytes += line(event).size();
        for (auto& ref : bodiesOf(event))
            bodies_used[ref.sha256] = ref;
        return {};
    }));
    AEGIS_TRY(auto record, recordOf(row.id, view, bodies(row.id)));
    AEGIS_TRY(auto logs, service::executionLogs(view, 0, bodies(row.id)));
    auto id = row.id.str();
    if (!sink.begin({id + ".tar.gz", std::nullopt})) return nobody();
    Archive archive(id, row.created_at, sink);
    json::Object head{{"format", kArchiveFormat},
                      {"version", kArchiveVersion},
                      {"event_version", encodingVersion({})},
                      {"execution_id", id},
                      {"agent_id", row.agent_id.str()},
                      {"agent_revision", row.agent_revision},
                      {"events", last}};
    AEGIS_CHECK(archive.file("export.json", pretty(head)));
    AEGIS_CHECK(archive.file("record.json", pretty(record)));
    AEGIS_CHECK(archive.file("manifest.yaml", agent.manifest_yaml));
    AEGIS_CHECK(archive.file("manifest.json", pretty(manifest)));
    AEGIS_CHECK(archive.file("logs.json", pretty(logs)));
    AEGIS_CHECK(archive.open("events.ndjson", log_bytes));
    AEGIS_CHECK(forEachEvent(p_.journal, row.id, last,
                             [&](const Event& event) { return archive.add(line(event)); }));
    AEGIS_CHECK(archive.close());
    for (const auto& [digest, ref] : bodies_used) {
        AEGIS_TRY(auto text, p_.journal.body(row.id, ref));
        AEGIS_CHECK(archive.file("bodies/" + digest, text));
    }
    return archive.finish();
}

}  // namespace aegis::service
