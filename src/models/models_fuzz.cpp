#include <cstdint>
#include <cstdlib>

#include "models/anthropic.h"
#include "models/openai.h"

// Any bytes as an answer, whole and in pieces: never a crash, and the pieces make no difference.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    using namespace aegis;
    if (size < 2) return 0;
    models::ProviderSettings settings;
    settings.max_response_bytes = 4096;
    models::OpenAiDialect openai(settings);
    models::AnthropicDialect anthropic(settings);
    const models::Dialect& dialect =
        (data[0] & 1) != 0 ? static_cast<const models::Dialect&>(openai) : anthropic;
    std::string_view body(reinterpret_cast<const char*>(data + 2), size - 2);
    auto read = [&](std::size_t piece) {
        std::string deltas;
        auto delta = [&](std::string_view text) { deltas += text; };
        auto reader = dialect.reader({});
        for (std::string_view rest = body; !rest.empty();) {
            std::size_t n = std::min(piece, rest.size());
            if (!reader->feed(rest.substr(0, n), delta)) break;
            rest.remove_prefix(n);
        }
        auto answer = reader->finish(delta);
        if (answer && answer->content != deltas) std::abort();
        if (answer && (answer->content.size() > 4096 || answer->tool_calls.size() > 1024))
            std::abort();
        return answer ? "ok " + answer->content : "error";
    };
    if (read(body.size() + 1) != read(1U + data[1])) std::abort();
    models::providerMessage(body);
    return 0;
}
