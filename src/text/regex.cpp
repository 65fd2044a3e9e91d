#include "text/regex.h"

#include <fmt/format.h>
#include <re2/re2.h>

#include "text/escape.h"
#include "text/json.h"

namespace aegis::text {
namespace {

constexpr std::size_t kShownPatternBytes = 200;

Error invalid(std::string_view pattern, std::size_t offset, std::string_view what) {
    int column = 1;
    for (std::size_t i = 0; i < std::min(offset, pattern.size()); ++i)
        column += (static_cast<unsigned char>(pattern[i]) & 0xc0) != 0x80;
    Error error(ErrorCode::kInvalid,
                fmt::format("invalid regular expression '{}' at character {}: {}",
                            shorten(pattern, kShownPatternBytes), column, what));
    error.details.push_back({"", "", 1, column, std::string(what)});
    return error;
}

std::unique_ptr<re2::RE2> build(std::string_view pattern, const RegexOptions& options,
                                re2::RE2::Options::Encoding encoding) {
    re2::RE2::Options re2_options;
    re2_options.set_log_errors(false);
    re2_options.set_never_capture(true);
    re2_options.set_max_mem(options.max_memory_bytes);
    re2_options.set_encoding(encoding);
    return std::make_unique<re2::RE2>(re2::StringPiece(pattern.data(), pattern.size()),
                                      re2_options);
}

bool matches(const re2::RE2& re, std::string_view text) {
    return re.Match({text.data(), text.size()}, 0, text.size(), re2::RE2::UNANCHORED, nullptr, 0);
}

}  // namespace

Result<Regex> Regex::compile(std::string_view pattern, RegexOptions options) {
    if (pattern.size() > options.max_pattern_bytes)
        return Error(ErrorCode::kTooLarge, fmt::format("regular expression longer than {} bytes",
                                                       options.max_pattern_bytes));
    if (!json::isUtf8(pattern)) return invalid(pattern, 0, "not UTF-8");
    auto utf8 = build(pattern, options, re2::RE2::Options::EncodingUTF8);
    if (!utf8->ok()) {
        std::size_t at = utf8->error_arg().empty() ? 0 : pattern.find(utf8->error_arg());
        return invalid(pattern, at == pattern.npos ? 0 : at, utf8->error());
    }
    Regex regex;
    regex.pattern_ = pattern;
    regex.utf8_ = std::move(utf8);
    auto latin1 = build(pattern, options, re2::RE2::Options::EncodingLatin1);
    if (latin1->ok()) regex.latin1_ = std::move(latin1);
    return regex;
}

Result<Regex> Regex::compileEcma(std::string_view pattern, RegexOptions options) {
    if (pattern.size() > options.max_pattern_bytes || !json::isUtf8(pattern))
        return compile(pattern, options);
    AEGIS_TRY(std::string translated, ecmaToRe2(pattern));
    options.max_pattern_bytes = translated.size();
    auto regex = compile(translated, options);
    if (!regex) {
        std::string what = regex.error().details.empty() ? regex.error().message
                                                         : regex.error().details[0].message;
        return invalid(pattern, 0, what);
    }
    regex->pattern_ = pattern;
    return regex;
}

bool Regex::search(std::string_view text) const {
    if (json::isUtf8(text)) return matches(*utf8_, text);
    return latin1_ ? matches(*latin1_, text) : matches(*utf8_, json::toUtf8(text));
}

namespace {

// ECMA-262 WhiteSpace and LineTerminator, and everything else, as members of a class.
constexpr std::string_view kSpace =
    R"(\t\n\v\f\r \x{a0}\x{1680}\x{2000}-\x{200a}\x{2028}\x{2029}\x{202f}\x{205f}\x{3000}\x{feff})";
constexpr std::string_view kNoSpace =
    R"(\x00-\x08\x0e-\x1f!-\x{9f}\x{a1}-\x{167f}\x{1681}-\x{1fff}\x{200b}-\x{2027}\x{202a}-\x{202e})"
    R"(\x{2030}-\x{205e}\x{2060}-\x{2fff}\x{3001}-\x{fefe}\x{ff00}-\x{10ffff})";

class EcmaTranslator {
  public:
    explicit EcmaTranslator(std::string_view pattern) : in_(pattern) {}

    Result<std::string> run() {
        while (at_ < in_.size()) {
            char c = in_[at_];
            if (c == '\\') {
                AEGIS_CHECK(escape());
            } else if (in_class_) {
                classMember(c);
            } else if (c == '[') {
                openClass();
            } else if (c == '(') {
                AEGIS_CHECK(group());
            } else {
                out_ +=
                    c == '.' ? std::string_view(R"([^\n\r\x{2028}\x{2029}])") : in_.substr(at_, 1);
                ++at_;
            }
        }
        return std::move(out_);
    }

  private:
    bool next(std::string_view s) const { return in_.substr(at_).starts_with(s); }
    Error bad(std::string_view what) const { return invalid(in_, at_, what); }
    void emit(std::string_view s, std::size_t consumed) {
        out_ += s;
        at_ += consumed;
    }

    void openClass() {
        if (next("[^]")) return emit(R"([\x00-\x{10ffff}])", 3);
        if (next("[]")) return emit(R"([^\x00-\x{10ffff}])", 2);
        in_class_ = true;
        emit(next("[^") ? "[^" : "[", next("[^") ? 2 : 1);
    }

    void classMember(char c) {
        in_class_ = c != ']';
        emit(c == '[' ? std::string_view("\\[") : in_.substr(at_, 1), 1);
    }

    Status group() {
        if (next("(?=") || next("(?!")) return bad("lookahead is not supported");
        if (next("(?<=") || next("(?<!")) return bad("lookbehind is not supported");
        if (next("(?<"))
            emit("(?P<", 3);
        else
            emit("(", 1);
        return {};
    }

    Status escape() {
        if (at_ + 1 >= in_.size()) return bad("a backslash at the end");
        char c = in_[at_ + 1];
        switch (c) {
            case 's':
            case 'S':
                shorthand(c == 's' ? kSpace : kNoSpace);
                return {};
            case 'b':
                emit(in_class_ ? R"(\x08)" : R"(\b)", 2);
                return {};
            case 'u':
                return codePoint();
            case 'c':
                return control();
            case '0':
                emit(R"(\x00)", 2);
                return {};
            case 'k':
                return bad("a backreference is not supported");
            case 'd':
            case 'D':
            case 'w':
            case 'W':
            case 'B':
            case 't':
            case 'n':
            case 'v':
            case 'f':
            case 'r':
            case 'x':
            case 'p':
            case 'P':
                emit(in_.substr(at_, 2), 2);
                return {};
            default:
                break;
        }
        if (c >= '1' && c <= '9') return bad("a backreference is not supported");
        if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'))
            return bad(fmt::format("\\{} is no escape of ECMA-262", c));
        if (static_cast<unsigned char>(c) >= 0x80 || c == '_')
            emit("", 1);  // the character itself follows
        else
            emit(in_.substr(at_, 2), 2);
        return {};
    }

    void shorthand(std::string_view members) {
        if (!in_class_) out_ += '[';
        emit(members, 2);
        if (!in_class_) out_ += ']';
    }

    Status control() {
        char c = at_ + 2 < in_.size() ? in_[at_ + 2] : '\0';
        bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
        if (!letter) return bad("\\c needs a letter");
        emit(fmt::format("\\x{:02x}", c & 0x1f), 3);
        return {};
    }

    // Four hex digits at `at`, or -1.
    int hex4(std::size_t at) const {
        if (at + 4 > in_.size()) return -1;
        int value = 0;
        for (char c : in_.substr(at, 4)) {
            int digit = c >= '0' && c <= '9'   ? c - '0'
                        : c >= 'a' && c <= 'f' ? c - 'a' + 10
                        : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                               : -1;
            if (digit < 0) return -1;
            value = value * 16 + digit;
        }
        return value;
    }

    Status codePoint() {
        if (next("\\u{")) {
            emit("\\x{", 3);
            return {};
        }
        int unit = hex4(at_ + 2);
        if (unit < 0) return bad("\\u needs four hexadecimal digits");
        std::size_t length = 6;
        if (unit >= 0xd800 && unit < 0xdc00 && in_.substr(at_ + 6).starts_with("\\u")) {
            int low = hex4(at_ + 8);
            if (low >= 0xdc00 && low < 0xe000) {
                unit = 0x10000 + ((unit - 0xd800) << 10) + (low - 0xdc00);
                length = 12;
            }
        }
        emit(fmt::format("\\x{{{:x}}}", unit), length);
        return {};
    }

    std::string_view in_;
    std::string out_;
    std::size_t at_ = 0;
    bool in_class_ = false;
};

}  // namespace

Result<std::string> ecmaToRe2(std::string_view pattern) { return EcmaTranslator(pattern).run(); }

}  // namespace aegis::text
