#include <unistd.h>

#include <cstdlib>
#include <string_view>

#include "agent/manifest_schema.h"
#include "cli/app.h"
#include "client/http_service.h"
#include "config/config_schema.h"
#include "launcher/launcher.h"
#include "net/tls/tunnel.h"
#include "os/clock.h"
#include "os/files.h"
#include "program/node_main.h"
#include "service/local/archive.h"

namespace {

using namespace aegis;

/// For https addresses: OpenSSL is loaded here, and only then.
Result<net::HttpConnection::Connector> secureConnector() {
    const char* ca_file = std::getenv("AEGIS_CA_FILE");
    AEGIS_TRY(auto made, net::tls::Tunnel::create(ca_file == nullptr ? "" : ca_file));
    // shared_ptr: a std::function must be copyable; every connection through it keeps it.
    std::shared_ptr<net::tls::Tunnel> tunnel = std::move(made);
    return net::HttpConnection::Connector(
        [tunnel](const net::Endpoint& endpoint, Deadline deadline, int cancel_fd) {
            return tunnel->connect(endpoint, deadline, cancel_fd);
        });
}

}  // namespace

int main(int argc, char** argv) {
    // The daemon's helper, which it starts with a socket; not a command for people.
    if (argc == 2 && std::string_view(argv[1]) == "launcher")
        return launcher::serve(launcher::kSocket);
    auto& clock = os::systemClock();
    auto connect =
        [&clock](const cli::GlobalFlags& flags) -> Result<std::unique_ptr<service::Service>> {
        client::ClientOptions options{flags.daemon_addr, Secret(flags.token), secureConnector, {}};
        if (flags.debug)
            options.trace = [](const std::string& line) {
                (void)os::writeAll(STDERR_FILENO, "debug: " + line + "\n");
            };
        AEGIS_TRY(auto made, client::HttpService::create(std::move(options), clock));
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
    node.replay_archive = [](const std::string& bytes) { return service::replayArchive(bytes); };
    node.doctor = [connect](cli::Context& context) {
        return program::runDoctor(context, connect);
    };
    node.schema = [](const std::string& name) -> Result<json::Value> {
        return name == "agent" ? agent::manifestSchema() : config::configSchema();
    };
    return cli::runApp(argc, argv, clock, connect, node);
}
