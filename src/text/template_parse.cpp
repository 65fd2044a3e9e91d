#include <fmt/format.h>

#include "text/escape.h"
#include "text/template.h"
#include "text/template_tree.h"

namespace aegis::text {
namespace template_detail {
namespace {

constexpr std::size_t kShownBytes = 60;

// One block that is open. `body` is where nodes go now.
struct Open {
    enum class Kind : std::uint8_t { kIf, kUnless, kEach, kJinjaIf, kJinjaFor };
    Kind kind = Kind::kIf;
    std::size_t begin = 0;  // of the opening tag
    Body* body = nullptr;
    If* branches = nullptr;
    Loop* loop = nullptr;
    bool has_else = false;
};

std::string_view closingTag(Open::Kind kind) {
    switch (kind) {
        case Open::Kind::kIf:
            return "{{/if}}";
        case Open::Kind::kUnless:
            return "{{/unless}}";
        case Open::Kind::kEach:
            return "{{/each}}";
        case Open::Kind::kJinjaIf:
            return "{% endif %}";
        case Open::Kind::kJinjaFor:
            return "{% endfor %}";
    }
    return {};
}

class Builder {
  public:
    explicit Builder(std::string_view text) : text_(text) {}

    Result<Body> run() {
        AEGIS_TRY(std::vector<Piece> pieces, scan(text_));
        for (const Piece& piece : pieces)
            AEGIS_CHECK(add(piece));
        if (!open_.empty())
            return errorAt(text_, open_.back().begin,
                           fmt::format("a block that is never closed with '{}'",
                                       closingTag(open_.back().kind)));
        return std::move(root_);
    }

  private:
    Body& here() { return open_.empty() ? root_ : *open_.back().body; }

    Status add(const Piece& piece) {
        switch (piece.kind) {
            case Piece::Kind::kText:
                if (!piece.body.empty()) here().nodes.push_back({Text{piece.body}});
                return {};
            case Piece::Kind::kComment:
                return {};
            case Piece::Kind::kBlock:
                return jinja(piece);
            case Piece::Kind::kMustache:
                return mustache(piece);
        }
        return {};
    }

    Status mustache(const Piece& piece) {
        TagReader reader(text_, piece.body);
        if (!piece.triple) {
            if (reader.take("#")) return openMustache(piece, reader);
            if (reader.take("/")) return closeMustache(piece, reader);
            if (reader.take(">")) return errorAt(text_, piece.begin, "partials are not supported");
            if (reader.take("^")) {
                if (!reader.atEnd()) return errorAt(text_, piece.begin, "unknown tag '{{^'");
                return otherwise(piece, false);
            }
            if (reader.takeWord("else")) return elseMustache(piece, reader);
            reader.take("&");
        }
        if (reader.atEnd()) return errorAt(text_, piece.begin, "an empty tag");
        std::string name(shorten(reader.word(), kShownBytes));
        AEGIS_TRY(Path path, reader.path());
        bool argument = reader.atPath() || reader.take("\"") || reader.take("'");
        if (argument && !name.empty())
            return errorAt(text_, piece.begin, fmt::format("unknown helper '{}'", name));
        AEGIS_CHECK(reader.expectEnd());
        here().nodes.push_back({Print{std::move(path)}});
        return {};
    }

    Status push(Open open) {
        if (open_.size() >= static_cast<std::size_t>(Template::kMaxDepth))
            return errorAt(text_, open.begin,
                           fmt::format("blocks nested deeper than {}", Template::kMaxDepth));
        open_.push_back(open);
        return {};
    }

    Status openIf(const Piece& piece, Open::Kind kind, Expression condition) {
        auto node = std::make_unique<If>();
        node->branches.push_back({std::move(condition), {}});
        Open open{kind, piece.begin, &node->branches.back().body, node.get(), nullptr, false};
        here().nodes.push_back({std::move(node)});
        return push(open);
    }

    Status openLoop(const Piece& piece, Open::Kind kind, std::string variable, Path over) {
        auto node = std::make_unique<Loop>();
        node->variable = std::move(variable);
        node->over = std::move(over);
        Open open{kind, piece.begin, &node->body, nullptr, node.get(), false};
        here().nodes.push_back({std::move(node)});
        return push(open);
    }

    Status openMustache(const Piece& piece, TagReader& reader) {
        std::string name(shorten(reader.word(), kShownBytes));
        if (reader.takeWord("if") || reader.takeWord("unless")) {
            AEGIS_TRY(Expression condition, argument(reader));
            if (name == "if") return openIf(piece, Open::Kind::kIf, std::move(condition));
            Expression negated;
            negated.kind = Expression::Kind::kNot;
            negated.operands.push_back(std::move(condition));
            return openIf(piece, Open::Kind::kUnless, std::move(negated));
        }
        if (reader.takeWord("each")) {
            AEGIS_TRY(Path over, reader.path());
            AEGIS_CHECK(reader.expectEnd());
            return openLoop(piece, Open::Kind::kEach, "", std::move(over));
        }
        return errorAt(text_, piece.begin,
                       fmt::format("unknown block '#{}' (expected #if, #unless or #each)", name));
    }

    Result<Expression> argument(TagReader& reader) {
        AEGIS_TRY(Expression condition, reader.operand());
        if (!reader.atEnd() && reader.atPath())
            return reader.error("one argument is expected here",
                                "conditions with and, or, not go into {% if %}");
        AEGIS_CHECK(reader.expectEnd());
        return condition;
    }

    Status elseMustache(const Piece& piece, TagReader& reader) {
        if (reader.atEnd()) return otherwise(piece, false);
        if (!reader.takeWord("if")) return reader.error("expected '{{else}}' or '{{else if x}}'");
        AEGIS_TRY(Expression condition, argument(reader));
        return branch(piece, std::move(condition), false);
    }

    static bool isJinja(Open::Kind kind) {
        return kind == Open::Kind::kJinjaIf || kind == Open::Kind::kJinjaFor;
    }

    Error stray(const Piece& piece, std::string_view tag) {
        if (open_.empty())
            return errorAt(text_, piece.begin, fmt::format("'{}' without an open block", tag));
        int line = errorAt(text_, open_.back().begin, "").details[0].line;
        return errorAt(text_, piece.begin,
                       fmt::format("'{}' where '{}' is expected (the block opened on line {})", tag,
                                   closingTag(open_.back().kind), line));
    }

    Status otherwise(const Piece& piece, bool jinja_tag) {
        std::string_view tag = jinja_tag ? "{% else %}" : "{{else}}";
        if (open_.empty() || isJinja(open_.back().kind) != jinja_tag) return stray(piece, tag);
        Open& open = open_.back();
        if (open.has_else) return errorAt(text_, piece.begin, fmt::format("a second '{}'", tag));
        open.has_else = true;
        open.body = open.loop != nullptr ? &open.loop->otherwise : &open.branches->otherwise;
        return {};
    }

    Status branch(const Piece& piece, Expression condition, bool jinja_tag) {
        std::string_view tag = jinja_tag ? "{% elif %}" : "{{else if}}";
        if (open_.empty() || isJinja(open_.back().kind) != jinja_tag) return stray(piece, tag);
        Open& open = open_.back();
        if (open.branches == nullptr) return stray(piece, tag);
        if (open.has_else)
            return errorAt(text_, piece.begin, fmt::format("'{}' after an else", tag));
        open.branches->branches.push_back({std::move(condition), {}});
        open.body = &open.branches->branches.back().body;
        return {};
    }

    Status closeMustache(const Piece& piece, TagReader& reader) {
        std::string tag = fmt::format("{{{{/{}}}}}", shorten(reader.word(), kShownBytes));
        if (open_.empty() || closingTag(open_.back().kind) != tag) return stray(piece, tag);
        reader.takeWord(reader.word());
        AEGIS_CHECK(reader.expectEnd());
        open_.pop_back();
        return {};
    }

    Status jinja(const Piece& piece) {
        TagReader reader(text_, piece.body);
        std::string name(shorten(reader.word(), kShownBytes));
        reader.takeWord(reader.word());
        if (name == "if" || name == "elif") {
            AEGIS_TRY(Expression condition, reader.condition());
            return name == "if" ? openIf(piece, Open::Kind::kJinjaIf, std::move(condition))
                                : branch(piece, std::move(condition), true);
        }
        if (name == "for") return openFor(piece, reader);
        if (name == "else") {
            if (reader.takeWord("if")) return reader.error("expected '{% elif %}'");
            AEGIS_CHECK(reader.expectEnd());
            return otherwise(piece, true);
        }
        if (name == "endif" || name == "endfor") {
            std::string tag = fmt::format("{{% {} %}}", name);
            if (open_.empty() || closingTag(open_.back().kind) != tag) return stray(piece, tag);
            AEGIS_CHECK(reader.expectEnd());
            open_.pop_back();
            return {};
        }
        return errorAt(
            text_, piece.begin,
            fmt::format("unknown tag '{{% {} %}}' (expected if, elif, else, endif, for or "
                        "endfor)",
                        name));
    }

    Status openFor(const Piece& piece, TagReader& reader) {
        std::string variable(reader.word());
        if (variable.empty() || variable == "in" || !reader.atPath())
            return reader.error("expected a name: {% for name in list %}");
        reader.takeWord(variable);
        if (reader.take(",")) return reader.error("a loop has one variable");
        if (!reader.takeWord("in")) return reader.error("expected 'in'");
        AEGIS_TRY(Path over, reader.path());
        AEGIS_CHECK(reader.expectEnd());
        return openLoop(piece, Open::Kind::kJinjaFor, std::move(variable), std::move(over));
    }

    std::string_view text_;
    Body root_;
    std::vector<Open> open_;
};

bool mentions(const Path& path, std::string_view variable) {
    bool item = path.root == Path::Root::kName || path.root == Path::Root::kThis ||
                path.root == Path::Root::kTop;
    return item && !path.parts.empty() && path.parts[0] == variable;
}

bool mentions(const Expression& expression, std::string_view variable) {
    if (expression.kind == Expression::Kind::kPath) return mentions(expression.path, variable);
    for (const Expression& operand : expression.operands) {
        if (mentions(operand, variable)) return true;
    }
    return false;
}

bool mentions(const Body& body, std::string_view variable) {
    for (const Node& node : body.nodes) {
        if (const auto* print = std::get_if<Print>(&node.what)) {
            if (mentions(print->path, variable)) return true;
        } else if (const auto* choice = std::get_if<std::unique_ptr<If>>(&node.what)) {
            for (const Branch& branch : (*choice)->branches) {
                if (mentions(branch.condition, variable) || mentions(branch.body, variable))
                    return true;
            }
            if (mentions((*choice)->otherwise, variable)) return true;
        } else if (const auto* loop = std::get_if<std::unique_ptr<Loop>>(&node.what)) {
            if (mentions((*loop)->over, variable) || mentions((*loop)->body, variable) ||
                mentions((*loop)->otherwise, variable))
                return true;
        }
    }
    return false;
}

}  // namespace
}  // namespace template_detail

Result<Template> Template::parse(std::string_view text) {
    if (text.size() > kMaxTextBytes)
        return Error(ErrorCode::kTooLarge,
                     fmt::format("a template longer than {} bytes", kMaxTextBytes));
    Template result;
    result.text_ = std::make_shared<const std::string>(text);
    AEGIS_TRY(template_detail::Body root, template_detail::Builder(*result.text_).run());
    result.root_ = std::make_shared<const template_detail::Body>(std::move(root));
    return result;
}

bool Template::mentions(std::string_view variable) const {
    return template_detail::mentions(*root_, variable);
}

}  // namespace aegis::text
