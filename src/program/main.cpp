#include "cli/app.h"
#include "client/http_service.h"
#include "os/clock.h"
#include "program/node_main.h"

int main(int argc, char** argv) {
    using namespace aegis;
    auto& clock = os::systemClock();
    auto connect = [&clock](const cli::GlobalFlags& flags)
        -> Result<std::unique_ptr<service::Service>> {
        AEGIS_TRY(auto made,
                  client::HttpService::create({flags.daemon_addr, Secret(flags.token)}, clock));
        return std::unique_ptr<service::Service>(std::move(made));
    };
    cli::NodeCommands node;
    node.start = program::startDaemon;
    node.stop = program::stopDaemon;
    node.reload = program::reloadDaemon;
    node.build_image = program::buildImage;
    node.list_images = program::listImages;
    node.validate_config = program::validateConfig;
    node.dump_config = program::dumpConfig;
    node.doctor = program::runDoctor;
    return cli::runApp(argc, argv, clock, connect, node);
}
