#include "wire/client_hello.h"

#include <cstdint>

namespace aegis::wire {
namespace {

constexpr std::uint8_t kHandshake = 22;
constexpr std::uint8_t kClientHello = 1;
constexpr std::size_t kMaxRecordBytes = 1U << 14;
constexpr unsigned kServerNameExtension = 0;

Error malformed() { return {ErrorCode::kInvalid, "not a TLS ClientHello"}; }

/// Takes numbers and vectors off the front; `bad` once something was missing.
struct Cursor {
    std::string_view left;
    bool bad = false;

    std::string_view take(std::size_t n) {
        if (n > left.size()) {
            bad = true;
            left = {};
            return {};
        }
        auto out = left.substr(0, n);
        left.remove_prefix(n);
        return out;
    }
    std::size_t number(std::size_t bytes) {
        std::size_t value = 0;
        for (char c : take(bytes))
            value = value << 8 | static_cast<std::uint8_t>(c);
        return value;
    }
    Cursor vector(std::size_t length_bytes) {
        auto length = number(length_bytes);
        return {take(length), bad};
    }
};

/// The handshake message, its records joined; nullopt: more is to come.
Result<std::optional<std::string>> joinRecords(std::string_view bytes) {
    std::string message;
    while (true) {
        bool looks_right = bytes.empty() || static_cast<std::uint8_t>(bytes[0]) == kHandshake;
        looks_right = looks_right && (bytes.size() < 2 || bytes[1] == 3);
        if (!looks_right) return malformed();
        if (bytes.size() < 5) return std::optional<std::string>{};
        Cursor header{bytes.substr(3)};
        auto length = header.number(2);
        if (length == 0 || length > kMaxRecordBytes) return malformed();
        message += header.left.substr(0, length);
        if (!message.empty() && static_cast<std::uint8_t>(message[0]) != kClientHello)
            return malformed();
        if (message.size() >= 4) {
            Cursor body{std::string_view(message).substr(1)};
            auto size = body.number(3) + 4;
            if (size > kMaxClientHelloBytes)
                return {ErrorCode::kTooLarge, "the TLS ClientHello is too large"};
            // What shares the record with it would be another message before the server's answer.
            if (message.size() > size) return malformed();
            if (message.size() == size && header.left.size() >= length)
                return std::optional(std::move(message));
        }
        if (header.left.size() < length) return std::optional<std::string>{};
        bytes = header.left.substr(length);
    }
}

Result<std::string> serverName(Cursor extension) {
    auto names = extension.vector(2);
    auto type = names.number(1);
    auto name = names.vector(2);
    // RFC 6066: one name of type host_name; nobody uses another.
    if (extension.bad || names.bad || name.bad || !extension.left.empty() || !names.left.empty() ||
        type != 0 || name.left.empty() || name.left.find('\0') != std::string_view::npos)
        return malformed();
    return std::string(name.left);
}

}  // namespace

Result<std::optional<ClientHello>> parseClientHello(std::string_view bytes) {
    const bool whole = bytes.size() <= kMaxClientHelloBytes;
    AEGIS_TRY(auto message, joinRecords(bytes.substr(0, kMaxClientHelloBytes)));
    if (!message && !whole) return {ErrorCode::kTooLarge, "the TLS ClientHello is too large"};
    if (!message) return std::optional<ClientHello>{};
    Cursor hello{std::string_view(*message).substr(4)};
    hello.take(2 + 32);  // legacy_version, random
    auto session = hello.vector(1);
    auto suites = hello.vector(2);
    auto compression = hello.vector(1);
    if (hello.bad || session.left.size() > 32 || suites.left.empty() || compression.left.empty())
        return malformed();
    ClientHello out;
    if (hello.left.empty()) return std::optional(std::move(out));
    auto extensions = hello.vector(2);
    if (hello.bad || !hello.left.empty()) return malformed();
    while (!extensions.left.empty()) {
        auto type = extensions.number(2);
        auto body = extensions.vector(2);
        if (extensions.bad) return malformed();
        if (type != kServerNameExtension) continue;
        if (out.server_name) return malformed();
        AEGIS_TRY(out.server_name, serverName(body));
    }
    return std::optional(std::move(out));
}

}  // namespace aegis::wire
