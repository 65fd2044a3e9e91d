#include "wire/tar.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <optional>

namespace aegis::wire {
namespace {

constexpr std::size_t kBlock = 512;

/// A field of the header: where it begins and how long it is (IEEE 1003.1, "ustar").
struct Field {
    std::size_t at, size;
};
constexpr Field kName{0, 100}, kMode{100, 8}, kUid{108, 8}, kGid{116, 8}, kSize{124, 12},
    kMtime{136, 12}, kChecksum{148, 8}, kType{156, 1}, kMagic{257, 8}, kPrefix{345, 155};
constexpr std::string_view kUstar{"ustar\00000", 8};

void put(std::string& block, Field field, std::string_view text) {
    block.replace(field.at, text.size(), text);
}
void putOctal(std::string& block, Field field, std::uint64_t number) {
    put(block, field, fmt::format("{:0{}o}", number, field.size - 1));
}

std::string_view get(std::string_view block, Field field) {
    auto text = block.substr(field.at, field.size);
    return text.substr(0, text.find('\0'));
}
std::optional<std::uint64_t> getOctal(std::string_view block, Field field) {
    std::uint64_t number = 0;
    bool digits = false;
    for (char c : get(block, field)) {
        if (c == ' ') continue;
        if (c < '0' || c > '7') return std::nullopt;
        number = number * 8 + static_cast<unsigned>(c - '0');
        digits = true;
    }
    return digits ? std::optional(number) : std::nullopt;
}

/// The sum of the header's bytes, its own field counted as spaces.
std::uint64_t checksum(std::string_view block) {
    std::uint64_t sum = 0;
    for (std::size_t i = 0; i < kBlock; ++i) {
        bool own = i >= kChecksum.at && i < kChecksum.at + kChecksum.size;
        sum += own ? ' ' : static_cast<unsigned char>(block[i]);
    }
    return sum;
}

bool isPlainName(std::string_view name) {
    if (name.empty() || name.front() == '/') return false;
    while (!name.empty()) {
        auto part = name.substr(0, name.find('/'));
        if (part == "..") return false;
        name.remove_prefix(std::min(name.size(), part.size() + 1));
    }
    return true;
}

}  // namespace

Result<std::string> tarHeader(std::string_view name, std::uint64_t size,
                              std::int64_t mtime_seconds) {
    std::string block(kBlock, '\0');
    std::string_view prefix;
    if (name.size() > kName.size) {
        auto slash = name.rfind('/', kPrefix.size);
        auto least = name.find('/', name.size() - kName.size - 1);
        if (slash == std::string_view::npos || least == std::string_view::npos || slash < least)
            return {ErrorCode::kInvalid, fmt::format("{}: too long a name for an archive", name)};
        prefix = name.substr(0, slash);
        name = name.substr(slash + 1);
    }
    if (name.size() > kName.size || prefix.size() > kPrefix.size)
        return {ErrorCode::kInvalid, fmt::format("{}: too long a name for an archive", name)};
    constexpr std::uint64_t kMostBytes = 1ULL << 33U;  // eleven octal digits
    if (size >= kMostBytes) return {ErrorCode::kTooLarge, "too large a file for an archive"};
    put(block, kName, name);
    put(block, kPrefix, prefix);
    putOctal(block, kMode, 0644);
    putOctal(block, kUid, 0);
    putOctal(block, kGid, 0);
    putOctal(block, kSize, size);
    putOctal(block, kMtime, static_cast<std::uint64_t>(std::max<std::int64_t>(mtime_seconds, 0)));
    put(block, kType, "0");
    put(block, kMagic, kUstar);
    put(block, kChecksum, fmt::format("{:06o}{}", checksum(block), std::string_view("\0 ", 2)));
    return block;
}

std::string tarPadding(std::uint64_t size) {
    return std::string((kBlock - size % kBlock) % kBlock, '\0');
}

std::string tarEnd() { return std::string(2 * kBlock, '\0'); }

Result<std::vector<TarEntry>> readTar(std::string_view archive, std::size_t most) {
    auto wrong = [](std::string_view what) {
        return Error(ErrorCode::kInvalid, fmt::format("not an archive of ours: {}", what));
    };
    std::vector<TarEntry> out;
    while (archive.size() >= kBlock) {
        auto block = archive.substr(0, kBlock);
        archive.remove_prefix(kBlock);
        if (block.find_first_not_of('\0') == std::string_view::npos) {
            if (archive.find_first_not_of('\0') == std::string_view::npos) return out;
            return wrong("something follows its end");
        }
        if (!block.substr(kMagic.at).starts_with("ustar")) return wrong("a header is damaged");
        if (getOctal(block, kChecksum) != checksum(block)) return wrong("a checksum is wrong");
        auto size = getOctal(block, kSize);
        if (!size || *size > archive.size()) return wrong("it is cut");
        std::string name(get(block, kName));
        if (auto prefix = get(block, kPrefix); !prefix.empty())
            name = fmt::format("{}/{}", prefix, name);
        if (!isPlainName(name)) return wrong("a name leads out of it");
        char type = block[kType.at];
        if (type != '0' && type != '\0' && type != '5') return wrong("it holds more than files");
        if (type != '5') out.push_back({std::move(name), archive.substr(0, *size)});
        if (out.size() > most) return wrong(fmt::format("it holds more than {} files", most));
        archive.remove_prefix(
            std::min<std::uint64_t>(archive.size(), *size + (kBlock - *size % kBlock) % kBlock));
    }
    return wrong("it is cut");
}

}  // namespace aegis::wire
