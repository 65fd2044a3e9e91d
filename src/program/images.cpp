// aegis image: base images, built here, unpacked, and imported into the container engine.

#include <fmt/format.h>
#include <unistd.h>

#include <array>

#include "cli/table.h"
#include "daemon/daemon.h"
#include "image/base_image.h"
#include "image/root_store.h"
#include "node/node_facts.h"
#include "os/clock.h"
#include "program/node_main.h"
#include "program/ordinary_user.h"
#include "sandbox/docker/engine.h"

namespace aegis::program {
namespace {

constexpr std::int64_t kBuildMs = 30 * 60'000;
constexpr std::int64_t kLookMs = 5000;

/// Puts a built image where each isolation looks for it: unpacked below the data directory, and in
/// the container engine if there is one.
class NodeSink : public image::ImageSink {
  public:
    NodeSink(image::RootStore& store, sandbox::Engine* engine) : store_(store), engine_(engine) {}

    Status importTar(std::string_view reference, int tar_fd,
                     const std::vector<std::string>& changes, Deadline deadline) override {
        // Only now: what makes the image is to run as the user that it was started by.
        AEGIS_CHECK(takeImageIds());
        AEGIS_CHECK(store_.importTar(reference, tar_fd, changes, deadline));
        if (engine_ == nullptr) return {};
        if (::lseek(tar_fd, 0, SEEK_SET) != 0) return errnoError(errno, "the archive");
        auto next = [tar_fd]() -> Result<std::string> {
            std::string piece(1U << 18U, '\0');
            auto n = ::read(tar_fd, piece.data(), piece.size());
            if (n < 0) return errnoError(errno, "reading the archive");
            piece.resize(static_cast<std::size_t>(n));
            return piece;
        };
        AEGIS_TRY([[maybe_unused]] auto id,
                  engine_->importImage(next, std::string(reference), changes, deadline));
        return {};
    }

  private:
    image::RootStore& store_;
    sandbox::Engine* engine_;
};

/// The images of this node: the store, and the engine where one answers.
struct NodeImages {
    std::unique_ptr<image::RootStore> store;
    std::unique_ptr<sandbox::Engine> engine;  ///< null: none
};

Result<NodeImages> openImages(cli::Context& context) {
    AEGIS_TRY(auto config, loadConfig(context.flags, false));
    AEGIS_TRY(auto data_dir, dataDirOf(config));
    AEGIS_TRY(auto endpoint, sandbox::parseDockerHost(config.runtime.docker_host));
    NodeImages out{std::make_unique<image::RootStore>(node::imageDir(data_dir)),
                   std::make_unique<sandbox::Engine>(std::move(endpoint))};
    const auto soon = Deadline::in(context.clock().boot(), kLookMs);
    if (!out.engine->version(soon)) out.engine.reset();
    return out;
}

}  // namespace

int buildImage(cli::Context& context, const std::string& language, const std::string& version) {
    auto installation = daemon::findInstallation();
    if (!installation) return context.fail(installation.error());
    auto images = openImages(context);
    if (!images) return context.fail(images.error());
    NodeSink sink(*images->store, images->engine.get());
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
    auto images = openImages(context);
    if (!images) return context.fail(images.error());
    json::Array items;
    cli::Table table({"IMAGE", "LANGUAGE", "VERSION", "STATUS"});
    for (const auto& recipe : *recipes) {
        auto soon = Deadline::in(context.clock().boot(), kLookMs);
        const bool unpacked = images->store->resolve(recipe.reference()).has_value();
        bool built = unpacked;
        if (images->engine) {
            auto info = images->engine->inspectImage(recipe.reference(), soon);
            if (!info && info.error().code != ErrorCode::kNotFound)
                return context.fail(info.error());
            built = built || info;
        }
        const std::string status = built ? "built" : "not built";
        table.row({recipe.reference(), recipe.language, recipe.version, status});
        items.push_back(json::Object{{"image", recipe.reference()},
                                     {"language", recipe.language},
                                     {"version", recipe.version},
                                     {"status", status},
                                     {"unpacked", unpacked}});
    }
    if (context.format() == cli::OutputFormat::kTable)
        context.print(table.str(context.width(), context.color()));
    else
        context.printValue(items);
    return 0;
}

}  // namespace aegis::program
