#include "volume/ready.h"

#include <fmt/format.h>
#include <unistd.h>

#include "base/log.h"
#include "os/files.h"
#include "os/sparse_copy.h"
#include "volume/attachment.h"

namespace aegis::volume {
namespace {

constexpr os::StockLimits kLimits{.each = 4, .kinds = 4, .idle_ms = 600'000};

void discard(const ReadyVolumes::Ready& ready) { ::unlink(ready.image.c_str()); }

}  // namespace

ReadyVolumes::ReadyVolumes(const Layout& layout)
    : layout_(layout),
      stock_(kLimits,
             {[this](const std::string& path) { return make(path); },
              [](const Ready& ready) { discard(ready); }, [](const Ready&) { return true; }}) {
    if (auto cleared = os::removeTree(layout.ready()); !cleared)
        log(LogLevel::kWarn, "unused volumes of an earlier run cannot be removed",
            {{"error", cleared.error().message}});
}

std::optional<ReadyVolumes::Ready> ReadyVolumes::take(const std::string& template_path) {
    auto taken = stock_.take(template_path);
    stock_.restock(template_path);
    return taken;
}

Result<ReadyVolumes::Ready> ReadyVolumes::make(const std::string& template_path) {
    Ready ready;
    ready.image = fmt::format("{}/{}.img", layout_.ready(), next_++);
    auto made = [&]() -> Status {
        AEGIS_CHECK(os::makeDirs(layout_.ready()));
        AEGIS_CHECK(os::copySparse(template_path, ready.image, 0600));
        AEGIS_TRY(ready.mount, openImage(ready.image, true));
        return {};
    }();
    if (made) return ready;
    discard(ready);
    log(LogLevel::kWarn, "no volume can be made ahead", {{"error", made.error().message}});
    return std::move(made.error());
}

}  // namespace aegis::volume
