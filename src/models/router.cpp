#include "models/router.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/log.h"

namespace aegis::models {
namespace {

constexpr std::int64_t kProbeMs = 300;
constexpr std::uint64_t kMaxProbeBytes = 1U << 20;

// The provider for the first model that an Ollama lists; null if it has none.
ProviderPtr ollamaFrom(std::string_view tags) {
    auto value = json::parse(tags);
    const json::Value* models = value ? json::find(*value, "models") : nullptr;
    if (models == nullptr || !models->is_array() || models->get_array().empty()) return nullptr;
    std::string_view name = json::getString(models->get_array().front(), "name");
    if (name.empty()) return nullptr;
    ProviderSettings settings;
    settings.name = kOllamaName;
    settings.model = name;
    return makeOllamaProvider(std::move(settings));
}

}  // namespace

Router::Router(std::unique_ptr<HttpOut> http, std::unique_ptr<Timers> timers, Clock& clock,
               Random& random, Catalog catalog)
    : http_(std::move(http)), timers_(std::move(timers)), clock_(clock), random_(random) {
    reload(std::move(catalog));
}

Router::~Router() {
    std::map<CallId, CallPtr> calls;
    net::TransferId probe = 0;
    {
        std::lock_guard lock(mutex_);
        calls = calls_;
        if (probing_) probe = probe_;
    }
    if (probe != 0) http_->cancel(probe);
    for (auto& [id, call] : calls)
        call->abandon();
}

void Router::reload(Catalog catalog) {
    bool probe = catalog.probe_ollama;
    std::lock_guard lock(mutex_);
    catalog_ = std::make_shared<const Catalog>(std::move(catalog));
    if (probe && !probing_) probeOllama();
}

// Called with the lock held.
void Router::probeOllama() {
    net::CurlRequest request;
    request.method = "GET";
    request.url = std::string(kOllamaUrl) + "/api/tags";
    request.connect_timeout_ms = kProbeMs;
    request.deadline = Deadline::in(clock_.boot(), kProbeMs);
    request.max_response_bytes = kMaxProbeBytes;
    net::CurlCallbacks callbacks;
    callbacks.on_data = [this](std::string_view chunk) {
        probe_body_ += chunk;
        return net::OnDataVerdict::kContinue;
    };
    callbacks.on_done = [this](const net::CurlResult& result) { probed(result); };
    probe_body_.clear();
    probing_ = true;
    probe_ = http_->start(std::move(request), std::move(callbacks));
}

void Router::probed(const net::CurlResult& result) {
    ProviderPtr ollama;
    if (!result.error && result.http_status == 200) ollama = ollamaFrom(probe_body_);
    std::vector<Waiting> waiting;
    std::shared_ptr<const Catalog> catalog;
    {
        std::lock_guard lock(mutex_);
        probing_ = false;
        if (ollama && catalog_->probe_ollama) {
            Catalog found = *catalog_;
            found.providers.push_back(ollama);
            catalog_ = std::make_shared<const Catalog>(std::move(found));
            log(LogLevel::kInfo, "found Ollama", {{"model", oneLine(ollama->settings.model)}});
        }
        waiting = std::exchange(waiting_, {});
        catalog = catalog_;
    }
    for (Waiting& one : waiting)
        one.call->begin(catalog->resolve(one.alias));
}

Router::CallId Router::start(ports::ModelRequest request, Deadline deadline,
                             ports::ModelSink sink) {
    std::string alias = request.alias;
    std::shared_ptr<const Catalog> catalog;
    CallPtr call;
    CallId id = 0;
    {
        std::lock_guard lock(mutex_);
        id = ++last_id_;
        call = std::make_shared<Call>(CallServices{*http_, *timers_, clock_, random_},
                                      std::move(request), deadline, std::move(sink),
                                      [this, id] { forget(id); });
        calls_.emplace(id, call);
        if (probing_ && !catalog_->resolvesWhole(alias)) {
            waiting_.push_back({std::move(alias), std::move(call)});
            return id;
        }
        catalog = catalog_;
    }
    call->begin(catalog->resolve(alias));
    return id;
}

void Router::cancel(CallId id) {
    CallPtr call;
    {
        std::lock_guard lock(mutex_);
        auto found = calls_.find(id);
        if (found == calls_.end()) return;
        call = found->second;
    }
    call->cancel();
}

void Router::forget(CallId id) {
    CallPtr dropped;  // destroyed without the lock
    std::lock_guard lock(mutex_);
    auto found = calls_.find(id);
    if (found == calls_.end()) return;
    dropped = std::move(found->second);
    calls_.erase(found);
}

std::vector<std::string> Router::aliases() const {
    std::lock_guard lock(mutex_);
    return catalog_->names();
}

Result<ports::Price> Router::price(const std::string& alias) const {
    std::shared_ptr<const Catalog> catalog;
    {
        std::lock_guard lock(mutex_);
        catalog = catalog_;
    }
    AEGIS_TRY(auto providers, catalog->resolve(alias));
    ports::Price highest;
    for (const auto& provider : providers) {
        const auto& settings = provider->settings;
        if (!settings.priced)
            return {ErrorCode::kInvalid,
                    fmt::format("the provider {} has no price", json::quote(settings.name)),
                    "set price (input_per_mtok, output_per_mtok) of it in llm.providers of "
                    "aegis-config.yaml"};
        highest.input_per_mtok = std::max(highest.input_per_mtok, settings.input_per_mtok);
        highest.output_per_mtok = std::max(highest.output_per_mtok, settings.output_per_mtok);
    }
    return highest;
}

}  // namespace aegis::models
