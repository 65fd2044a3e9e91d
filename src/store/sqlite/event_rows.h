#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>

#include "base/ids.h"
#include "execution/event.h"
#include "store/sqlite/sqlite.h"

namespace aegis::store {

/// An event as its row: the envelope, the data's JSON and the sums over both.
struct EventRow {
    std::uint64_t seq = 0;
    std::string type;
    int version = 0;
    UtcTime time;
    int iteration = 0;
    int candidate = 0;
    int sandbox = 0;
    std::string bytes;

    /// What is summed: one line with the envelope, then `bytes`. A change of any column shows.
    std::string summed() const;
    /// The event without its data.
    execution::Event head() const;
};

EventRow encodeEvent(const execution::Event& event);

/// The columns that readEventRow() expects, in its order.
#define AEGIS_EVENT_COLUMNS \
    "seq, type, version, time_ms, iteration, candidate, sandbox, bytes, crc32c, chain"

/// The row under `q` from column `first` on. kInternal when its CRC is wrong; `what` names it then.
Result<EventRow> readEventRow(const Query& q, int first, std::string_view what);

/// The first link of an execution's chain, and the link that follows `previous`: SHA-256, 32 raw
/// bytes.
std::string firstChain(const ExecutionId& id);
std::string nextChain(std::string_view previous, std::string_view summed);

/// The event's data; an unknown type or version is kUnsupported, damage kInternal.
Result<execution::EventData> decodeEvent(const EventRow& row, std::string_view what);

/// "execution <id> event <seq>", for errors.
std::string eventName(const ExecutionId& id, std::uint64_t seq);

/// String maps (labels) as columns.
std::string encodeMap(const std::map<std::string, std::string>& map);
std::map<std::string, std::string> decodeMap(std::string_view text);

}  // namespace aegis::store
