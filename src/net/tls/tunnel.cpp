#include "net/tls/tunnel.h"

#include <fmt/format.h>
#include <poll.h>

#include "net/tls/relay.h"
#include "os/socket.h"

namespace aegis::net::tls {

class Tunnel::Impl {
  public:
    Impl(const OpenSsl& ssl, ContextPtr context, std::unique_ptr<Relay> relay)
        : ssl_(ssl), context_(std::move(context)), relay_(std::move(relay)) {}

    Result<os::Fd> connect(const Endpoint& endpoint, Deadline deadline, int cancel_fd) {
        AEGIS_TRY(auto socket, os::connectTcp(endpoint.host, endpoint.port, deadline, cancel_fd));
        SessionPtr session(ssl_.SSL_new(context_.get()), {&ssl_});
        if (!session || ssl_.SSL_set_fd(session.get(), socket.get()) != 1)
            return sslError(ssl_, ErrorCode::kInternal, endpoint.str());
        AEGIS_CHECK(expectHost(session.get(), endpoint.host));
        ssl_.SSL_set_connect_state(session.get());
        AEGIS_CHECK(shake(session.get(), socket.get(), endpoint, deadline, cancel_fd));
        return relay_->adopt(std::move(session), std::move(socket));
    }

  private:
    /// RFC 9110 section 4.3.4: the certificate must name the host, or its address.
    Status expectHost(SSL* session, const std::string& host) {
        auto name = host;
        auto* parameters = ssl_.SSL_get0_param(session);
        if (ssl_.X509_VERIFY_PARAM_set1_ip_asc(parameters, name.c_str()) == 1) return {};
        ssl_.ERR_clear_error();
        // RFC 6066: a name, never an address.
        ssl_.SSL_ctrl(session, SSL_CTRL_SET_TLSEXT_HOSTNAME, TLSEXT_NAMETYPE_host_name,
                      name.data());
        if (ssl_.SSL_set1_host(session, name.c_str()) != 1)
            return sslError(ssl_, ErrorCode::kInvalid, host);
        return {};
    }

    Status shake(SSL* session, int fd, const Endpoint& endpoint, Deadline deadline, int cancel_fd) {
        while (true) {
            ssl_.ERR_clear_error();
            int result = ssl_.SSL_do_handshake(session);
            if (result == 1) return {};
            int why = ssl_.SSL_get_error(session, result);
            if (why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE) {
                short events = why == SSL_ERROR_WANT_READ ? POLLIN : POLLOUT;
                AEGIS_CHECK(os::waitReady(fd, events, deadline, cancel_fd));
                continue;
            }
            return failed(session, endpoint);
        }
    }

    Error failed(SSL* session, const Endpoint& endpoint) {
        auto verdict = ssl_.SSL_get_verify_result(session);
        if (verdict != X509_V_OK) {
            ssl_.ERR_clear_error();
            return {ErrorCode::kUnreachable,
                    fmt::format("{}: the certificate is refused: {}", endpoint.str(),
                                ssl_.X509_verify_cert_error_string(verdict)),
                    "name the file of its authority in AEGIS_CA_FILE"};
        }
        auto error = sslError(ssl_, ErrorCode::kUnreachable, endpoint.str() + ": no TLS");
        error.hint = "does the daemon have server.tls?";
        return error;
    }

    const OpenSsl& ssl_;
    ContextPtr context_;
    std::unique_ptr<Relay> relay_;
};

Tunnel::Tunnel(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Tunnel::~Tunnel() = default;

Result<std::unique_ptr<Tunnel>> Tunnel::create(const std::string& ca_file) {
    AEGIS_TRY(const auto* ssl, openSsl());
    AEGIS_TRY(auto context, makeContext(*ssl, false));
    auto* raw = context.get();
    ssl->SSL_CTX_set_verify(raw, SSL_VERIFY_PEER, nullptr);
    bool loaded = ca_file.empty()
                      ? ssl->SSL_CTX_set_default_verify_paths(raw) == 1
                      : ssl->SSL_CTX_load_verify_locations(raw, ca_file.c_str(), nullptr) == 1;
    if (!loaded) {
        auto where =
            ca_file.empty() ? std::string("the system's certificates") : "AEGIS_CA_FILE " + ca_file;
        return sslError(*ssl, ErrorCode::kInvalid, where);
    }
    AEGIS_TRY(auto relay, Relay::create(*ssl, {}));
    return std::unique_ptr<Tunnel>(
        new Tunnel(std::make_unique<Impl>(*ssl, std::move(context), std::move(relay))));
}

Result<os::Fd> Tunnel::connect(const Endpoint& endpoint, Deadline deadline, int cancel_fd) {
    return impl_->connect(endpoint, deadline, cancel_fd);
}

}  // namespace aegis::net::tls
