#include <cstdint>
#include <string>
#include <string_view>

#include "api/api_routes.h"
#include "base/assert.h"

using namespace aegis;

/// A request's target against every route: at most one operation takes it, nothing that a handler
/// gets is outside what the table says, and every error can be sent as JSON.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    auto target = wire::parseTarget(std::string_view(reinterpret_cast<const char*>(data), size));
    if (!target) return 0;
    std::vector<std::string> captured;
    for (const auto* operation : api::ApiRoutes::operations()) {
        if (!api::matches(operation->path, target->path, captured)) continue;
        for (const auto& text : captured) AEGIS_ASSERT(!text.empty());
        auto checked = api::checkQuery(*operation, target->query);
        if (checked) {
            for (const auto& [name, value] : target->query) {
                bool known = false;
                for (const auto& p : operation->query) known = known || p.name == name;
                AEGIS_ASSERT(known);
            }
            continue;
        }
        AEGIS_ASSERT(checked.error().code == ErrorCode::kInvalid);
        for (const auto& detail : checked.error().details)
            AEGIS_ASSERT(json::isUtf8(detail.path) && json::isUtf8(detail.message));
    }
    return 0;
}
