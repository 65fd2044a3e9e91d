#include "proto/ctl.h"

#include <fmt/format.h>
#include <cerrno>
#include <type_traits>
#include <utility>

namespace aegis::proto::ctl {
namespace {

/// Writes the fields it is shown.
class Encoder {
  public:
    Encoder() : buffer_(kMaxMessageBytes, '\0'), wire_(buffer_.data(), buffer_.size()) {}

    void header(Type type) {
        wire_.integer(kVersion);
        wire_.integer(static_cast<std::uint8_t>(type));
    }
    template <class Int>
        requires std::is_integral_v<Int>
    void field(const Int& value) {
        wire_.integer(value);
    }
    void field(const bool& value) { wire_.integer(static_cast<std::uint8_t>(value)); }
    void field(const State& value) { wire_.integer(static_cast<std::uint8_t>(value)); }
    void text(const std::string& value, std::size_t limit) {
        fits_ = fits_ && value.size() <= limit;
        wire_.string(value);
    }
    void list(const std::vector<std::string>& values, std::size_t count_limit,
              std::size_t bytes_limit) {
        std::size_t bytes = 0;
        wire_.integer(static_cast<std::uint32_t>(values.size()));
        for (const std::string& value : values) {
            bytes += value.size() + 1;
            clean_ = clean_ && value.find('\0') == std::string::npos;
            wire_.string(value);
        }
        fits_ = fits_ && values.size() <= count_limit && bytes <= bytes_limit;
    }
    Result<std::string> finish() && {
        if (!clean_) return Error(ErrorCode::kInvalid, "an argument or variable has a NUL byte");
        if (!fits_ || !wire_.ok())
            return Error(ErrorCode::kTooLarge, "arguments and environment are too long");
        buffer_.resize(wire_.size());
        return std::move(buffer_);
    }

  private:
    std::string buffer_;
    WireWriter wire_;
    bool fits_ = true;
    bool clean_ = true;
};

/// Reads the fields it is shown.
class Decoder {
  public:
    explicit Decoder(std::string_view bytes) : wire_(bytes) {}

    template <class Int>
        requires std::is_integral_v<Int>
    void field(Int& value) {
        value = wire_.integer<Int>();
    }
    void field(bool& value) {
        const auto byte = wire_.integer<std::uint8_t>();
        valid_ = valid_ && byte <= 1;
        value = byte == 1;
    }
    void field(State& value) {
        const auto byte = wire_.integer<std::uint8_t>();
        valid_ = valid_ && byte <= static_cast<std::uint8_t>(State::kEnded);
        value = static_cast<State>(byte);
    }
    void text(std::string& value, std::size_t limit) { value = wire_.string(limit); }
    void list(std::vector<std::string>& values, std::size_t count_limit, std::size_t bytes_limit) {
        const auto count = wire_.integer<std::uint32_t>();
        valid_ = valid_ && count <= count_limit;
        std::size_t bytes = 0;
        for (std::uint32_t i = 0; valid_ && wire_.ok() && i < count; ++i) {
            values.emplace_back(wire_.string(bytes_limit));
            bytes += values.back().size() + 1;
            valid_ = bytes <= bytes_limit && values.back().find('\0') == std::string::npos;
        }
    }
    bool done() const { return valid_ && wire_.done(); }

  private:
    WireReader wire_;
    bool valid_ = true;
};

// One description of each message serves both directions: `Message` is const when writing.
template <class Codec, class Message>
void fields(Codec& codec, Message& m) {
    using T = std::remove_const_t<Message>;
    if constexpr (std::is_same_v<T, Command>) {
        codec.list(m.argv, kMaxArgs, kMaxArgvBytes);
        codec.list(m.env, kMaxEnv, kMaxMessageBytes);
        codec.text(m.cwd, 4096);
    } else if constexpr (std::is_same_v<T, Start>) {
        fields(codec, m.command);
        codec.field(m.has_stdin);
        codec.field(m.to_waiting);
        codec.field(m.stdout_cap);
        codec.field(m.stderr_cap);
    } else if constexpr (std::is_same_v<T, Prepare>) {
        fields(codec, m.command);
    } else if constexpr (std::is_same_v<T, Exec>) {
        codec.field(m.id);
        fields(codec, m.command);
        codec.field(m.timeout_ms);
        codec.field(m.output_limit);
    } else if constexpr (std::is_same_v<T, Hello>) {
        codec.field(m.state);
        codec.field(m.pid);
        codec.field(m.api_port);
        codec.field(m.proxy_port);
    } else if constexpr (std::is_same_v<T, Started>) {
        codec.field(m.pid);
    } else if constexpr (std::is_same_v<T, StartFailed>) {
        codec.field(m.error);
        codec.text(m.text, kMaxErrorBytes);
    } else if constexpr (std::is_same_v<T, Exited>) {
        codec.field(m.exit_code);
        codec.field(m.signal);
        codec.field(m.stdout_bytes);
        codec.field(m.stderr_bytes);
        codec.field(m.truncated);
    } else if constexpr (std::is_same_v<T, ExecDone>) {
        codec.field(m.id);
        codec.field(m.exit_code);
        codec.field(m.signal);
        codec.field(m.timed_out);
        codec.field(m.error);
        codec.text(m.text, kMaxErrorBytes);
        codec.field(m.stdout_bytes);
        codec.field(m.stderr_bytes);
        codec.text(m.stdout_tail, kMaxExecOutputBytes);
        codec.text(m.stderr_tail, kMaxExecOutputBytes);
    }
}

template <class Message>
constexpr Type typeOf() {
    if constexpr (std::is_same_v<Message, Start>) return Type::kStart;
    if constexpr (std::is_same_v<Message, Exec>) return Type::kExec;
    if constexpr (std::is_same_v<Message, KillAll>) return Type::kKillAll;
    if constexpr (std::is_same_v<Message, Shutdown>) return Type::kShutdown;
    if constexpr (std::is_same_v<Message, Prepare>) return Type::kPrepare;
    if constexpr (std::is_same_v<Message, Hello>) return Type::kHello;
    if constexpr (std::is_same_v<Message, Started>) return Type::kStarted;
    if constexpr (std::is_same_v<Message, StartFailed>) return Type::kStartFailed;
    if constexpr (std::is_same_v<Message, Exited>) return Type::kExited;
    if constexpr (std::is_same_v<Message, ExecDone>) return Type::kExecDone;
    if constexpr (std::is_same_v<Message, Killed>) return Type::kKilled;
}

template <class... Messages>
Result<std::string> encodeAny(const std::variant<Messages...>& message) {
    Encoder encoder;
    std::visit(
        [&](const auto& m) {
            encoder.header(typeOf<std::remove_cvref_t<decltype(m)>>());
            fields(encoder, m);
        },
        message);
    return std::move(encoder).finish();
}

template <class Message>
bool wellFormed(const Message& m) {
    if constexpr (std::is_same_v<Message, Start> || std::is_same_v<Message, Prepare>) {
        return !m.command.argv.empty();
    } else if constexpr (std::is_same_v<Message, Exec>) {
        return !m.command.argv.empty() && m.output_limit <= kMaxExecOutputBytes;
    } else {
        return true;
    }
}

template <class Variant, class Message>
bool tryParse(Type type, std::string_view body, Variant& out, bool& good) {
    if (type != typeOf<Message>()) return false;
    Message message;
    Decoder decoder(body);
    fields(decoder, message);
    good = decoder.done() && wellFormed(message);
    out = std::move(message);
    return true;
}

template <class... Messages>
Result<std::variant<Messages...>> parseAny(std::string_view bytes) {
    if (bytes.size() > kMaxMessageBytes)
        return Error(ErrorCode::kInvalid, "control message is too long");
    WireReader head(bytes);
    const auto version = head.integer<std::uint8_t>();
    const auto type = head.integer<std::uint8_t>();
    if (!head.ok()) return Error(ErrorCode::kInvalid, "control message is too short");
    if (version != kVersion)
        return Error(ErrorCode::kInvalid, fmt::format("control protocol version {}", version));
    std::variant<Messages...> out;
    bool good = false;
    const std::string_view body = bytes.substr(2);
    const bool known =
        (tryParse<std::variant<Messages...>, Messages>(static_cast<Type>(type), body, out, good) ||
         ...);
    if (!known) return Error(ErrorCode::kInvalid, fmt::format("control message type {}", type));
    if (!good) return Error(ErrorCode::kInvalid, fmt::format("malformed control message {}", type));
    return out;
}

template <class Variant>
Status checkCommand(const Variant& message) {
    return std::visit(
        [](const auto& m) -> Status {
            if (!wellFormed(m))
                return Error(ErrorCode::kInvalid, "empty command or limit too high");
            return {};
        },
        message);
}

}  // namespace

std::size_t fdCount(const HostMessage& message) {
    const auto* start = std::get_if<Start>(&message);
    return start == nullptr ? 0 : start->has_stdin ? 3 : 2;
}

Result<std::string> encode(const HostMessage& message) {
    AEGIS_CHECK(checkCommand(message));
    return encodeAny(message);
}

Result<std::string> encode(const GuestMessage& message) { return encodeAny(message); }

Result<HostMessage> parseHostMessage(std::string_view bytes) {
    return parseAny<Start, Exec, KillAll, Shutdown, Prepare>(bytes);
}

Result<GuestMessage> parseGuestMessage(std::string_view bytes) {
    return parseAny<Hello, Started, StartFailed, Exited, ExecDone, Killed>(bytes);
}

}  // namespace aegis::proto::ctl
