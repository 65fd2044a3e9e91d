#include <cstddef>
#include <cstdint>
#include <cstdlib>

#include "proto/chat.h"

// What parses is in the one form: whatever a client wrote there, it can be written out and read
// again, and an answer that repeats its texts is well formed in both formats.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    using namespace aegis;
    const std::string_view bytes(reinterpret_cast<const char*>(data), size);
    for (auto format : {proto::chat::Format::kOpenAi, proto::chat::Format::kAnthropic}) {
        auto request = proto::chat::parseRequest(format, bytes);
        if (!request) {
            if (!json::parse(proto::chat::errorBody(format, request.error()))) std::abort();
            continue;
        }
        auto text = json::dump(request->prompt);
        auto again = json::parse(text);
        if (!again || json::dump(*again) != text) std::abort();
        const auto& last = request->prompt["messages"].as_array().back();
        proto::chat::AnswerHead head{"id", request->model, 1};
        if (!json::parse(proto::chat::document(format, head, last))) std::abort();
        proto::chat::AnswerStream stream(format, head, request->include_usage);
        if (stream.finish(last).empty()) std::abort();
    }
    return 0;
}
