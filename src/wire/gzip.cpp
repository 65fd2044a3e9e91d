#include <fmt/format.h>
#include <zlib.h>

#include <algorithm>
#include <array>
#include <limits>

#include "base/assert.h"
#include "wire/tar.h"

namespace aegis::wire {
namespace {

constexpr int kGzip = 15 + 16;  // the largest window, and a gzip frame instead of zlib's
constexpr std::size_t kPiece = 64 << 10;

Bytef* bytesOf(std::string_view text) {
    // zlib reads only, but was declared before const came.
    return reinterpret_cast<Bytef*>(const_cast<char*>(text.data()));
}

}  // namespace

struct GzipWriter::Stream {
    z_stream z{};
};

GzipWriter::GzipWriter() : stream_(std::make_unique<Stream>()) {
    constexpr int kMemory = 8;
    int made = ::deflateInit2(&stream_->z, Z_DEFAULT_COMPRESSION, Z_DEFLATED, kGzip, kMemory,
                              Z_DEFAULT_STRATEGY);
    AEGIS_ASSERT(made == Z_OK);  // fails without memory only
}

GzipWriter::~GzipWriter() { ::deflateEnd(&stream_->z); }

void GzipWriter::deflateInto(std::string_view bytes, int flush, std::string& out) {
    auto& z = stream_->z;
    std::array<Bytef, kPiece> piece{};
    z.next_in = bytesOf(bytes);
    z.avail_in = static_cast<uInt>(bytes.size());
    do {
        z.next_out = piece.data();
        z.avail_out = piece.size();
        ::deflate(&z, flush);
        out.append(reinterpret_cast<const char*>(piece.data()), piece.size() - z.avail_out);
    } while (z.avail_out == 0);
}

void GzipWriter::add(std::string_view bytes, std::string& out) {
    constexpr std::size_t kMost = 1 << 30;  // zlib counts in 32 bits
    while (!bytes.empty()) {
        auto some = bytes.substr(0, kMost);
        deflateInto(some, Z_NO_FLUSH, out);
        bytes.remove_prefix(some.size());
    }
}

void GzipWriter::finish(std::string& out) { deflateInto({}, Z_FINISH, out); }

Result<std::string> gunzip(std::string_view bytes, std::uint64_t limit) {
    if (bytes.size() > std::numeric_limits<uInt>::max())
        return {ErrorCode::kTooLarge, "the archive is too large"};
    z_stream z{};
    if (::inflateInit2(&z, kGzip) != Z_OK) return {ErrorCode::kInternal, "zlib: no memory"};
    std::string out;
    std::array<Bytef, kPiece> piece{};
    z.next_in = bytesOf(bytes);
    z.avail_in = static_cast<uInt>(bytes.size());
    int state = Z_OK;
    while (state == Z_OK && out.size() <= limit) {
        z.next_out = piece.data();
        z.avail_out = piece.size();
        state = ::inflate(&z, Z_NO_FLUSH);
        out.append(reinterpret_cast<const char*>(piece.data()), piece.size() - z.avail_out);
    }
    bool whole = state == Z_STREAM_END && z.avail_in == 0;
    ::inflateEnd(&z);
    if (out.size() > limit)
        return {ErrorCode::kTooLarge, fmt::format("the archive holds more than {} bytes", limit)};
    if (!whole) return {ErrorCode::kInvalid, "not a gzip file, or a damaged one"};
    return out;
}

}  // namespace aegis::wire
