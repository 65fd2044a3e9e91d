#include "net/tls/terminator.h"

#include <mutex>

#include "base/log.h"
#include "net/tls/relay.h"
#include "os/files.h"

namespace aegis::net::tls {
namespace {

constexpr std::uint64_t kMaxPemBytes = 1U << 20U;

/// shared_ptr: sessions under way keep the certificate that they began with.
using SharedContext = std::shared_ptr<SSL_CTX>;

Result<SharedContext> contextOf(const OpenSsl& ssl, const std::string& cert_file,
                                const std::string& key_file) {
    for (const auto& file : {cert_file, key_file}) {
        if (auto text = os::readFile(file, kMaxPemBytes); !text)
            return Error(ErrorCode::kInvalid, "server.tls: " + text.error().message);
    }
    AEGIS_TRY(auto context, makeContext(ssl, true));
    auto* raw = context.get();
    if (ssl.SSL_CTX_use_certificate_chain_file(raw, cert_file.c_str()) != 1)
        return sslError(ssl, ErrorCode::kInvalid, "server.tls.cert_file " + cert_file);
    if (ssl.SSL_CTX_use_PrivateKey_file(raw, key_file.c_str(), SSL_FILETYPE_PEM) != 1 ||
        ssl.SSL_CTX_check_private_key(raw) != 1)
        return sslError(ssl, ErrorCode::kInvalid, "server.tls.key_file " + key_file);
    return SharedContext(context.release(), context.get_deleter());
}

}  // namespace

class Terminator::Impl {
  public:
    Impl(const OpenSsl& ssl, SharedContext context, std::unique_ptr<Relay> relay)
        : ssl_(ssl), context_(std::move(context)), relay_(std::move(relay)) {}

    Status reload(const std::string& cert_file, const std::string& key_file) {
        AEGIS_TRY(auto context, contextOf(ssl_, cert_file, key_file));
        std::lock_guard lock(mutex_);
        context_ = std::move(context);
        return {};
    }

    void accept(os::Fd accepted, std::function<void(os::Fd plain)> ready) {
        SharedContext context;
        {
            std::lock_guard lock(mutex_);
            context = context_;
        }
        // The session counts its own reference to the context.
        SessionPtr session(ssl_.SSL_new(context.get()), {&ssl_});
        if (!session || ssl_.SSL_set_fd(session.get(), accepted.get()) != 1) return;
        ssl_.SSL_set_accept_state(session.get());
        if (!relay_->accept(std::move(session), std::move(accepted), std::move(ready)))
            log(LogLevel::kWarn, "too many TLS connections, one was turned away");
    }

  private:
    const OpenSsl& ssl_;
    std::mutex mutex_;
    SharedContext context_;
    std::unique_ptr<Relay> relay_;
};

Terminator::Terminator(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Terminator::~Terminator() = default;

Result<std::unique_ptr<Terminator>> Terminator::create(const std::string& cert_file,
                                                       const std::string& key_file) {
    AEGIS_TRY(const auto* ssl, openSsl());
    AEGIS_TRY(auto context, contextOf(*ssl, cert_file, key_file));
    AEGIS_TRY(auto relay, Relay::create(*ssl, {}));
    return std::unique_ptr<Terminator>(
        new Terminator(std::make_unique<Impl>(*ssl, std::move(context), std::move(relay))));
}

Status Terminator::check(const std::string& cert_file, const std::string& key_file) {
    AEGIS_TRY(const auto* ssl, openSsl());
    AEGIS_TRY(auto context, contextOf(*ssl, cert_file, key_file));
    return {};
}

Status Terminator::reload(const std::string& cert_file, const std::string& key_file) {
    return impl_->reload(cert_file, key_file);
}

void Terminator::accept(os::Fd accepted, std::function<void(os::Fd plain)> ready) {
    impl_->accept(std::move(accepted), std::move(ready));
}

}  // namespace aegis::net::tls
