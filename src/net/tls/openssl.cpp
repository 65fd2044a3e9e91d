#include "net/tls/openssl.h"

#include <dlfcn.h>
#include <fmt/format.h>

#include <array>

namespace aegis::net::tls {
namespace {

template <class Function>
bool find(void* library, const char* name, Function& out) {
    out = reinterpret_cast<Function>(::dlsym(library, name));
    return out != nullptr;
}

Result<OpenSsl> load() {
    Error missing(ErrorCode::kUnsupported, "TLS needs OpenSSL 3, which is not installed",
                  "apt-get install libssl3");
    // Never closed: OpenSSL's own cleanup at exit must find itself.
    void* crypto = ::dlopen("libcrypto.so.3", RTLD_NOW | RTLD_LOCAL);
    void* ssl = ::dlopen("libssl.so.3", RTLD_NOW | RTLD_LOCAL);
    if (crypto == nullptr || ssl == nullptr) return missing;
    OpenSsl out;
    bool complete = true;
#define AEGIS_LOAD_SSL(name) complete = find(ssl, #name, out.name) && complete;
#define AEGIS_LOAD_CRYPTO(name) complete = find(crypto, #name, out.name) && complete;
    AEGIS_SSL_FUNCTIONS(AEGIS_LOAD_SSL)
    AEGIS_CRYPTO_FUNCTIONS(AEGIS_LOAD_CRYPTO)
#undef AEGIS_LOAD_SSL
#undef AEGIS_LOAD_CRYPTO
    if (!complete) return missing;
    return out;
}

/// A key with a password cannot be used: nobody is there to type it.
int noPassword(char*, int, int, void*) { return 0; }

}  // namespace

Result<const OpenSsl*> openSsl() {
    static const Result<OpenSsl> kLoaded = load();
    if (!kLoaded) return kLoaded.error();
    return &*kLoaded;
}

Error sslError(const OpenSsl& ssl, ErrorCode code, std::string_view what) {
    std::array<char, 256> text{"unknown error"};
    if (auto first = ssl.ERR_get_error(); first != 0)
        ssl.ERR_error_string_n(first, text.data(), text.size());
    ssl.ERR_clear_error();
    // "error:0A000086:SSL routines::certificate verify failed": people need the end.
    std::string_view reason(text.data());
    if (auto colons = reason.rfind("::"); colons != std::string_view::npos)
        reason.remove_prefix(colons + 2);
    return {code, fmt::format("{}: {}", what, reason)};
}

Result<ContextPtr> makeContext(const OpenSsl& ssl, bool server) {
    ssl.ERR_clear_error();
    ContextPtr context(ssl.SSL_CTX_new(server ? ssl.TLS_server_method() : ssl.TLS_client_method()),
                       {&ssl});
    if (!context) return sslError(ssl, ErrorCode::kInternal, "TLS");
    auto* raw = context.get();
    ssl.SSL_CTX_ctrl(raw, SSL_CTRL_SET_MIN_PROTO_VERSION, TLS1_2_VERSION, nullptr);
    ssl.SSL_CTX_ctrl(raw, SSL_CTRL_MODE,
                     SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                         SSL_MODE_RELEASE_BUFFERS,
                     nullptr);
    ssl.SSL_CTX_set_options(
        raw, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION | SSL_OP_CIPHER_SERVER_PREFERENCE);
    ssl.SSL_CTX_set_default_passwd_cb(raw, noPassword);
    return context;
}

}  // namespace aegis::net::tls
