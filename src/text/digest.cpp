#include "text/digest.h"

#include <openssl/evp.h>

#include "base/assert.h"

namespace aegis::text {

std::string sha256(std::string_view bytes) {
    // Looked up once: by default OpenSSL does so for every digest, under a lock.
    static EVP_MD* const kind = ::EVP_MD_fetch(nullptr, "SHA256", nullptr);
    std::string out(32, '\0');
    unsigned length = 0;
    int ok = ::EVP_Digest(bytes.data(), bytes.size(), reinterpret_cast<unsigned char*>(out.data()),
                          &length, kind, nullptr);
    AEGIS_ASSERT(ok == 1 && length == 32);
    return out;
}

std::string sha256Hex(std::string_view bytes) {
    constexpr std::string_view kHex = "0123456789abcdef";
    std::string out;
    out.reserve(64);
    for (char c : sha256(bytes)) {
        auto byte = static_cast<unsigned char>(c);
        out += kHex[byte >> 4];
        out += kHex[byte & 0xf];
    }
    return out;
}

}  // namespace aegis::text
