#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/error.h"
#include "text/yaml.h"

/// Reading typed fields out of YAML mappings so that every problem of a file is found at once, each
/// with its place. A reader leaves its output alone when the field is missing or wrong.
namespace aegis::yaml {

/// Collects what is wrong (errors) or odd (warnings) in one file.
class Problems {
  public:
    explicit Problems(std::string file) : file_(std::move(file)) {}

    void error(std::string path, int line, int column, std::string message);
    void error(std::string path, const Node& at, std::string message) {
        error(std::move(path), at.line, at.column, std::move(message));
    }
    void warning(std::string path, int line, int column, std::string message);
    void warning(std::string path, const Node& at, std::string message) {
        warning(std::move(path), at.line, at.column, std::move(message));
    }

    /// Calls back with each field that a Reader looks for: what the grammar knows.
    using FieldCallback = std::function<void(const std::string& path, std::string_view key)>;
    void onField(FieldCallback callback) { on_field_ = std::move(callback); }
    void field(const std::string& path, std::string_view key) {
        if (on_field_) on_field_(path, key);
    }

    bool ok() const { return errors_.empty(); }
    std::size_t errorCount() const { return errors_.size(); }
    const std::string& file() const { return file_; }
    /// In the order of their places. The collector is empty of them afterwards.
    std::vector<ErrorDetail> takeErrors();
    std::vector<ErrorDetail> takeWarnings();

  private:
    std::string file_;
    std::vector<ErrorDetail> errors_, warnings_;
    FieldCallback on_field_;
};

/// `text` as a message shows it: quoted, control characters escaped, cut to 80 bytes.
std::string shown(std::string_view text);
/// The source text of a scalar for messages, or what kind of node it is.
std::string shown(const Node& node);
/// "a, b or c".
std::string joinOr(std::span<const std::string> words);
/// "; did you mean "x"?" if `name` is within edit distance 2 of one of `known`, else "".
std::string didYouMean(std::string_view name, const std::vector<std::string>& known);

/// Integer bytes, or a number with K M G T (1000) or Ki Mi Gi Ti (1024); nullopt for anything else
/// and for what does not fit 63 bits. A fraction is rounded down to whole bytes.
std::optional<std::uint64_t> parseSizeBytes(std::string_view text);

/// The inverse of reading a duration: "300s", or "1500ms" where seconds are not whole.
std::string durationText(std::int64_t ms);
/// A JSON array of these texts.
json::Array stringArray(const std::vector<std::string>& values);

// ---- One value; each reports its problem at `path` and returns nullopt. ----

std::optional<std::string> readString(const Node& node, const std::string& path, Problems&);
std::optional<bool> readBool(const Node& node, const std::string& path, Problems&);
std::optional<std::int64_t> readInteger(const Node& node, const std::string& path, std::int64_t min,
                                        std::int64_t max, Problems&);
std::optional<double> readNumber(const Node& node, const std::string& path, double min, double max,
                                 Problems&);
std::optional<std::vector<std::string>> readStrings(const Node& node, const std::string& path,
                                                    Problems&);
std::optional<std::map<std::string, std::string>> readStringMap(const Node& node,
                                                                const std::string& path, Problems&);

/// A mapping of names to lists of text.
std::optional<std::map<std::string, std::vector<std::string>>> readStringLists(
    const Node& node, const std::string& path, Problems&);

/// A limit on a duration, in milliseconds. `min` and `max` as the message spells them.
struct DurationRange {
    std::int64_t min_ms;
    std::int64_t max_ms;
    std::string_view text;  ///< "more than 0 and at most 24h"
};
struct SizeRange {
    std::uint64_t min;
    std::uint64_t max;
    std::string_view text;  ///< "at least 6Mi"
};
std::optional<std::int64_t> readDuration(const Node& node, const std::string& path,
                                         const DurationRange& range, Problems&);
std::optional<std::uint64_t> readSize(const Node& node, const std::string& path,
                                      const SizeRange& range, Problems&);

/// Reads one mapping, field by field; what was not asked for until finish() is unknown. If the node
/// is no mapping, that is reported once and every field is missing. Node and problems must outlive
/// it.
class Reader {
  public:
    /// kStrict: any unknown field is an error and an explicit null is a wrong value. kLenient: an
    /// unknown field is an error only within edit distance 2 of a known one, else a warning; null
    /// counts as missing.
    enum class Unknown : std::uint8_t { kLenient, kStrict };

    Reader(const Node& node, std::string path, Problems& problems, Unknown unknown);

    const Node* get(std::string_view key);
    /// The same for an older spelling: a warning says what to write today.
    const Node* older(std::string_view key, std::string_view today);

    bool string(std::string_view key, std::string& out);
    bool boolean(std::string_view key, bool& out);
    bool integer(std::string_view key, int& out, std::int64_t min, std::int64_t max);
    bool integer(std::string_view key, std::int64_t& out, std::int64_t min, std::int64_t max);
    bool number(std::string_view key, double& out, double min, double max);
    bool number(std::string_view key, std::optional<double>& out, double min, double max);
    bool duration(std::string_view key, std::int64_t& out, const DurationRange& range);
    bool size(std::string_view key, std::uint64_t& out, const SizeRange& range);
    bool strings(std::string_view key, std::vector<std::string>& out);
    bool stringMap(std::string_view key, std::map<std::string, std::string>& out);

    /// One of a few words.
    template <class E>
    bool choice(std::string_view key, E& out,
                std::span<const std::pair<std::string_view, E>> table) {
        const Node* node = get(key);
        if (!node) return false;
        std::vector<std::string> words;
        for (const auto& [word, value] : table) {
            if (node->isScalar() && node->scalar == word) {
                out = value;
                return true;
            }
            words.emplace_back(word);
        }
        notAChoice(key, *node, words);
        return false;
    }

    /// An error at the mapping itself if `key` is missing. "is required (expected <what>)".
    bool require(std::string_view key, std::string_view what);
    bool has(std::string_view key) const;

    std::string path(std::string_view key) const;
    const std::string& path() const { return path_; }
    const Node& node() const { return node_; }
    Problems& problems() { return problems_; }
    /// At the field's value, or at the mapping if the field is missing.
    void error(std::string_view key, std::string message);
    void warning(std::string_view key, std::string message);
    /// At the mapping.
    void error(std::string message);

    /// Reports unknown fields. Call last.
    void finish();

  private:
    void notAChoice(std::string_view key, const Node& node, const std::vector<std::string>& words);

    const Node& node_;
    std::string path_;
    Problems& problems_;
    Unknown unknown_;
    std::vector<std::string> known_;
};

/// "a.b" or "b" when `parent` is empty.
std::string childPath(const std::string& parent, std::string_view key);
/// "a[3]".
std::string itemPath(const std::string& parent, std::size_t index);

}  // namespace aegis::yaml
