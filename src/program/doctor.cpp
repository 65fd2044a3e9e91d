// aegis doctor: is this machine fit to run agents, and what to do where it is not.

#include <fmt/format.h>
#include <unistd.h>

#include <cstdlib>

#include "daemon/daemon.h"
#include "doctor/doctor.h"
#include "doctor/system_machine.h"
#include "image/base_image.h"
#include "image/root_store.h"
#include "node/node_facts.h"
#include "os/clock.h"
#include "os/files.h"
#include "program/node_main.h"
#include "program/ordinary_user.h"
#include "sandbox/docker/engine.h"

namespace aegis::program {
namespace {

constexpr std::int64_t kWithinMs = 4500;

/// The manual's configuration, or the defaults and why it cannot be used.
doctor::Subject subjectOf(const cli::GlobalFlags& flags) {
    doctor::Subject subject;
    subject.version = AEGIS_VERSION;
    subject.config_path = flags.config.empty() ? "aegis-config.yaml" : flags.config;
    subject.config_found = ::access(subject.config_path.c_str(), F_OK) == 0;
    subject.daemon_addr = flags.daemon_addr;
    auto parsed = parseConfigFile(flags);
    auto refuse = [&subject](const Error& error) {
        if (!subject.config_error) subject.config_error = error;
    };
    if (parsed) {
        subject.config = std::move(parsed->config);
        subject.config_warnings = std::move(parsed->warnings);
        if (auto fit = config::checkServable(subject.config); !fit) refuse(fit.error());
    } else {
        refuse(parsed.error());
    }
    if (auto dir = dataDirOf(subject.config))
        subject.data_dir = *dir;
    else
        refuse(dir.error());
    const auto facts =
        node::nodeFacts(subject.config, {}, node::embeddedReady(subject.config, subject.data_dir));
    for (const auto& [language, versions] : subject.config.runtime.images)
        for (const auto& [version, reference] : versions)
            if (image::RootStore(node::imageDir(subject.data_dir)).resolve(reference))
                subject.unpacked.push_back(reference);
    subject.process_needed = facts.default_isolation == agent::Isolation::kProcess;
    // An ordinary user's daemon has the one or the other.
    if (::geteuid() != 0)
        subject.process_needed = subject.process_needed || mayHaveSandboxes(subject.config);
    subject.docker_needed = !subject.process_needed;
    auto installation = daemon::findInstallation();
    if (!installation) {
        refuse(installation.error());
    } else if (auto recipes = image::listBaseImages(installation->images_dir)) {
        for (const auto& recipe : *recipes)
            subject.recipes.push_back(recipe.reference());
    }
    return subject;
}

doctor::Peers peersOf(const config::Config& config, const cli::GlobalFlags& flags,
                      const cli::Context::ServiceFactory& connect) {
    doctor::Peers peers;
    auto host = config.runtime.docker_host;
    peers.engine = [host](Deadline deadline) -> Result<std::string> {
        AEGIS_TRY(auto endpoint, sandbox::parseDockerHost(host));
        sandbox::Engine engine(std::move(endpoint));
        AEGIS_TRY(auto version, engine.version(deadline));
        return fmt::format("version {} (API {}) at {}", version.engine, version.api, host);
    };
    peers.image = [host](const std::string& reference, Deadline deadline) -> Status {
        AEGIS_TRY(auto endpoint, sandbox::parseDockerHost(host));
        sandbox::Engine engine(std::move(endpoint));
        auto info = engine.inspectImage(reference, deadline);
        return info ? Status{} : Status{std::move(info.error())};
    };
    peers.daemon = [connect, flags = cli::GlobalFlags(flags)](
                       const std::string& address) mutable -> Result<json::Value> {
        flags.daemon_addr = address;
        AEGIS_TRY(auto service, connect(flags));
        return service->nodeStatus({});
    };
    return peers;
}

}  // namespace

int runDoctor(cli::Context& context, const cli::Context::ServiceFactory& connect) {
    auto subject = subjectOf(context.flags);
    auto flags = context.flags;
    if (flags.token.empty()) flags.token = subject.config.server.token.reveal();
    // Shared: see doctor::examine.
    std::shared_ptr<doctor::Machine> machine =
        doctor::systemMachine(peersOf(subject.config, flags, connect));
    auto report = doctor::examine(machine, std::move(subject), kWithinMs);
    if (context.format() == cli::OutputFormat::kTable)
        context.print(report.text(context.color()));
    else
        context.printValue(report.toJson());
    // What was given up may still hang somewhere; an ordinary end would pull the ground from under
    // it.
    std::_Exit(report.exitCode());
}

}  // namespace aegis::program
