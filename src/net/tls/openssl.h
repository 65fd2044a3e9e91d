#pragma once

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509_vfy.h>

#include <memory>
#include <string>

#include "base/result.h"

/// The inside of this room: OpenSSL 3, loaded with dlopen(3) when TLS is first used. The binary is
/// the command line as well, and linking OpenSSL would cost every command its loading.
namespace aegis::net::tls {

#define AEGIS_SSL_FUNCTIONS(X)            \
    X(TLS_server_method)                  \
    X(TLS_client_method)                  \
    X(SSL_CTX_new)                        \
    X(SSL_CTX_free)                       \
    X(SSL_CTX_ctrl)                       \
    X(SSL_CTX_set_options)                \
    X(SSL_CTX_use_certificate_chain_file) \
    X(SSL_CTX_use_PrivateKey_file)        \
    X(SSL_CTX_check_private_key)          \
    X(SSL_CTX_set_default_passwd_cb)      \
    X(SSL_CTX_set_default_verify_paths)   \
    X(SSL_CTX_load_verify_locations)      \
    X(SSL_CTX_set_verify)                 \
    X(SSL_new)                            \
    X(SSL_free)                           \
    X(SSL_ctrl)                           \
    X(SSL_set_fd)                         \
    X(SSL_set_accept_state)               \
    X(SSL_set_connect_state)              \
    X(SSL_do_handshake)                   \
    X(SSL_read)                           \
    X(SSL_write)                          \
    X(SSL_get_error)                      \
    X(SSL_shutdown)                       \
    X(SSL_set1_host)                      \
    X(SSL_get0_param)                     \
    X(SSL_get_verify_result)
#define AEGIS_CRYPTO_FUNCTIONS(X)    \
    X(ERR_get_error)                 \
    X(ERR_clear_error)               \
    X(ERR_error_string_n)            \
    X(X509_VERIFY_PARAM_set1_ip_asc) \
    X(X509_verify_cert_error_string)

/// The functions that are used, under their own names. Any thread.
struct OpenSsl {
#define AEGIS_MEMBER(name) decltype(&::name) name = nullptr;
    AEGIS_SSL_FUNCTIONS(AEGIS_MEMBER)
    AEGIS_CRYPTO_FUNCTIONS(AEGIS_MEMBER)
#undef AEGIS_MEMBER
};

/// Loads it at the first call. kUnsupported when this machine has no OpenSSL 3.
Result<const OpenSsl*> openSsl();

/// "what: reason", from OpenSSL's queue of errors of this thread, which is emptied.
Error sslError(const OpenSsl& ssl, ErrorCode code, std::string_view what);

struct ContextDeleter {
    const OpenSsl* ssl;
    void operator()(SSL_CTX* context) const { ssl->SSL_CTX_free(context); }
};
struct SessionDeleter {
    const OpenSsl* ssl;
    void operator()(SSL* session) const { ssl->SSL_free(session); }
};
using ContextPtr = std::unique_ptr<SSL_CTX, ContextDeleter>;
using SessionPtr = std::unique_ptr<SSL, SessionDeleter>;

/// TLS 1.2 and up, no renegotiation, no compression, short writes.
Result<ContextPtr> makeContext(const OpenSsl& ssl, bool server);

}  // namespace aegis::net::tls
