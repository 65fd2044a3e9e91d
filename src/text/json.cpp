#include "text/json.h"

#include <fmt/format.h>
#include <algorithm>
#include <array>
#include <boost/json/basic_parser_impl.hpp>
#include <boost/json/parser.hpp>
#include <charconv>
#include <cmath>
#include <set>
#include <vector>

namespace aegis::json {
namespace {

// Builds the value and refuses duplicate keys on the way, which Boost.JSON's own parser accepts.
class Handler {
  public:
    static constexpr std::size_t max_object_size = std::size_t(-1);
    static constexpr std::size_t max_array_size = std::size_t(-1);
    static constexpr std::size_t max_key_size = std::size_t(-1);
    static constexpr std::size_t max_string_size = std::size_t(-1);

    explicit Handler(bool allow_duplicates) : allow_duplicates_(allow_duplicates) {}

    using Ec = boost::json::error_code;
    using Sv = boost::json::string_view;

    bool on_document_begin(Ec&) { return true; }
    bool on_document_end(Ec&) { return true; }
    bool on_object_begin(Ec&) { return open(Value(Object{})); }
    bool on_object_end(std::size_t, Ec&) { return close(); }
    bool on_array_begin(Ec&) { return open(Value(Array{})); }
    bool on_array_end(std::size_t, Ec&) { return close(); }
    bool on_key_part(Sv s, std::size_t, Ec&) { return part(s); }
    bool on_key(Sv s, std::size_t, Ec& ec) {
        part(s);
        if (!allow_duplicates_ && stack_.back().as_object().contains(text_)) {
            duplicate_ = std::move(text_);
            ec = boost::json::error::not_exact;
            return false;
        }
        keys_.push_back(std::move(text_));
        text_.clear();
        return true;
    }
    bool on_string_part(Sv s, std::size_t, Ec&) { return part(s); }
    bool on_string(Sv s, std::size_t, Ec&) {
        part(s);
        Value value(Sv(text_.data(), text_.size()));
        text_.clear();
        return put(std::move(value));
    }
    bool on_number_part(Sv, Ec&) { return true; }
    bool on_int64(std::int64_t n, Sv, Ec&) { return put(Value(n)); }
    bool on_uint64(std::uint64_t n, Sv, Ec&) { return put(Value(n)); }
    // Boost 1.81 rounds long mantissas by up to one unit; from_chars is exact.
    bool on_double(double n, Sv s, Ec& ec) {
        double exact = 0;
        auto [end, failure] = std::from_chars(s.data(), s.data() + s.size(), exact);
        if (failure == std::errc{} && end == s.data() + s.size()) n = exact;
        if (!std::isfinite(n)) {
            ec = boost::json::error::exponent_overflow;
            return false;
        }
        return put(Value(n));
    }
    bool on_bool(bool b, Ec&) { return put(Value(b)); }
    bool on_null(Ec&) { return put(Value(nullptr)); }
    bool on_comment_part(Sv, Ec&) { return true; }
    bool on_comment(Sv, Ec&) { return true; }

    const std::string& duplicate() const { return duplicate_; }
    Value take() { return std::move(root_); }

  private:
    bool part(Sv s) {
        text_.append(s.data(), s.size());
        return true;
    }
    bool open(Value&& value) {
        stack_.push_back(std::move(value));
        return true;
    }
    bool close() {
        Value value = std::move(stack_.back());
        stack_.pop_back();
        return put(std::move(value));
    }
    bool put(Value&& value) {
        if (stack_.empty()) {
            root_ = std::move(value);
        } else if (auto* array = stack_.back().if_array()) {
            array->push_back(std::move(value));
        } else {
            stack_.back().as_object()[keys_.back()] = std::move(value);
            keys_.pop_back();
        }
        return true;
    }

    bool allow_duplicates_;
    std::vector<Value> stack_;
    std::vector<std::string> keys_;
    std::string text_;
    std::string duplicate_;
    Value root_;
};

// How much of a literal `text` starts with: Boost stops before a misspelt one, not inside it.
std::size_t literalPrefix(std::string_view text) {
    std::size_t longest = 0;
    for (std::string_view literal : {"true", "false", "null"}) {
        auto [end, other] = std::ranges::mismatch(literal, text);
        longest = std::max(longest, static_cast<std::size_t>(end - literal.begin()));
    }
    return longest;
}

Error errorAt(std::string_view text, std::size_t offset, std::string what) {
    int line = 1;
    std::size_t line_start = 0;
    offset = std::min(offset, text.size());
    for (std::size_t i = 0; i < offset; ++i) {
        if (text[i] == '\n') {
            ++line;
            line_start = i + 1;
        }
    }
    int column = static_cast<int>(offset - line_start) + 1;
    Error error(ErrorCode::kInvalid,
                fmt::format("not valid JSON at line {}, column {}: {}", line, column, what));
    error.details.push_back({"", "", line, column, std::move(what)});
    return error;
}

void dumpTo(std::string& out, const Value& value, int indent, int level);

void newline(std::string& out, int indent, int level) {
    if (indent <= 0) return;
    out += '\n';
    out.append(static_cast<std::size_t>(indent * level), ' ');
}

constexpr std::string_view kReplacement = "\xef\xbf\xbd";

void quoteTo(std::string& out, std::string_view text) {
    auto is_plain = [](char c) { return c >= 0x20 && c < 0x7f && c != '"' && c != '\\'; };
    out += '"';
    for (std::size_t at = 0; at < text.size();) {
        auto rest = text.substr(at);
        auto plain =
            static_cast<std::size_t>(std::ranges::find_if_not(rest, is_plain) - rest.begin());
        out.append(rest, 0, plain);
        at += plain;
        if (at == text.size()) break;
        auto c = static_cast<unsigned char>(text[at]);
        std::size_t length = utf8Length(text, at);
        switch (c) {
            case '"':
                out += "\\\"";
                break;
            case '\\':
                out += "\\\\";
                break;
            case '\n':
                out += "\\n";
                break;
            case '\r':
                out += "\\r";
                break;
            case '\t':
                out += "\\t";
                break;
            case '\b':
                out += "\\b";
                break;
            case '\f':
                out += "\\f";
                break;
            default:
                if (c < 0x20)
                    out += fmt::format("\\u{:04x}", c);
                else if (length == 0)
                    out += kReplacement;
                else
                    out.append(text, at, length);
        }
        at += std::max<std::size_t>(length, 1);
    }
    out += '"';
}

void dumpContainer(std::string& out, const Value& value, int indent, int level) {
    bool is_object = value.is_object();
    std::size_t size = is_object ? value.get_object().size() : value.get_array().size();
    out += is_object ? '{' : '[';
    bool first = true;
    auto separate = [&] {
        if (!first) out += ',';
        first = false;
        newline(out, indent, level + 1);
    };
    if (is_object) {
        for (const auto& [key, member] : value.get_object()) {
            separate();
            quoteTo(out, {key.data(), key.size()});
            out += indent > 0 ? ": " : ":";
            dumpTo(out, member, indent, level + 1);
        }
    } else {
        for (const auto& element : value.get_array()) {
            separate();
            dumpTo(out, element, indent, level + 1);
        }
    }
    if (size > 0) newline(out, indent, level);
    out += is_object ? '}' : ']';
}

void dumpTo(std::string& out, const Value& value, int indent, int level) {
    switch (value.kind()) {
        case boost::json::kind::null:
            out += "null";
            break;
        case boost::json::kind::bool_:
            out += value.get_bool() ? "true" : "false";
            break;
        case boost::json::kind::int64:
            out += std::to_string(value.get_int64());
            break;
        case boost::json::kind::uint64:
            out += std::to_string(value.get_uint64());
            break;
        case boost::json::kind::double_:
            out += dumpNumber(value.get_double());
            break;
        case boost::json::kind::string:
            quoteTo(out, view(value.get_string()));
            break;
        case boost::json::kind::array:
        case boost::json::kind::object:
            dumpContainer(out, value, indent, level);
            break;
    }
}

}  // namespace

Result<Value> parse(std::string_view text, ParseOptions options) {
    boost::json::parse_options boost_options;
    boost_options.max_depth = options.max_depth;
    boost::json::basic_parser<Handler> parser(boost_options, options.allow_duplicate_keys);
    boost::json::error_code ec;
    std::size_t consumed = 0;
    try {
        consumed = parser.write_some(false, text.data(), text.size(), ec);
    } catch (const std::exception& e) {
        return Error(ErrorCode::kInternal, fmt::format("JSON parser: {}", e.what()));
    }
    if (!parser.handler().duplicate().empty() || (ec && ec == boost::json::error::not_exact)) {
        return errorAt(text, consumed,
                       fmt::format("duplicate key {}", quote(parser.handler().duplicate())));
    }
    if (ec == boost::json::error::incomplete)
        return errorAt(text, text.size(), "the text ends too early");
    if (ec) return errorAt(text, consumed + literalPrefix(text.substr(consumed)), ec.message());
    while (consumed < text.size() && std::string_view(" \t\r\n").contains(text[consumed]))
        ++consumed;
    if (consumed < text.size())
        return errorAt(text, consumed, "unexpected text after the document");
    return parser.handler().take();
}

std::string dump(const Value& value) {
    std::string out;
    dumpTo(out, value, 0, 0);
    return out;
}

std::string dumpPretty(const Value& value) {
    std::string out;
    dumpTo(out, value, 2, 0);
    return out;
}

std::string dumpNumber(double number) {
    if (!std::isfinite(number)) return "null";
    if (number == 0) return "0";
    double size = std::abs(number);
    auto form =
        size >= 1e-6 && size < 1e21 ? std::chars_format::fixed : std::chars_format::scientific;
    std::array<char, 64> buffer{};
    auto [end, ec] = std::to_chars(buffer.data(), buffer.data() + buffer.size(), number, form);
    return {buffer.data(), end};
}

std::string quote(std::string_view text) {
    std::string out;
    quoteTo(out, isUtf8(text) ? text : std::string_view(toUtf8(text)));
    return out;
}

const Value* find(const Value& value, std::string_view key) {
    const auto* object = value.if_object();
    return object == nullptr ? nullptr : object->if_contains({key.data(), key.size()});
}

std::string_view getString(const Value& value, std::string_view key, std::string_view fallback) {
    const Value* member = find(value, key);
    return member != nullptr && member->is_string() ? view(member->get_string()) : fallback;
}

std::int64_t getInt(const Value& value, std::string_view key, std::int64_t fallback) {
    const Value* member = find(value, key);
    if (member == nullptr) return fallback;
    if (member->is_int64()) return member->get_int64();
    if (member->is_uint64() && member->get_uint64() <= INT64_MAX)
        return static_cast<std::int64_t>(member->get_uint64());
    if (member->is_double()) {
        double number = member->get_double();
        if (std::trunc(number) == number && std::abs(number) < 9.0e18)
            return static_cast<std::int64_t>(number);
    }
    return fallback;
}

bool getBool(const Value& value, std::string_view key, bool fallback) {
    const Value* member = find(value, key);
    return member != nullptr && member->is_bool() ? member->get_bool() : fallback;
}

std::size_t utf8Length(std::string_view text, std::size_t at) {
    auto byte = [&](std::size_t i) {
        return i < text.size() ? static_cast<unsigned char>(text[i]) : 0U;
    };
    auto tail = [&](std::size_t i) { return byte(i) >= 0x80 && byte(i) <= 0xbf; };
    unsigned first = byte(at);
    if (first < 0x80) return 1;
    if (first >= 0xc2 && first <= 0xdf) return tail(at + 1) ? 2 : 0;
    if (first >= 0xe0 && first <= 0xef) {
        unsigned low = first == 0xe0 ? 0xa0 : 0x80;
        unsigned high = first == 0xed ? 0x9f : 0xbf;
        return byte(at + 1) >= low && byte(at + 1) <= high && tail(at + 2) ? 3 : 0;
    }
    if (first >= 0xf0 && first <= 0xf4) {
        unsigned low = first == 0xf0 ? 0x90 : 0x80;
        unsigned high = first == 0xf4 ? 0x8f : 0xbf;
        return byte(at + 1) >= low && byte(at + 1) <= high && tail(at + 2) && tail(at + 3) ? 4 : 0;
    }
    return 0;
}

bool isUtf8(std::string_view text) {
    for (std::size_t at = 0; at < text.size();) {
        std::size_t length = utf8Length(text, at);
        if (length == 0) return false;
        at += length;
    }
    return true;
}

std::string toUtf8(std::string_view text) {
    std::string out;
    for (std::size_t at = 0; at < text.size();) {
        std::size_t length = utf8Length(text, at);
        if (length == 0)
            out += kReplacement;
        else
            out.append(text.substr(at, length));
        at += std::max<std::size_t>(length, 1);
    }
    return out;
}

}  // namespace aegis::json
