#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "base/result.h"

namespace re2 {
class RE2;
}

namespace aegis::text {

struct RegexOptions {
    std::int64_t max_memory_bytes = 8 << 20;  ///< of the compiled program and its caches
    std::size_t max_pattern_bytes = 64 << 10;
};

/// A regular expression in RE2 syntax (https://github.com/google/re2/wiki/Syntax): time linear in
/// the text, memory bounded. `.` does not match a newline; `^` and `$` are the text's ends unless
/// (?m). Immutable, copyable (copies share the program), usable from any thread at once.
class Regex {
  public:
    /// kInvalid with the offending part and its 1-based character in details[0].column.
    static Result<Regex> compile(std::string_view pattern, RegexOptions options = {});

    /// The same for ECMA-262 syntax, as JSON Schema uses it: its escapes and classes are rewritten
    /// to RE2's; lookaround and backreferences, which RE2 cannot do, are errors that name the
    /// pattern.
    static Result<Regex> compileEcma(std::string_view pattern, RegexOptions options = {});

    /// Whether it matches anywhere. Text that is not UTF-8 is matched byte by byte, as Latin-1.
    bool search(std::string_view text) const;

    /// As the user wrote it.
    const std::string& pattern() const { return pattern_; }

  private:
    Regex() = default;

    std::string pattern_;
    // Shared between copies: a compiled program is immutable and costs far more than a copy should.
    std::shared_ptr<const re2::RE2> utf8_;
    std::shared_ptr<const re2::RE2> latin1_;  // null if the pattern names characters beyond U+00FF
};

/// `pattern`, which is in ECMA-262 syntax, in RE2's.
Result<std::string> ecmaToRe2(std::string_view pattern);

}  // namespace aegis::text
