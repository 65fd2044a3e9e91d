#include <fmt/format.h>

#include <algorithm>

#include "text/template_tree.h"

namespace aegis::text::template_detail {
namespace {

constexpr std::string_view kBlank = " \t";
constexpr std::string_view kSpace = " \t\r\n\v\f";

std::string_view trimEnd(std::string_view s, std::string_view set) {
    return s.substr(0, s.find_last_not_of(set) + 1);
}

std::string_view trimStart(std::string_view s, std::string_view set) {
    std::size_t at = s.find_first_not_of(set);
    return s.substr(at == s.npos ? s.size() : at);
}

class Scanner {
  public:
    explicit Scanner(std::string_view text) : text_(text) {}

    Result<std::vector<Piece>> run() {
        std::size_t begin = 0;
        while (true) {
            std::size_t open = text_.find('{', at_);
            if (open == text_.npos || open + 1 >= text_.size()) break;
            char next = text_[open + 1];
            at_ = open + 1;
            if (next != '{' && next != '%' && next != '#') continue;
            std::size_t slashes = 0;
            while (slashes < open - begin && text_[open - slashes - 1] == '\\')
                ++slashes;
            if (slashes > 0) {
                // A backslash makes the tag literal, two of them print one before a real tag.
                addText(begin, open - 1);
                begin = open;
                if (slashes == 1) {
                    at_ = open + 2;
                    continue;
                }
            }
            addText(begin, open);
            AEGIS_CHECK(tag(open));
            begin = at_;
        }
        addText(begin, text_.size());
        dropOwnLines();
        applyMarkers();
        return std::move(pieces_);
    }

  private:
    void addText(std::size_t begin, std::size_t end) {
        if (begin >= end) return;
        Piece piece;
        piece.begin = begin;
        piece.end = end;
        piece.body = text_.substr(begin, end - begin);
        pieces_.push_back(piece);
    }

    Status tag(std::size_t open) {
        Piece piece;
        piece.begin = open;
        std::string_view rest = text_.substr(open);
        if (rest.starts_with("{#")) return comment(piece, open + 2, "#}");
        std::size_t inside = open + 2;
        if (rest.starts_with("{{{{"))
            return errorAt(text_, open, "raw blocks {{{{ are not supported");
        piece.kind = rest.starts_with("{%") ? Piece::Kind::kBlock : Piece::Kind::kMustache;
        piece.triple = rest.starts_with("{{{");
        if (piece.triple) ++inside;
        char marker = inside < text_.size() ? text_[inside] : '\0';
        bool tilde = marker == '~' && piece.kind == Piece::Kind::kMustache;
        if (!piece.triple && (tilde || marker == '-')) {
            piece.strip_before = true;
            ++inside;
        }
        if (piece.kind == Piece::Kind::kMustache && !piece.triple &&
            text_.substr(inside).starts_with("!"))
            return comment(piece, inside, text_.substr(inside).starts_with("!--") ? "--}}" : "}}");
        std::string_view close = piece.triple                           ? "}}}"
                                 : piece.kind == Piece::Kind::kMustache ? "}}"
                                                                        : "%}";
        std::size_t end = findClose(inside, close);
        if (end == text_.npos)
            return errorAt(text_, open, fmt::format("a tag that is never closed with '{}'", close),
                           "write \\{ for a brace that is meant as text");
        finish(piece, inside, end, close.size());
        return {};
    }

    Status comment(Piece piece, std::size_t inside, std::string_view close) {
        piece.kind = Piece::Kind::kComment;
        if (close == "#}" && text_.substr(inside).starts_with("-")) piece.strip_before = true;
        std::size_t end = text_.find(close, inside);
        if (close == "--}}") {
            inside += 3;
            end = text_.find("--", inside);
            while (end != text_.npos && !text_.substr(end + 2).starts_with("}}") &&
                   !text_.substr(end + 2).starts_with("~}}"))
                end = text_.find("--", end + 1);
            if (end != text_.npos) {
                end += 2;
                close = "}}";
                if (text_[end] == '~') ++end;
            }
        }
        if (end == text_.npos)
            return errorAt(text_, piece.begin,
                           fmt::format("a comment that is never closed with '{}'", close),
                           "write \\{ for a brace that is meant as text");
        finish(piece, inside, end, close.size());
        return {};
    }

    void finish(Piece piece, std::size_t inside, std::size_t end, std::size_t close_size) {
        at_ = piece.end = end + close_size;
        char marker = end > inside ? text_[end - 1] : '\0';
        bool mustache = text_[piece.begin + 1] == '{';
        bool dash = marker == '-' && (!mustache || piece.kind != Piece::Kind::kComment);
        if (!piece.triple && ((mustache && marker == '~') || dash)) {
            piece.strip_after = true;
            --end;
        }
        piece.body = text_.substr(inside, end - inside);
        pieces_.push_back(piece);
    }

    // The end of the tag, not counting what is inside a string. A string ends on its line; a quote
    // that does not is no string, and an error for whoever reads the tag.
    std::size_t findClose(std::size_t from, std::string_view close) const {
        std::size_t no_string_before = from;
        for (std::size_t i = from; i < text_.size(); ++i) {
            if (text_.substr(i).starts_with(close)) return i;
            if ((text_[i] != '"' && text_[i] != '\'') || i < no_string_before) continue;
            std::size_t j = i + 1;
            while (j < text_.size() && text_[j] != '\n' && text_[j] != text_[i])
                j += text_[j] == '\\' ? 2 : 1;
            if (j < text_.size() && text_[j] == text_[i])
                i = j;
            else
                no_string_before = j;
        }
        return text_.npos;
    }

    bool isText(std::size_t i) const { return pieces_[i].kind == Piece::Kind::kText; }

    bool blankText(std::size_t i) const {
        return isText(i) && pieces_[i].body.find_first_not_of(kBlank) == std::string_view::npos;
    }

    // Whether the line before piece `i` holds nothing but white space.
    bool startsLine(std::size_t i) const {
        if (i == 0) return true;
        if (!isText(i - 1)) return false;
        std::string_view before = trimEnd(pieces_[i - 1].body, kBlank);
        return before.empty() ? i == 1 : before.ends_with('\n');
    }

    bool endsLine(std::size_t i) const {
        if (i + 1 == pieces_.size()) return true;
        if (!isText(i + 1)) return false;
        std::string_view after = trimStart(pieces_[i + 1].body, kBlank);
        return after.empty() ? i + 2 == pieces_.size()
                             : after.starts_with('\n') || after.starts_with("\r\n");
    }

    // Removes the lines that hold only block tags, comments and white space.
    void dropOwnLines() {
        for (std::size_t first = 0; first < pieces_.size(); ++first) {
            if (!pieces_[first].standsAlone()) continue;
            std::size_t last = first;
            for (std::size_t i = first + 1; i < pieces_.size(); ++i) {
                if (pieces_[i].standsAlone())
                    last = i;
                else if (!blankText(i))
                    break;
            }
            if (startsLine(first) && endsLine(last)) dropLine(first, last);
            first = last;
        }
    }

    void dropLine(std::size_t first, std::size_t last) {
        if (first > 0) pieces_[first - 1].body = trimEnd(pieces_[first - 1].body, kBlank);
        for (std::size_t i = first; i < last; ++i) {
            if (isText(i)) pieces_[i].body = {};
        }
        if (last + 1 == pieces_.size()) return;
        std::string_view after = trimStart(pieces_[last + 1].body, kBlank);
        if (after.starts_with('\r')) after.remove_prefix(1);
        if (after.starts_with('\n')) after.remove_prefix(1);
        pieces_[last + 1].body = after;
    }

    void applyMarkers() {
        for (std::size_t i = 0; i < pieces_.size(); ++i) {
            const Piece& piece = pieces_[i];
            if (piece.strip_before && i > 0 && isText(i - 1))
                pieces_[i - 1].body = trimEnd(pieces_[i - 1].body, kSpace);
            if (piece.strip_after && i + 1 < pieces_.size() && isText(i + 1))
                pieces_[i + 1].body = trimStart(pieces_[i + 1].body, kSpace);
        }
    }

    std::string_view text_;
    std::size_t at_ = 0;
    std::vector<Piece> pieces_;
};

}  // namespace

bool Piece::standsAlone() const {
    if (kind == Kind::kBlock || kind == Kind::kComment) return true;
    if (kind != Kind::kMustache || triple) return false;
    std::string_view inside = trimStart(body, kSpace);
    if (inside.starts_with('#') || inside.starts_with('/') || inside.starts_with('^')) return true;
    if (!inside.starts_with("else")) return false;
    return inside.size() == 4 || kSpace.contains(inside[4]);
}

Error errorAt(std::string_view text, std::size_t offset, std::string what, std::string hint) {
    offset = std::min(offset, text.size());
    std::string_view before = text.substr(0, offset);
    int line = static_cast<int>(std::ranges::count(before, '\n')) + 1;
    std::size_t newline = before.rfind('\n');
    int column = static_cast<int>(offset - (newline == before.npos ? 0 : newline + 1)) + 1;
    Error error(ErrorCode::kInvalid,
                fmt::format("template error at line {}, column {}: {}", line, column, what),
                std::move(hint));
    error.details.push_back({"", "", line, column, std::move(what)});
    return error;
}

Result<std::vector<Piece>> scan(std::string_view text) { return Scanner(text).run(); }

}  // namespace aegis::text::template_detail
