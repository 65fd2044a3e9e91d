#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

/// Archives as bytes: POSIX ustar and gzip (RFC 1952), only what one of our own needs.
namespace aegis::wire {

/// The 512 bytes before a regular file's content (ustar; mode 0644, owner 0). kInvalid for a name
/// that does not fit (100 bytes after a slash that leaves at most 155 before it).
Result<std::string> tarHeader(std::string_view name, std::uint64_t size,
                              std::int64_t mtime_seconds);
/// What follows a content of `size` bytes, up to the next block.
std::string tarPadding(std::uint64_t size);
/// The end of an archive.
std::string tarEnd();

struct TarEntry {
    std::string name;
    std::string_view content;  ///< points into the archive
};
/// The regular files of an archive, directories left out. kInvalid for anything else in it (links,
/// devices, extensions, names that are absolute or hold ".."), a wrong checksum, a cut archive, or
/// more than `most` files.
Result<std::vector<TarEntry>> readTar(std::string_view archive, std::size_t most);

/// Compresses a stream; the same input gives the same bytes. One thread at a time.
class GzipWriter {
  public:
    GzipWriter();
    ~GzipWriter();
    GzipWriter(const GzipWriter&) = delete;
    GzipWriter& operator=(const GzipWriter&) = delete;

    /// Takes `bytes`; what is ready is appended to `out`.
    void add(std::string_view bytes, std::string& out);
    /// The rest. Call once, last.
    void finish(std::string& out);

  private:
    struct Stream;
    void deflateInto(std::string_view bytes, int flush, std::string& out);
    std::unique_ptr<Stream> stream_;
};

/// The whole content, at most `limit` bytes (kTooLarge beyond); kInvalid for what is no gzip, or is
/// cut, damaged or followed by something else.
Result<std::string> gunzip(std::string_view bytes, std::uint64_t limit);

}  // namespace aegis::wire
