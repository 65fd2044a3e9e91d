#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/result.h"
#include "text/json.h"

// The inside of text/template.h: the scanner's pieces and the tree. Not for other rooms.
namespace aegis::text::template_detail {

/// An error at `offset` of `text`, with 1-based line and column.
Error errorAt(std::string_view text, std::size_t offset, std::string what, std::string hint = {});

struct Piece {
    enum class Kind : std::uint8_t { kText, kMustache, kBlock, kComment };
    Kind kind = Kind::kText;
    std::size_t begin = 0;  ///< of the tag, in the template
    std::size_t end = 0;
    std::string_view body;  ///< the text itself, or what is between the delimiters
    bool triple = false;
    bool strip_before = false;
    bool strip_after = false;

    /// Whether it may have a line to itself: not for what prints a value.
    bool standsAlone() const;
};

/// Cuts a template into text and tags and settles all white space: markers and lines of their own.
Result<std::vector<Piece>> scan(std::string_view text);

struct Path {
    enum class Root : std::uint8_t { kName, kThis, kIndex, kKey, kFirst, kLast, kTop };
    Root root = Root::kName;
    std::uint8_t parents = 0;        ///< how many ../
    std::vector<std::string> parts;  ///< for kName the first is the variable
};

struct Expression {
    enum class Kind : std::uint8_t { kPath, kLiteral, kNot, kAnd, kOr, kCompare };
    enum class Compare : std::uint8_t {
        kEqual,
        kNotEqual,
        kLess,
        kLessEqual,
        kGreater,
        kGreaterEqual
    };
    Kind kind = Kind::kLiteral;
    Compare compare = Compare::kEqual;
    Path path;
    json::Value literal;
    std::vector<Expression> operands;
};

struct Node;
struct Body {
    std::vector<Node> nodes;
};

struct Text {
    std::string_view text;
};
struct Print {
    Path path;
};
struct Branch {
    Expression condition;
    Body body;
};
struct If {
    std::vector<Branch> branches;
    Body otherwise;
};
struct Loop {
    std::string variable;  ///< of {% for %}; empty for {{#each}}
    Path over;
    Body body;
    Body otherwise;
};
struct Node {
    std::variant<Text, Print, std::unique_ptr<If>, std::unique_ptr<Loop>> what;
};

/// Reads the inside of one tag. All errors are positions in the template.
class TagReader {
  public:
    TagReader(std::string_view text, std::string_view body)
        : text_(text), body_(body), base_(static_cast<std::size_t>(body.data() - text.data())) {}

    bool atEnd();
    /// Takes `word` if a whole word with that spelling is next.
    bool takeWord(std::string_view word);
    bool take(std::string_view symbol);
    /// Whether the next thing starts a path.
    bool atPath();
    std::string_view word();
    Result<Path> path();
    /// A Jinja condition.
    Result<Expression> condition();
    /// A path or a literal: the argument of {{#if}}.
    Result<Expression> operand();
    Status expectEnd();
    Error error(std::string what, std::string hint = {});

  private:
    struct Deeper;
    void skipSpace();
    Result<Expression> disjunction();
    Result<Expression> conjunction();
    Result<Expression> negation();
    Result<Expression> comparison();
    Result<Expression> chain(std::string_view word, Expression::Kind kind,
                             Result<Expression> (TagReader::*next)());
    Result<json::Value> literal();
    Result<json::Value> number();
    Result<std::string> quoted();
    Result<std::string> part();
    Status parts(Path& path);
    Status data(Path& path);

    std::string_view text_;
    std::string_view body_;
    std::size_t base_;
    std::size_t at_ = 0;
    int depth_ = 0;
};

}  // namespace aegis::text::template_detail
