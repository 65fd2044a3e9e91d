#include "sandbox/docker/engine_images.h"

#include <mutex>
#include <utility>

#include "os/clock.h"
#include "sandbox/docker/engine.h"
#include "sandbox/docker/images.h"

namespace aegis::sandbox {
namespace {

constexpr std::int64_t kLookMs = 2'000;
constexpr std::int64_t kSaveMs = 10 * 60'000;

Deadline inMs(std::int64_t ms) { return Deadline::in(os::systemClock().boot(), ms); }

class EngineImages final : public ports::ImageOrigin {
  public:
    explicit EngineImages(net::Endpoint endpoint)
        : engine_(std::move(endpoint)), images_(engine_) {}
    ~EngineImages() override { engine_.stop(); }

    Result<std::string> identity(const std::string& image) override {
        std::call_once(watched_, [this] { images_.watch(); });
        AEGIS_TRY(const auto info, images_.resolve(image, "Never", inMs(kLookMs)));
        return info.id;
    }
    Status save(const std::string& identity, int fd, std::uint64_t limit) override {
        return engine_.saveImage(identity, fd, limit, inMs(kSaveMs));
    }
    void stop() override { engine_.stop(); }

  private:
    Engine engine_;
    Images images_;
    std::once_flag watched_;
};

}  // namespace

Result<std::unique_ptr<ports::ImageOrigin>> engineImages(const std::string& docker_host) {
    AEGIS_TRY(auto endpoint, parseDockerHost(docker_host));
    return std::unique_ptr<ports::ImageOrigin>(std::make_unique<EngineImages>(std::move(endpoint)));
}

}  // namespace aegis::sandbox
