#include "daemon/daemon.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <thread>

#include "agent/manifest.h"
#include "api/answer.h"
#include "api/api_routes.h"
#include "base/log.h"
#include "daemon/health.h"
#include "egress/fetcher.h"
#include "egress/proxy.h"
#include "guest_api/guest_routes.h"
#include "image/root_store.h"
#include "models/from_config.h"
#include "net/curl/curl_multi.h"
#include "net/tls/terminator.h"
#include "node/node_facts.h"
#include "os/clock.h"
#include "os/files.h"
#include "sandbox/docker/docker_runtime.h"
#include "sandbox/docker/engine_images.h"
#include "sandbox/process/process_runtime.h"
#include "store/sqlite/store.h"
#include "telemetry/journal_log.h"
#include "telemetry/node_metrics.h"
#include "tools/tool_table.h"
#include "volume/manager.h"

#ifndef AEGIS_VERSION
#define AEGIS_VERSION "0.1.0"
#endif

namespace aegis::daemon {
namespace {

constexpr std::int64_t kStopMs = 15'000;
constexpr std::int64_t kSweepMs = 5000;
constexpr std::size_t kMaxConnections = 1024;
constexpr std::size_t kReservedConnections = 16;

Status checkOffered(const config::Config& config) {
    if (!config.storage.database_url.empty())
        return {ErrorCode::kUnsupported, "storage.database_url is not available in this build",
                "leave it out to use SQLite in data_dir"};
    return config::checkServable(config);
}

void warnOfUnused(const config::Config& config) {
    for (const auto& server : config.tools.mcp_servers)
        log(LogLevel::kWarn, "MCP servers are not available on this node",
            {{"server", server.name}});
    if (!config.observability.otlp_endpoint.empty())
        log(LogLevel::kWarn, "observability.otlp_endpoint is not available on this node");
    for (const auto& provider : config.llm.providers)
        if (provider.lacksKey())
            log(LogLevel::kWarn, "a provider has no API key", {{"provider", provider.name}});
}

}  // namespace

/// In the order in which they are made; destroyed in the other.
struct Daemon::Parts {
    DaemonOptions options;
    UtcTime started_at;
    NodeId node;
    agent::NodeFacts facts;
    std::unique_ptr<store::Store> store;
    std::unique_ptr<volume::VolumeManager> volumes;
    std::unique_ptr<net::CurlMulti> curl;
    std::unique_ptr<models::Router> models;
    /// Shared by the servers, which come and go.
    std::shared_ptr<net::Acceptor> acceptor;
    std::unique_ptr<guest_api::GuestRoutes> guests;
    std::unique_ptr<egress::Proxy> proxy;
    std::unique_ptr<image::RootStore> images;
    std::unique_ptr<sandbox::DockerRuntime> docker;
    std::unique_ptr<sandbox::ProcessRuntime> process;
    std::unique_ptr<egress::Fetcher> web;
    std::unique_ptr<tools::ToolTable> tools;
    std::unique_ptr<runner::Runner> runner;
    service::EventHub hub;
    std::unique_ptr<service::NodeFeed> feed;
    std::unique_ptr<service::LocalService> service;
    std::unique_ptr<net::StreamHub> streams;
    std::unique_ptr<api::ApiRoutes> api;
    std::unique_ptr<net::Server> server;
    std::unique_ptr<net::Server> unix_server;
    std::unique_ptr<net::tls::Terminator> tls;

    std::unique_ptr<telemetry::NodeMetrics> metrics;
    std::unique_ptr<Health> health;
    int reloads = 0;

    std::mutex mutex;
    std::condition_variable wake;
    bool stopping = false;
    std::thread janitor;

    Status makeAdapters();
    void makeCore();
    Status listen();
    void keepHouse();
    agent::NodeFacts currentFacts();
    json::Object status() const;
    telemetry::NodeState stateNow();
};

Status Daemon::Parts::makeAdapters() {
    auto& clock = os::systemClock();
    auto& random = os::systemRandom();
    const auto& config = options.config;
    AEGIS_TRY(store, store::Store::open({options.data_dir, clock, random}));
    AEGIS_TRY(node, node::nodeId(options.data_dir));
    sandbox::DockerOptions docker_options;
    docker_options.node = node;
    docker_options.docker_host = config.runtime.docker_host;
    docker_options.guest_dir = options.installation.guest_dir;
    sandbox::WarmPool warm{static_cast<std::size_t>(config.runtime.warm_pool_size),
                           config.runtime.warm_pool_max_idle_ms,
                           static_cast<std::size_t>(config.runtime.warm_pool_max_size)};
    docker_options.warm_size = warm.size;
    docker_options.warm_max_idle_ms = warm.max_idle_ms;
    docker_options.warm_max_size = warm.max_size;
    docker_options.listeners =
        [this](const std::string& path) -> Result<std::unique_ptr<ports::GuestListener>> {
        AEGIS_TRY(auto listener, guests->listen(path));
        return proxy->beside(std::move(listener), path);
    };
    AEGIS_TRY(docker, sandbox::DockerRuntime::create(docker_options, random));
    AEGIS_TRY(auto origin, sandbox::engineImages(config.runtime.docker_host));
    images = std::make_unique<image::RootStore>(node::imageDir(options.data_dir),
                                                image::UnpackOptions{}, std::move(origin));
    sandbox::ProcessOptions process_options;
    process_options.node = node;
    process_options.guest_dir = options.installation.guest_dir;
    process_options.listeners = docker_options.listeners;
    process_options.launcher_command = {"/proc/self/exe", "launcher"};
    process_options.warm = warm;
    process_options.refused = options.no_sandboxes;
    process_options.delegation_file = options.data_dir + "/delegated_cgroup";
    AEGIS_TRY(process,
              sandbox::ProcessRuntime::create(std::move(process_options), *images, random));
    if (config.runtime.isolation == "process") process->tryAhead();
    auto volume_dir = config.storage.volume_dir.empty() ? options.data_dir + "/volumes"
                                                        : config.storage.volume_dir;
    volumes = std::make_unique<volume::VolumeManager>(volume::Options{volume_dir, {}},
                                                      store->volumes(), clock, random);
    AEGIS_TRY(curl, net::CurlMulti::create());
    AEGIS_TRY(models, models::makeRouter(config.llm, *curl, clock, random));
    AEGIS_TRY(acceptor, net::Acceptor::create());
    AEGIS_TRY(web, egress::Fetcher::create(
                       {config.egress.allow_private, config.egress.max_response_bytes}));
    tools::TableOptions table{config.tools.dispatcher_enabled,
                              {config.tools.timeout_secs, config.tools.output_limit_bytes,
                               config.tools.subcommand_allowlist},
                              web.get()};
    tools = std::make_unique<tools::ToolTable>(
        table, std::vector<ports::Runtime*>{process.get(), docker.get()}, clock);
    return {};
}

void Daemon::Parts::makeCore() {
    auto& clock = os::systemClock();
    auto& random = os::systemRandom();
    bool ready = node::embeddedReady(options.config, options.data_dir) && process->available();
    facts = node::nodeFacts(options.config, tools->names(), ready);
    runner::RunnerOptions runner_options;
    runner_options.max_concurrent_executions =
        static_cast<std::size_t>(options.config.runtime.max_concurrent_executions);
    runner_options.resolve =
        [this](const agent::Manifest& manifest) -> Result<std::pair<std::string, std::string>> {
        auto now = currentFacts();
        AEGIS_TRY(auto image, agent::resolvedImage(manifest, now));
        return std::pair(std::string(agent::name(agent::resolvedIsolation(manifest, now))), image);
    };
    runner = std::make_unique<runner::Runner>(
        runner::RunnerPorts{clock,
                            random,
                            store->journal(),
                            store->registry(),
                            *models,
                            *tools,
                            *tools,
                            *volumes,
                            {{"docker", docker.get()}, {"process", process.get()}}},
        std::move(runner_options));
    guests = std::make_unique<guest_api::GuestRoutes>(*runner, clock, acceptor);
    feed = std::make_unique<service::NodeFeed>(store->journal());
    store->journal().observe([this](const ExecutionId& id, const AgentId& agent,
                                    const std::vector<execution::Event>& events) {
        metrics->onEvents(id, events);
        telemetry::logEvents(id, agent, events);
        hub.publish(id, agent, events);
        feed->poke();
    });
    health = std::make_unique<Health>(*runner, std::string(agent::name(facts.default_isolation)),
                                      options.data_dir, clock);
    service = std::make_unique<service::LocalService>(service::LocalParts{
        clock, random, store->journal(), store->registry(), *models, *volumes, *runner, hub, *feed,
        [this] { return currentFacts(); }, [this] { return status(); }});
}

agent::NodeFacts Daemon::Parts::currentFacts() {
    auto now = facts;
    for (auto& alias : models->aliases())
        now.aliases.insert(std::move(alias));
    return now;
}

Status Daemon::Parts::listen() {
    const auto& config = options.config.server;
    const auto& way_out = options.config.egress;
    AEGIS_TRY(proxy,
              egress::Proxy::create(std::make_unique<egress::SystemResolver>(), *runner, acceptor,
                                    {way_out.allow_private, way_out.max_response_bytes}));
    AEGIS_TRY(streams, net::StreamHub::create());
    api::ApiOptions api_options{config.token, config.addr.isLoopback(), AEGIS_VERSION,
                                [this] { return health->checks(); },
                                [this] { return metrics->text(stateNow()); }};
    api = std::make_unique<api::ApiRoutes>(*service, *streams, store->journal(),
                                           std::move(api_options));
    net::ServerOptions server_options;
    server_options.name = "api";
    server_options.max_connections = kMaxConnections;
    server_options.reserved_connections = kReservedConnections;
    server_options.reserved_path = api::ApiRoutes::isReserved;
    server_options.body_limit = api::ApiRoutes::bodyLimit;
    server_options.acceptor = acceptor;
    server_options.on_answered = [this](const net::Answered& answered) {
        metrics->onAnswered(answered);
        telemetry::logAnswered(answered);
    };
    auto handle = [this](const net::Request& request, net::ResponseWriter& writer) {
        api->handle(request, writer);
    };
    auto tcp_options = server_options;
    if (!config.tls_cert_file.empty()) {
        AEGIS_TRY(tls, net::tls::Terminator::create(config.tls_cert_file, config.tls_key_file));
        tcp_options.secure = [this](os::Fd accepted, std::function<void(os::Fd)> ready) {
            tls->accept(std::move(accepted), std::move(ready));
        };
    }
    AEGIS_TRY(server, net::Server::listenTcp(
                          config.addr.host.empty() ? "0.0.0.0" : config.addr.host,
                          static_cast<std::uint16_t>(config.addr.port), tcp_options, handle));
    if (!config.unix_socket.empty()) {
        AEGIS_TRY(unix_server,
                  net::Server::listenUnix(config.unix_socket, 0600, server_options, handle));
    }
    return {};
}

void Daemon::Parts::keepHouse() {
    runner->recover();
    health->setRecovered();
    if (auto page = store->registry().list({.status = ports::AgentStatus::kDeployed, .limit = 100}))
        for (const auto& record : page->records)
            if (auto image = node::embeddedImage(record.manifest_json, facts))
                process->expect(*image);
    std::unique_lock lock(mutex);
    while (!wake.wait_for(lock, std::chrono::milliseconds(kSweepMs), [this] { return stopping; })) {
        lock.unlock();
        runner->sweepVolumes();
        if (options.config.retention_ms > 0)
            runner->removeEnded({os::systemClock().utc().ms - options.config.retention_ms});
        lock.lock();
    }
}

json::Object Daemon::Parts::status() const {
    json::Object out;
    out["version"] = AEGIS_VERSION;
    out["node_id"] = node.str();
    out["pid"] = static_cast<std::int64_t>(::getpid());
    out["started_at"] = started_at.rfc3339();
    out["address"] = fmt::format("{}:{}", options.config.server.addr.host, server->port());
    out["data_dir"] = options.data_dir;
    out["isolation"] = agent::name(facts.default_isolation);
    return out;
}

telemetry::NodeState Daemon::Parts::stateNow() {
    telemetry::NodeState now{runner->running(), runner->queued(), streams->size(),
                             server->connections()};
    if (unix_server) now.connections += unix_server->connections();
    now.ready = std::ranges::all_of(
        health->checks(), [](const api::HealthCheck& check) { return check.problem.empty(); });
    return now;
}

Daemon::Daemon(std::unique_ptr<Parts> parts) : parts_(std::move(parts)) {}

Result<std::unique_ptr<Daemon>> Daemon::start(DaemonOptions options) {
    AEGIS_CHECK(checkOffered(options.config));
    setLogLevel(logLevelNamed(options.config.observability.log_level));
    auto parts = std::make_unique<Parts>();
    parts->options = std::move(options);
    parts->started_at = os::systemClock().utc();
    parts->metrics = std::make_unique<telemetry::NodeMetrics>(AEGIS_VERSION, parts->started_at);
    AEGIS_CHECK(parts->makeAdapters());
    parts->makeCore();
    AEGIS_CHECK(parts->listen());
    warnOfUnused(parts->options.config);
    log(LogLevel::kInfo, "the daemon listens",
        {{"address",
          fmt::format("{}:{}", parts->options.config.server.addr.host, parts->server->port())},
         {"data_dir", parts->options.data_dir},
         {"version", AEGIS_VERSION}});
    parts->janitor = std::thread([raw = parts.get()] { raw->keepHouse(); });
    return std::unique_ptr<Daemon>(new Daemon(std::move(parts)));
}

Daemon::~Daemon() {
    auto& p = *parts_;
    auto deadline = Deadline::in(os::systemClock().boot(), kStopMs);
    {
        std::lock_guard lock(p.mutex);
        p.stopping = true;
    }
    p.wake.notify_all();
    // Sandboxes first: requests that wait for an execution's end come back with them.
    p.runner->shutdown(deadline);
    p.images->stop();
    p.proxy->stop();
    constexpr std::int64_t kGraceMs = 500;
    for (auto* server : {p.unix_server.get(), p.server.get()})
        if (server != nullptr) server->stop(Deadline::in(os::systemClock().boot(), kGraceMs));
    // After the servers have stopped: it hands them connections.
    p.tls.reset();
    p.streams.reset();
    p.janitor.join();
    p.volumes->unmountAll(deadline);
    // Commits of what was going on may still come; those who watch them go before the store does.
    p.store->journal().unobserve();
    log(LogLevel::kInfo, "the daemon has stopped");
}

std::string Daemon::address() const {
    const auto& host = parts_->options.config.server.addr.host;
    bool local = host.empty() || host == "0.0.0.0" || host == "127.0.0.1";
    return fmt::format("{}{}:{}", parts_->tls ? "https://" : "", local ? "localhost" : host,
                       parts_->server->port());
}

Status Daemon::reload() {
    auto& p = *parts_;
    auto unused = apply();
    json::Object outcome{{"count", ++p.reloads}};
    if (unused) {
        json::Array names;
        for (const auto& name : *unused)
            names.push_back(json::Value(name));
        outcome["needs_restart"] = std::move(names);
    } else {
        outcome["error"] = api::errorBody(unused.error())["error"];
    }
    // For `aegis daemon reload`, which waits for it.
    (void)os::writeFileAtomic(p.options.data_dir + "/reload.json", json::dump(outcome) + "\n");
    if (!unused) return unused.error();
    return {};
}

/// Everything that can fail comes before anything is changed.
Result<std::vector<std::string>> Daemon::apply() {
    auto& p = *parts_;
    AEGIS_TRY(auto config, p.options.reread());
    AEGIS_CHECK(checkOffered(config));
    AEGIS_TRY(auto catalog, models::catalogFrom(config.llm));
    if (p.tls && !config.server.tls_cert_file.empty())
        AEGIS_CHECK(p.tls->reload(config.server.tls_cert_file, config.server.tls_key_file));
    auto unused = config::needsRestart(p.options.config, config);
    p.models->reload(std::move(catalog));
    p.runner->setMaxConcurrent(static_cast<std::size_t>(config.runtime.max_concurrent_executions));
    setLogLevel(logLevelNamed(config.observability.log_level));
    p.options.set_log_format(config.observability.log_format);
    log(LogLevel::kInfo, "the configuration was read again");
    for (const auto& name : unused)
        log(LogLevel::kWarn, "a changed setting needs a restart", {{"setting", name}});
    return unused;
}

void blockSignals() {
    ::signal(SIGPIPE, SIG_IGN);
    sigset_t set;
    sigemptyset(&set);
    for (int signal : {SIGTERM, SIGINT, SIGHUP})
        sigaddset(&set, signal);
    ::pthread_sigmask(SIG_BLOCK, &set, nullptr);
}

void waitForStop(Daemon& daemon) {
    sigset_t set;
    sigemptyset(&set);
    for (int signal : {SIGTERM, SIGINT, SIGHUP})
        sigaddset(&set, signal);
    while (true) {
        int signal = 0;
        if (::sigwait(&set, &signal) != 0 || signal != SIGHUP) return;
        auto done = daemon.reload();
        if (done) continue;
        log(LogLevel::kError, "the configuration was not applied",
            {{"error", done.error().message}});
        for (const auto& detail : done.error().details)
            log(LogLevel::kError, "a problem in the configuration", {{"problem", detail.str()}});
    }
}

}  // namespace aegis::daemon
