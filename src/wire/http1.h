#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"
#include "wire/headers.h"

/// HTTP/1.1 heads and bodies as bytes (RFC 9110, RFC 9112). Strict: whatever two parsers could read
/// in two ways is refused. Pure functions and values, any thread.
namespace aegis::wire {

inline constexpr std::size_t kDefaultHeadLimit = 32U << 10;
inline constexpr std::size_t kMaxHeaderFields = 200;

struct RequestHead {
    std::string method;  ///< as sent: "GET"
    std::string target;  ///< as sent, not decoded
    int minor_version = 1;
    Headers headers;
};

struct ResponseHead {
    int status = 200;
    std::string reason;  ///< empty when serialised: the standard phrase
    int minor_version = 1;
    Headers headers;
};

/// Where the head ends in `buffer`: its length with the blank line, 0 if it is not complete yet.
/// kTooLarge when it is (or must become) longer than `limit`; kInvalid for a bare CR or LF, a NUL
/// or a folded line. `scanned`: how many bytes an earlier call has already found incomplete.
Result<std::size_t> findHeadEnd(std::string_view buffer, std::size_t limit = kDefaultHeadLimit,
                                std::size_t scanned = 0);

/// Parses exactly one head, blank line included. kInvalid when malformed (also: no or several Host
/// in HTTP/1.1), kUnsupported for a version other than 1.0 and 1.1.
Result<RequestHead> parseRequestHead(std::string_view head);
Result<ResponseHead> parseResponseHead(std::string_view head);

/// How the end of a body is known.
enum class Framing : std::uint8_t { kNone, kLength, kChunked, kUntilClose };
struct BodyFraming {
    Framing framing = Framing::kNone;
    std::uint64_t length = 0;  ///< of kLength
};

/// RFC 9112 section 6. kInvalid for Content-Length together with Transfer-Encoding, several
/// Content-Length, a length that is no number, chunked in HTTP/1.0; kUnsupported for codings but
/// chunked.
Result<BodyFraming> requestFraming(const RequestHead& head);
/// `method` is the request's: HEAD and CONNECT change what follows.
Result<BodyFraming> responseFraming(const ResponseHead& head, std::string_view method);

/// Whether the connection may carry another message after this one (RFC 9112 section 9.3).
bool keepsAlive(int minor_version, const Headers& headers);

/// Takes a body apart as it arrives. One thread.
class BodyDecoder {
  public:
    /// More than `limit` decoded bytes is kTooLarge; a declared length beyond it fails at the first
    /// feed.
    BodyDecoder(BodyFraming framing, std::uint64_t limit);

    /// Decodes from the front of `in`, appends to `out`, and returns how many bytes were consumed:
    /// all, or fewer once done(). kInvalid for malformed chunks. Useless after an error.
    Result<std::size_t> feed(std::string_view in, std::string& out);
    bool done() const { return state_ == State::kDone; }
    /// The peer has closed. kIo if the body is cut short.
    Status finishAtEof();

  private:
    enum class State : std::uint8_t {
        kData,
        kSize,
        kChunk,
        kChunkEnd,
        kTrailer,
        kUntilClose,
        kDone
    };
    Status takeLine(std::string_view& in, bool& complete);
    Status onSizeLine();
    Status onTrailerLine();

    State state_;
    std::uint64_t left_ = 0;  ///< of the body or of the chunk
    std::uint64_t limit_;
    std::uint64_t total_ = 0;
    std::uint64_t trailer_bytes_ = 0;
    std::string line_;
};

/// Heads as bytes, blank line included. Fields that isValidField() refuses are left out: a value
/// can never split a message.
std::string serialize(const RequestHead& head);
std::string serialize(const ResponseHead& head);

/// The standard phrase of a status; "Unknown" if there is none.
std::string_view reasonPhrase(int status);

/// One chunk with its size line; nothing for empty `bytes` (that would end the body).
std::string encodeChunk(std::string_view bytes);
inline constexpr std::string_view kLastChunk = "0\r\n\r\n";

}  // namespace aegis::wire
