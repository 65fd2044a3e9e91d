#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/assert.h"
#include "text/template.h"

// Any text is a template or an error with a position; any template renders within its limits.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    std::string_view text(reinterpret_cast<const char*>(data), size);
    auto parsed = aegis::text::Template::parse(text);
    if (!parsed) {
        const auto& error = parsed.error();
        AEGIS_ASSERT(size > aegis::text::Template::kMaxTextBytes ||
                     (error.details.size() == 1 && error.details[0].line > 0 &&
                      error.details[0].column > 0));
        return 0;
    }
    static const auto context =
        aegis::json::parse(R"({"a":[1,{"b":"c"},[]],"x":"{{a}}","o":{"k":null,"n":1.5},"t":true})");
    auto out = parsed->render(context->as_object(), {1 << 16, 10'000});
    AEGIS_ASSERT(!out || out->size() <= 1 << 16);
    parsed->mentions("a");
    return 0;
}
