#include <fmt/format.h>

#include <charconv>

#include "text/escape.h"
#include "text/template.h"
#include "text/template_tree.h"

namespace aegis::text::template_detail {
namespace {

constexpr std::size_t kShownBytes = 60;

bool isDigit(char c) { return c >= '0' && c <= '9'; }

bool isNameStart(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || c == '$' ||
           static_cast<unsigned char>(c) >= 0x80;
}

bool isNamePart(char c) { return isNameStart(c) || isDigit(c); }

// A name may hold dashes, as keys of JSON do, but only before a letter: `{{x-}}` strips white space
// and `n-1` looks like arithmetic, which must not pass for an unknown variable.
std::size_t nameLength(std::string_view s) {
    if (s.empty() || !isNameStart(s[0])) return 0;
    std::size_t n = 1;
    while (n < s.size() &&
           (isNamePart(s[n]) || (s[n] == '-' && n + 1 < s.size() && isNameStart(s[n + 1]))))
        ++n;
    return n;
}

bool isLiteralWord(std::string_view word) {
    for (std::string_view w : {"true", "True", "false", "False", "null", "none", "None"}) {
        if (word == w) return true;
    }
    return false;
}

}  // namespace

struct TagReader::Deeper {
    explicit Deeper(int& depth) : depth_(++depth) {}
    ~Deeper() { --depth_; }
    Deeper(const Deeper&) = delete;
    Deeper& operator=(const Deeper&) = delete;
    int& depth_;
};

Error TagReader::error(std::string what, std::string hint) {
    skipSpace();
    return errorAt(text_, base_ + at_, std::move(what), std::move(hint));
}

void TagReader::skipSpace() {
    while (at_ < body_.size() && std::string_view(" \t\r\n\v\f").contains(body_[at_]))
        ++at_;
}

bool TagReader::atEnd() {
    skipSpace();
    return at_ == body_.size();
}

std::string_view TagReader::word() {
    skipSpace();
    return body_.substr(at_, nameLength(body_.substr(at_)));
}

bool TagReader::takeWord(std::string_view wanted) {
    if (word() != wanted) return false;
    at_ += wanted.size();
    return true;
}

bool TagReader::take(std::string_view symbol) {
    skipSpace();
    if (!body_.substr(at_).starts_with(symbol)) return false;
    at_ += symbol.size();
    return true;
}

bool TagReader::atPath() {
    skipSpace();
    if (at_ == body_.size()) return false;
    char c = body_[at_];
    return c == '@' || c == '.' || (isNameStart(c) && !isLiteralWord(word()));
}

Status TagReader::expectEnd() {
    if (atEnd()) return {};
    if (body_[at_] == '|') return error("filters are not supported");
    if (body_[at_] == '(') return error("calls are not supported");
    std::string_view next = word().empty() ? headUtf8(body_.substr(at_), 4) : word();
    next = next.substr(0, std::max<std::size_t>(json::utf8Length(next, 0), word().size()));
    return error(fmt::format("unexpected '{}'", shorten(next, kShownBytes)));
}

Status TagReader::data(Path& path) {
    std::string_view name = word();
    for (auto [known, root] : {std::pair{"index", Path::Root::kIndex},
                               {"key", Path::Root::kKey},
                               {"first", Path::Root::kFirst},
                               {"last", Path::Root::kLast},
                               {"root", Path::Root::kTop}}) {
        if (name == known) {
            path.root = root;
            at_ += name.size();
            return {};
        }
    }
    return error(fmt::format("unknown variable '@{}' (expected @index, @key, @first or @last)",
                             shorten(name, kShownBytes)));
}

Result<std::string> TagReader::part() {
    std::size_t n = nameLength(body_.substr(at_));
    if (n == 0) {
        while (at_ + n < body_.size() && isDigit(body_[at_ + n]))
            ++n;
    }
    if (n == 0 && take("[")) {
        std::size_t close = body_.find(']', at_);
        if (close == body_.npos) return error("expected ']'");
        std::string name(body_.substr(at_, close - at_));
        at_ = close + 1;
        return name;
    }
    if (n == 0) return error("expected a name after '.'");
    std::string name(body_.substr(at_, n));
    at_ += n;
    return name;
}

Status TagReader::parts(Path& path) {
    while (at_ < body_.size()) {
        if (body_[at_] == '.') {
            ++at_;
            AEGIS_TRY(std::string name, part());
            path.parts.push_back(std::move(name));
        } else if (body_[at_] == '[') {
            ++at_;
            skipSpace();
            bool quote = at_ < body_.size() && (body_[at_] == '"' || body_[at_] == '\'');
            if (!quote && !(at_ < body_.size() && isDigit(body_[at_])))
                return error("expected a quoted name or a number in [ ]");
            AEGIS_TRY(std::string name, quote ? quoted() : part());
            if (!take("]")) return error("expected ']'");
            path.parts.push_back(std::move(name));
        } else {
            break;
        }
    }
    return {};
}

Result<Path> TagReader::path() {
    Path path;
    if (!atPath()) return error("expected a variable");
    while (take("../")) {
        if (++path.parents > Template::kMaxDepth) return error("too many '../'");
    }
    if (take("@")) {
        AEGIS_CHECK(data(path));
    } else if (take("..")) {
        path.root = Path::Root::kThis;
        if (++path.parents > Template::kMaxDepth) return error("too many '../'");
    } else if (take("./")) {
        path.root = Path::Root::kThis;
        AEGIS_TRY(std::string name, part());
        path.parts.push_back(std::move(name));
    } else if (word() == "this") {
        path.root = Path::Root::kThis;
        at_ += 4;
    } else if (body_.substr(at_).starts_with('.')) {
        path.root = Path::Root::kThis;
        if (at_ + 1 < body_.size() && nameLength(body_.substr(at_ + 1)) > 0) {
            return error("expected a variable before '.'");
        }
        ++at_;
        return path;
    } else {
        std::string_view name = word();
        if (name.empty()) return error("expected a variable");
        path.parts.emplace_back(name);
        at_ += name.size();
    }
    AEGIS_CHECK(parts(path));
    return path;
}

Result<std::string> TagReader::quoted() {
    char quote = body_[at_];
    std::string out;
    for (std::size_t i = at_ + 1; i < body_.size(); ++i) {
        char c = body_[i];
        if (c == quote) {
            at_ = i + 1;
            return out;
        }
        if (c == '\\' && i + 1 < body_.size()) {
            c = body_[++i];
            c = c == 'n' ? '\n' : c == 't' ? '\t' : c == 'r' ? '\r' : c;
        }
        out += c;
    }
    return error("a string that is never closed");
}

Result<json::Value> TagReader::number() {
    std::string_view rest = body_.substr(at_);
    std::size_t n = rest[0] == '-' ? 1 : 0;
    while (n < rest.size() && (isNamePart(rest[n]) || rest[n] == '.' ||
                               ((rest[n] == '-' || rest[n] == '+') && (rest[n - 1] | 0x20) == 'e')))
        ++n;
    auto value = json::parse(rest.substr(0, n));
    if (!value || !value->is_number())
        return error(fmt::format("'{}' is no number", shorten(rest.substr(0, n), kShownBytes)));
    at_ += n;
    return std::move(*value);
}

Result<json::Value> TagReader::literal() {
    if (atEnd()) return error("expected a variable or a value");
    char c = body_[at_];
    if (c == '"' || c == '\'') {
        AEGIS_TRY(std::string text, quoted());
        return json::Value(boost::json::string(text.data(), text.size()));
    }
    if (isDigit(c) || (c == '-' && at_ + 1 < body_.size() && isDigit(body_[at_ + 1])))
        return number();
    std::string_view name = word();
    if (isLiteralWord(name)) {
        at_ += name.size();
        if (name[0] == 't' || name[0] == 'T') return json::Value(true);
        if (name[0] == 'f' || name[0] == 'F') return json::Value(false);
        return json::Value(nullptr);
    }
    return error(fmt::format("expected a variable or a value, not '{}'",
                             shorten(body_.substr(at_), kShownBytes)));
}

Result<Expression> TagReader::operand() {
    Expression out;
    if (atPath()) {
        std::string_view name = word();
        for (std::string_view keyword : {"and", "or", "not", "in", "is", "if", "else"}) {
            if (name == keyword)
                return error(fmt::format("expected a variable or a value, not '{}'", name));
        }
        out.kind = Expression::Kind::kPath;
        AEGIS_TRY(out.path, path());
        return out;
    }
    AEGIS_TRY(out.literal, literal());
    return out;
}

Result<Expression> TagReader::condition() {
    AEGIS_TRY(Expression out, disjunction());
    for (std::string_view keyword : {"is", "in", "if"}) {
        if (word() == keyword)
            return error(fmt::format("'{}' is not supported in conditions", keyword));
    }
    AEGIS_CHECK(expectEnd());
    return out;
}

Result<Expression> TagReader::chain(std::string_view joint, Expression::Kind kind,
                                    Result<Expression> (TagReader::*next)()) {
    AEGIS_TRY(Expression first, (this->*next)());
    if (word() != joint) return first;
    Expression out;
    out.kind = kind;
    out.operands.push_back(std::move(first));
    while (takeWord(joint)) {
        AEGIS_TRY(Expression more, (this->*next)());
        out.operands.push_back(std::move(more));
    }
    return out;
}

Result<Expression> TagReader::disjunction() {
    return chain("or", Expression::Kind::kOr, &TagReader::conjunction);
}

Result<Expression> TagReader::conjunction() {
    return chain("and", Expression::Kind::kAnd, &TagReader::negation);
}

Result<Expression> TagReader::negation() {
    Deeper deeper(depth_);
    if (depth_ > Template::kMaxDepth)
        return error(fmt::format("a condition nested deeper than {}", Template::kMaxDepth));
    if (!takeWord("not")) return comparison();
    Expression out;
    out.kind = Expression::Kind::kNot;
    AEGIS_TRY(Expression inner, negation());
    out.operands.push_back(std::move(inner));
    return out;
}

Result<Expression> TagReader::comparison() {
    auto side = [this]() -> Result<Expression> {
        if (!take("(")) return operand();
        AEGIS_TRY(Expression inner, disjunction());
        if (!take(")")) return error("expected ')'");
        return inner;
    };
    AEGIS_TRY(Expression left, side());
    using Compare = Expression::Compare;
    auto symbol = [this]() -> std::optional<Compare> {
        for (auto [text, compare] : {std::pair{"==", Compare::kEqual},
                                     {"!=", Compare::kNotEqual},
                                     {"<=", Compare::kLessEqual},
                                     {">=", Compare::kGreaterEqual},
                                     {"<", Compare::kLess},
                                     {">", Compare::kGreater}}) {
            if (take(text)) return compare;
        }
        return std::nullopt;
    };
    auto compare = symbol();
    if (!compare) return left;
    Expression out;
    out.kind = Expression::Kind::kCompare;
    out.compare = *compare;
    out.operands.push_back(std::move(left));
    AEGIS_TRY(Expression right, side());
    out.operands.push_back(std::move(right));
    std::size_t here = at_;
    if (symbol()) {
        at_ = here;
        return error("comparisons cannot be chained");
    }
    return out;
}

}  // namespace aegis::text::template_detail
