#include "store/sqlite/event_rows.h"

#include <fmt/format.h>

#include "execution/event_text.h"
#include "store/sqlite/crc32c.h"
#include "text/digest.h"

namespace aegis::store {

std::string EventRow::summed() const {
    return fmt::format("{} {} {} {} {} {} {}\n{}", seq, type, version, time.ms, iteration,
                       candidate, sandbox, bytes);
}

execution::Event EventRow::head() const { return {seq, time, iteration, candidate, sandbox, {}}; }

EventRow encodeEvent(const execution::Event& event) {
    return {event.seq,
            std::string(execution::typeName(event)),
            execution::encodingVersion(event),
            event.time,
            event.iteration,
            event.candidate,
            event.sandbox,
            execution::encodeText(event)};
}

Result<EventRow> readEventRow(const Query& q, int first, std::string_view what) {
    EventRow row;
    row.seq = static_cast<std::uint64_t>(q.integer(first));
    row.type = q.text(first + 1);
    row.version = static_cast<int>(q.integer(first + 2));
    row.time.ms = q.integer(first + 3);
    row.iteration = static_cast<int>(q.integer(first + 4));
    row.candidate = static_cast<int>(q.integer(first + 5));
    row.sandbox = static_cast<int>(q.integer(first + 6));
    row.bytes = q.text(first + 7);
    if (crc32c(row.summed()) != static_cast<std::uint64_t>(q.integer(first + 8)))
        return {ErrorCode::kInternal, fmt::format("{} is damaged (its checksum is wrong)", what)};
    return row;
}

std::string firstChain(const ExecutionId& id) { return text::sha256(id.str()); }

std::string nextChain(std::string_view previous, std::string_view summed) {
    std::string both(previous);
    both += summed;
    return text::sha256(both);
}

Result<execution::EventData> decodeEvent(const EventRow& row, std::string_view what) {
    auto value = json::parse(row.bytes);
    if (!value) return {ErrorCode::kInternal, fmt::format("{} is damaged (no JSON)", what)};
    auto data = execution::decodeData(row.type, row.version, *value);
    if (!data) {
        if (data.error().code != ErrorCode::kUnsupported) data.error().code = ErrorCode::kInternal;
        return Error(std::move(data.error()).within(what));
    }
    return data;
}

std::string eventName(const ExecutionId& id, std::uint64_t seq) {
    return fmt::format("execution {} event {}", id.str(), seq);
}

std::string encodeMap(const std::map<std::string, std::string>& map) {
    std::string out = "{";
    for (const auto& [key, value] : map)
        out +=
            fmt::format("{}{}:{}", out.size() > 1 ? "," : "", json::quote(key), json::quote(value));
    return out + "}";
}

std::map<std::string, std::string> decodeMap(std::string_view text) {
    std::map<std::string, std::string> out;
    auto value = json::parse(text);
    if (!value || !value->is_object()) return out;
    for (const auto& [key, member] : value->get_object()) {
        if (member.is_string())
            out.emplace(std::string(key.data(), key.size()), json::view(member.get_string()));
    }
    return out;
}

}  // namespace aegis::store
