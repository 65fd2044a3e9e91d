// aegis image: base images, built here and imported into the container engine.

#include <fmt/format.h>
#include <unistd.h>

#include <array>

#include "cli/table.h"
#include "daemon/daemon.h"
#include "image/base_image.h"
#include "os/clock.h"
#include "program/node_main.h"
#include "sandbox/docker/engine.h"

namespace aegis::program {
namespace {

constexpr std::int64_t kBuildMs = 30 * 60'000;
constexpr std::int64_t kLookMs = 5000;

class EngineSink : public image::ImageSink {
  public:
    explicit EngineSink(sandbox::Engine& engine) : engine_(engine) {}

    Status importTar(std::string_view reference, int tar_fd,
                     const std::vector<std::string>& changes, Deadline deadline) override {
        auto next = [tar_fd]() -> Result<std::string> {
            std::string piece(1U << 18U, '\0');
            auto n = ::read(tar_fd, piece.data(), piece.size());
            if (n < 0) return errnoError(errno, "reading the archive");
            piece.resize(static_cast<std::size_t>(n));
            return piece;
        };
        AEGIS_TRY([[maybe_unused]] auto id,
                  engine_.importImage(next, std::string(reference), changes, deadline));
        return {};
    }

  private:
    sandbox::Engine& engine_;
};

Result<std::unique_ptr<sandbox::Engine>> connect(const cli::GlobalFlags& flags) {
    AEGIS_TRY(auto config, loadConfig(flags, false));
    AEGIS_TRY(auto endpoint, sandbox::parseDockerHost(config.runtime.docker_host));
    return std::make_unique<sandbox::Engine>(std::move(endpoint));
}

}  // namespace

int buildImage(cli::Context& context, const std::string& language, const std::string& version) {
    auto installation = daemon::findInstallation();
    if (!installation) return context.fail(installation.error());
    auto engine = connect(context.flags);
    if (!engine) return context.fail(engine.error());
    auto soon = Deadline::in(context.clock().boot(), kLookMs);
    if (auto there = (*engine)->version(soon); !there) return context.fail(there.error());
    EngineSink sink(**engine);
    image::BuildOptions options;
    options.recipe_dir = installation->images_dir;
    options.deadline = Deadline::in(context.clock().boot(), kBuildMs);
    options.progress = [](std::string_view text) {
        [[maybe_unused]] auto n = ::write(STDERR_FILENO, text.data(), text.size());
    };
    auto built = image::buildBaseImage(language, version, options, sink);
    if (!built) return context.fail(built.error());
    if (context.format() != cli::OutputFormat::kTable)
        context.printValue(json::Object{{"image", *built}});
    else
        context.print(fmt::format("Built image {}\n", *built));
    return 0;
}

int listImages(cli::Context& context) {
    auto installation = daemon::findInstallation();
    if (!installation) return context.fail(installation.error());
    auto recipes = image::listBaseImages(installation->images_dir);
    if (!recipes) return context.fail(recipes.error());
    auto engine = connect(context.flags);
    if (!engine) return context.fail(engine.error());
    json::Array items;
    cli::Table table({"IMAGE", "LANGUAGE", "VERSION", "STATUS"});
    for (const auto& recipe : *recipes) {
        auto soon = Deadline::in(context.clock().boot(), kLookMs);
        auto info = (*engine)->inspectImage(recipe.reference(), soon);
        if (!info && info.error().code != ErrorCode::kNotFound) return context.fail(info.error());
        std::string status = info ? "built" : "not built";
        table.row({recipe.reference(), recipe.language, recipe.version, status});
        items.push_back(json::Object{{"image", recipe.reference()},
                                     {"language", recipe.language},
                                     {"version", recipe.version},
                                     {"status", status}});
    }
    if (context.format() == cli::OutputFormat::kTable)
        context.print(table.str(context.width(), context.color()));
    else
        context.printValue(items);
    return 0;
}

}  // namespace aegis::program
