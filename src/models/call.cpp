#include "models/call.h"

#include <fmt/format.h>

#include <array>

namespace aegis::models {
namespace {

constexpr int kMaxRetries = 2;
constexpr std::int64_t kBackoffMs = 250;
constexpr std::int64_t kMaxRetryAfterMs = 20'000;
constexpr std::int64_t kConnectTimeoutMs = 10'000;
constexpr std::size_t kMaxErrorBody = 64 * 1024;
constexpr std::size_t kMaxFailures = 600;
constexpr std::size_t kScriptDeltas = 4;
// A streamed answer comes in many small envelopes; the limit on the answer itself is the reader's.
constexpr std::uint64_t kEnvelopeFactor = 32;

Error cancelledError() { return {ErrorCode::kCancelled, "the model call was cancelled"}; }

}  // namespace

Call::Call(CallServices services, ports::ModelRequest request, Deadline deadline,
           ports::ModelSink sink, std::function<void()> on_finished)
    : services_(services),
      request_(std::move(request)),
      deadline_(deadline),
      sink_(std::move(sink)),
      on_finished_(std::move(on_finished)) {}

void Call::begin(Result<std::vector<ProviderPtr>> providers) {
    if (providers) {
        providers_ = std::move(*providers);
        // One that is asked over HTTP answers from the transfers' thread anyway.
        const auto& first = *providers_.front();
        if (first.script || first.lacksKey())
            later(0, &Call::tryProvider);
        else
            tryProvider();
        return;
    }
    std::lock_guard lock(mutex_);
    if (cancelled_) return;
    timer_ = services_.timers.after(
        0, [self = shared_from_this(), error = std::move(providers.error())]() mutable {
            self->finish(std::move(error));
        });
}

void Call::later(std::int64_t ms, void (Call::*next)()) {
    std::lock_guard lock(mutex_);
    if (cancelled_) return;
    timer_ =
        services_.timers.after(ms, [self = shared_from_this(), next] { (self.get()->*next)(); });
}

bool Call::stop() {
    std::optional<net::TransferId> transfer;
    {
        std::lock_guard lock(mutex_);
        if (cancelled_ || finished_) return false;
        cancelled_ = true;
        transfer = std::exchange(transfer_, std::nullopt);
        if (timer_) services_.timers.cancel(*timer_);
    }
    // Without the lock: it waits for a callback that is running, which may want it.
    if (transfer) services_.http.cancel(*transfer);
    return true;
}

void Call::cancel() {
    if (!stop()) return;
    services_.timers.after(0,
                           [self = shared_from_this()] { self->finish(cancelledError(), true); });
}

void Call::abandon() {
    if (stop()) finish(cancelledError(), true);
}

void Call::tryProvider() {
    retries_ = 0;
    const Provider& provider = *providers_[provider_];
    if (provider.lacksKey()) return failed(missingKey(provider.settings));
    if (provider.script) return runScript();
    wire_ = provider.dialect->encode(request_);
    launch();
}

void Call::launch() {
    reader_ = providers_[provider_]->dialect->reader(wire_.tools);
    status_ = 0;
    error_body_.clear();
    net::CurlRequest out;
    out.url = wire_.url;
    out.headers = wire_.headers;
    out.secret_headers = wire_.secret_headers;
    out.body = wire_.body;
    out.connect_timeout_ms = kConnectTimeoutMs;
    out.deadline = deadline_.earlier(Deadline::in(services_.clock.boot(), settings().timeout_ms));
    out.max_response_bytes = settings().max_response_bytes * kEnvelopeFactor;
    auto self = shared_from_this();
    net::CurlCallbacks callbacks;
    callbacks.on_head = [self](const net::CurlHead& head) { self->status_ = head.status; };
    callbacks.on_data = [self](std::string_view chunk) { return self->onData(chunk); };
    callbacks.on_done = [self](net::CurlResult result) { self->onDone(std::move(result)); };
    std::lock_guard lock(mutex_);
    if (cancelled_) return;
    transfer_ = services_.http.start(std::move(out), std::move(callbacks));
}

DeltaFn Call::deltaFn() {
    return [this](std::string_view text) { said_ += text; };
}

/// Text that came together is told together: a turn of the listeners for each piece costs more than
/// the piece.
void Call::tell() {
    if (said_.empty()) return;
    delivered_ = true;
    auto text = std::exchange(said_, {});
    {
        std::lock_guard lock(mutex_);
        if (cancelled_) return;
    }
    if (sink_.delta) sink_.delta(text);
}

net::OnDataVerdict Call::onData(std::string_view chunk) {
    using Verdict = net::OnDataVerdict;
    if (read_) return Verdict::kContinue;
    if (status_ != 200) {
        error_body_ += chunk.substr(0, kMaxErrorBody - error_body_.size());
        return Verdict::kContinue;
    }
    auto fed = reader_->feed(chunk, deltaFn());
    tell();
    if (!fed) return Verdict::kAbort;
    if (!reader_->complete()) return Verdict::kContinue;
    // The rest of the body is let through so that the connection can be used again.
    auto answer = reader_->finish(deltaFn());
    tell();
    if (answer) {
        read_ = true;
        succeeded(std::move(*answer));
        return Verdict::kContinue;
    }
    return Verdict::kAbort;
}

void Call::onDone(net::CurlResult result) {
    {
        std::lock_guard lock(mutex_);
        transfer_.reset();
        if (cancelled_ || finished_) return;
    }
    if (!result.error && result.http_status == 200) {
        auto answer = reader_->finish(deltaFn());
        tell();
        if (answer) return succeeded(std::move(*answer));
    }
    failed(failureOf(result));
}

Failure Call::failureOf(const net::CurlResult& result) const {
    bool ok = result.http_status == 200 || result.http_status == 0;
    if (!ok && (!result.error || result.error->code != ErrorCode::kTimeout))
        return statusFailure(settings(), result.http_status, result.headers, error_body_,
                             services_.clock.utc());
    if (reader_->fault() != Fault::kNone) {
        auto again = reader_->feed({}, {});
        return readFailure(settings(), again.error(), reader_->fault());
    }
    return transferFailure(settings(), *result.error);
}

void Call::runScript() {
    auto answer = providers_[provider_]->script->answer(request_);
    if (!answer) return failed(readFailure(settings(), answer.error(), Fault::kRefused));
    for (std::string_view piece : splitText(answer->content, kScriptDeltas)) {
        said_ = piece;
        tell();
    }
    succeeded(std::move(*answer));
}

std::optional<std::int64_t> Call::waitBeforeRetry(const Failure& failure) {
    if (!failure.retryable || retries_ >= kMaxRetries) return std::nullopt;
    if (failure.retry_after_ms > kMaxRetryAfterMs) return std::nullopt;
    std::array<std::byte, 2> noise{};
    services_.random.fill(noise);
    std::int64_t wait = kBackoffMs << retries_;
    std::int64_t jitter = std::to_integer<int>(noise[0]) * 256 + std::to_integer<int>(noise[1]);
    wait += wait * jitter / (2 * 65'535);
    wait = std::max(wait, failure.retry_after_ms.value_or(0));
    if (wait >= deadline_.leftMs(services_.clock.boot())) return std::nullopt;
    return wait;
}

void Call::failed(Failure failure) {
    if (!delivered_) {
        if (auto wait = waitBeforeRetry(failure)) {
            ++retries_;
            return later(*wait, &Call::launch);
        }
        bool time_is_left = !deadline_.passed(services_.clock.boot());
        if (failure.fallback && time_is_left && provider_ + 1 < providers_.size()) {
            if (failures_.size() < kMaxFailures) failures_ += failure.error.message + "; ";
            ++provider_;
            return later(0, &Call::tryProvider);
        }
    }
    failure.error.message.insert(0, failures_);
    if (failure.retry_after_ms && sink_.again_in) sink_.again_in(*failure.retry_after_ms);
    finish(std::move(failure.error));
}

void Call::succeeded(ports::ModelAnswer answer) {
    const ProviderSettings& from = settings();
    answer.provider = from.name;
    if (answer.model.empty()) answer.model = from.model;
    answer.usage.calls = 1;
    answer.usage.cost_usd =
        (static_cast<double>(answer.usage.prompt_tokens) * from.input_per_mtok +
         static_cast<double>(answer.usage.completion_tokens) * from.output_per_mtok) /
        1e6;
    finish(std::move(answer));
}

void Call::finish(Result<ports::ModelAnswer> result, bool by_cancel) {
    {
        std::lock_guard lock(mutex_);
        if (finished_ || (cancelled_ && !by_cancel)) return;
        finished_ = true;
    }
    on_finished_();
    if (sink_.done) sink_.done(std::move(result));
}

}  // namespace aegis::models
