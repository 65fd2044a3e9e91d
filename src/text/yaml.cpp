#include "text/yaml.h"

#include <fmt/format.h>
#include <yaml.h>

#include <algorithm>
#include <map>
#include <unordered_set>
#include <utility>

namespace aegis::yaml {
namespace {

// libyaml compares each %TAG directive with all before it and each tag with all of them.
constexpr std::size_t kMaxDirectives = 32;

Error errorAt(int line, int column, std::string what, ErrorCode code = ErrorCode::kInvalid) {
    Error error(code, line > 0 ? fmt::format("line {}, column {}: {}", line, column, what) : what);
    error.details.push_back({"", "", line, column, std::move(what)});
    return error;
}

std::size_t countCharacters(std::string_view text) {
    return static_cast<std::size_t>(
        std::ranges::count_if(text, [](char c) { return (c & 0xC0) != 0x80; }));
}

Error errorAtByte(std::string_view text, std::size_t offset, std::string what) {
    auto before = text.substr(0, std::min(offset, text.size()));
    auto newline = before.rfind('\n');
    std::size_t start = newline == std::string_view::npos ? 0 : newline + 1;
    int line = static_cast<int>(std::ranges::count(before, '\n')) + 1;
    return errorAt(line, static_cast<int>(countCharacters(before.substr(start))) + 1,
                   std::move(what));
}

// What can be known to be wrong without libyaml, which reports it worse or takes long over it.
Status checkBytes(std::string_view text, const Options& options) {
    if (text.size() > options.max_bytes)
        return errorAt(0, 0, fmt::format("larger than {} bytes", options.max_bytes),
                       ErrorCode::kTooLarge);
    auto control = std::ranges::find_if(text, [](unsigned char c) {
        return (c < 0x20 && c != '\t' && c != '\n' && c != '\r') || c == 0x7F;
    });
    if (control != text.end())
        return errorAtByte(text, static_cast<std::size_t>(control - text.begin()),
                           "a control character; this is not text");
    if (!json::isUtf8(text)) {
        std::string mended = json::toUtf8(text);
        auto bad = std::ranges::mismatch(text, mended).in1 - text.begin();
        return errorAtByte(text, static_cast<std::size_t>(bad), "not UTF-8");
    }
    std::size_t directives = 0;
    for (std::size_t at = 0; at < text.size(); ++directives) {
        at = text.find("%TAG", at);
        if (at == std::string_view::npos) break;
        if (directives == kMaxDirectives) return errorAtByte(text, at, "too many %TAG directives");
        at += 4;
    }
    return {};
}

class Event {
  public:
    Event() = default;
    ~Event() { yaml_event_delete(&event_); }
    Event(const Event&) = delete;
    Event& operator=(const Event&) = delete;
    yaml_event_t* operator->() { return &event_; }
    yaml_event_t* get() { return &event_; }

  private:
    yaml_event_t event_{};
};

std::string text(const yaml_char_t* chars) {
    return chars ? std::string(reinterpret_cast<const char*>(chars)) : std::string();
}

bool knownTag(std::string_view tag, Node::Kind kind) {
    constexpr std::string_view kStandard = "tag:yaml.org,2002:";
    if (tag.empty() || tag == "!") return true;
    if (!tag.starts_with(kStandard)) return false;
    tag.remove_prefix(kStandard.size());
    if (kind == Node::Kind::kSequence) return tag == "seq";
    if (kind == Node::Kind::kMapping) return tag == "map";
    return tag == "str" || tag == "int" || tag == "float" || tag == "bool" || tag == "null";
}

// A tag that names a type the text does not have is a mistake, not a string.
bool tagFits(const Node& node) {
    json::Value value = resolve(node);
    if (node.tag.ends_with(":int")) return value.is_int64() || value.is_uint64();
    if (node.tag.ends_with(":float")) return value.is_number();
    if (node.tag.ends_with(":bool")) return value.is_bool();
    if (node.tag.ends_with(":null")) return value.is_null();
    return true;
}

/// Builds the trees of one text from libyaml's events. One use.
class Builder {
  public:
    Builder(std::string_view input, const Options& options)
        : input_(input),
          options_(options),
          bom_bytes_(input.starts_with("\xEF\xBB\xBF") ? 3 : 0),
          byte_(bom_bytes_) {}
    ~Builder() { yaml_parser_delete(&parser_); }
    Builder(const Builder&) = delete;
    Builder& operator=(const Builder&) = delete;

    Result<std::vector<Document>> run();

  private:
    // A collection being read. For a mapping, `key` waits for its value.
    struct Open {
        Node node;
        std::string anchor;
        std::unordered_set<std::string> keys;
        Entry key;
        bool has_key = false;
    };
    struct Anchored {
        Node node;
        std::size_t nodes = 0;
        std::size_t bytes = 0;
        int height = 0;
    };

    Status handle(Event& event, bool& done);
    Status open(Event& event, Node::Kind kind, const yaml_char_t* anchor, const yaml_char_t* tag);
    Status close();
    Status scalar(Event& event);
    Status alias(Event& event);
    Status put(Node node, const std::string& anchor);
    Status putKey(Node node);
    Status remember(const std::string& anchor, const Node& node);
    Status count(std::size_t nodes, std::size_t bytes, int line, int column);
    Error problem() const;
    std::size_t byteAt(std::size_t character);

    std::string_view input_;
    const Options& options_;
    yaml_parser_t parser_{};
    std::vector<Open> stack_;
    std::map<std::string, Anchored> anchors_;
    std::vector<Document> documents_;
    std::size_t nodes_ = 0;
    std::size_t alias_bytes_ = 0;
    std::size_t bom_bytes_;
    std::size_t byte_;  // of character_, both only grow
    std::size_t character_ = 0;
};

int lineOf(const yaml_mark_t& mark) { return static_cast<int>(mark.line) + 1; }
int columnOf(const yaml_mark_t& mark) { return static_cast<int>(mark.column) + 1; }

Result<std::vector<Document>> Builder::run() {
    if (!yaml_parser_initialize(&parser_)) return Error(ErrorCode::kInternal, "out of memory");
    yaml_parser_set_encoding(&parser_, YAML_UTF8_ENCODING);
    // With the encoding given, libyaml would count a byte order mark as a column.
    auto body = input_.substr(bom_bytes_);
    yaml_parser_set_input_string(&parser_, reinterpret_cast<const unsigned char*>(body.data()),
                                 body.size());
    for (bool done = false; !done;) {
        Event event;
        if (!yaml_parser_parse(&parser_, event.get())) return problem();
        AEGIS_CHECK(handle(event, done));
    }
    return std::move(documents_);
}

Status Builder::handle(Event& event, bool& done) {
    switch (event->type) {
        case YAML_STREAM_END_EVENT:
            done = true;
            if (!documents_.empty()) documents_.back().end = input_.size();
            return {};
        case YAML_DOCUMENT_START_EVENT: {
            std::size_t begin = documents_.empty() ? 0 : byteAt(event->start_mark.index);
            if (!documents_.empty()) documents_.back().end = begin;
            documents_.push_back({Node{}, begin, begin});
            anchors_.clear();
            return {};
        }
        case YAML_SEQUENCE_START_EVENT:
            return open(event, Node::Kind::kSequence, event->data.sequence_start.anchor,
                        event->data.sequence_start.tag);
        case YAML_MAPPING_START_EVENT:
            return open(event, Node::Kind::kMapping, event->data.mapping_start.anchor,
                        event->data.mapping_start.tag);
        case YAML_SEQUENCE_END_EVENT:
        case YAML_MAPPING_END_EVENT:
            return close();
        case YAML_SCALAR_EVENT:
            return scalar(event);
        case YAML_ALIAS_EVENT:
            return alias(event);
        default:
            return {};
    }
}

Status Builder::count(std::size_t nodes, std::size_t bytes, int line, int column) {
    nodes_ += nodes;
    alias_bytes_ += bytes;
    if (nodes_ > options_.max_nodes)
        return errorAt(line, column,
                       fmt::format("more than {} values, aliases expanded", options_.max_nodes));
    if (alias_bytes_ > options_.max_bytes)
        return errorAt(line, column,
                       fmt::format("aliases expand to more than {} bytes", options_.max_bytes));
    return {};
}

Status Builder::open(Event& event, Node::Kind kind, const yaml_char_t* anchor,
                     const yaml_char_t* tag) {
    Node node;
    node.kind = kind;
    node.line = lineOf(event->start_mark);
    node.column = columnOf(event->start_mark);
    node.tag = text(tag);
    if (static_cast<int>(stack_.size()) >= options_.max_depth)
        return errorAt(node.line, node.column,
                       fmt::format("nested deeper than {}", options_.max_depth));
    if (!stack_.empty() && stack_.back().node.isMapping() && !stack_.back().has_key)
        return errorAt(node.line, node.column, "a mapping's key must be a scalar");
    if (!knownTag(node.tag, kind))
        return errorAt(node.line, node.column, fmt::format("unknown tag {}", node.tag));
    AEGIS_CHECK(count(1, 0, node.line, node.column));
    stack_.push_back({std::move(node), text(anchor), {}, {}, false});
    // From here on the name belongs to this node: an alias inside it must not find an older one.
    anchors_.erase(stack_.back().anchor);
    return {};
}

Status Builder::close() {
    Open top = std::move(stack_.back());
    stack_.pop_back();
    return put(std::move(top.node), top.anchor);
}

Status Builder::scalar(Event& event) {
    const auto& data = event->data.scalar;
    Node node;
    node.line = lineOf(event->start_mark);
    node.column = columnOf(event->start_mark);
    node.scalar.assign(reinterpret_cast<const char*>(data.value), data.length);
    node.tag = text(data.tag);
    switch (data.style) {
        case YAML_PLAIN_SCALAR_STYLE:
            node.style = Node::Style::kPlain;
            break;
        case YAML_LITERAL_SCALAR_STYLE:
            node.style = Node::Style::kLiteral;
            break;
        case YAML_FOLDED_SCALAR_STYLE:
            node.style = Node::Style::kFolded;
            break;
        default:
            node.style = Node::Style::kQuoted;
    }
    if (!knownTag(node.tag, Node::Kind::kScalar))
        return errorAt(node.line, node.column, fmt::format("unknown tag {}", node.tag));
    if (!tagFits(node))
        return errorAt(node.line, node.column,
                       fmt::format("{} does not fit its tag", json::quote(node.scalar)));
    AEGIS_CHECK(count(1, 0, node.line, node.column));
    return put(std::move(node), text(data.anchor));
}

Status Builder::alias(Event& event) {
    std::string anchor = text(event->data.alias.anchor);
    int line = lineOf(event->start_mark);
    int column = columnOf(event->start_mark);
    for (const Open& open : stack_) {
        if (open.anchor == anchor)
            return errorAt(line, column, fmt::format("alias *{} is inside what it names", anchor));
    }
    auto found = anchors_.find(anchor);
    if (found == anchors_.end())
        return errorAt(line, column, fmt::format("alias *{} names nothing", anchor));
    const Anchored& target = found->second;
    if (static_cast<int>(stack_.size()) + target.height > options_.max_depth)
        return errorAt(line, column, fmt::format("nested deeper than {}", options_.max_depth));
    AEGIS_CHECK(count(target.nodes, target.bytes, line, column));
    Node copy = target.node;
    copy.line = line;
    copy.column = column;
    return put(std::move(copy), "");
}

Status Builder::put(Node node, const std::string& anchor) {
    if (!anchor.empty()) AEGIS_CHECK(remember(anchor, node));
    if (stack_.empty()) {
        documents_.back().root = std::move(node);
        return {};
    }
    Open& top = stack_.back();
    if (top.node.isSequence()) {
        top.node.items.push_back(std::move(node));
        return {};
    }
    if (!top.has_key) return putKey(std::move(node));
    top.key.value = std::move(node);
    top.node.entries.push_back(std::move(top.key));
    top.key = {};
    top.has_key = false;
    return {};
}

Status Builder::putKey(Node node) {
    Open& top = stack_.back();
    if (!node.isScalar())
        return errorAt(node.line, node.column, "a mapping's key must be a scalar");
    if (node.style == Node::Style::kPlain && node.scalar == "<<")
        return errorAt(node.line, node.column, "merge keys (<<) are not supported");
    if (!top.keys.insert(node.scalar).second)
        return errorAt(node.line, node.column,
                       fmt::format("duplicate key {}", json::quote(node.scalar.substr(0, 100))));
    top.key = {std::move(node.scalar), node.line, node.column, {}};
    top.has_key = true;
    return {};
}

void measure(const Node& node, std::size_t& nodes, std::size_t& bytes, int depth, int& height) {
    ++nodes;
    bytes += node.scalar.size();
    if (!node.isScalar()) height = std::max(height, depth + 1);
    for (const Node& item : node.items)
        measure(item, nodes, bytes, depth + 1, height);
    for (const Entry& entry : node.entries) {
        ++nodes;
        bytes += entry.key.size();
        measure(entry.value, nodes, bytes, depth + 1, height);
    }
}

Status Builder::remember(const std::string& anchor, const Node& node) {
    Anchored anchored;
    measure(node, anchored.nodes, anchored.bytes, 0, anchored.height);
    // The copy kept here costs as much as one use; nested anchors would otherwise add up unseen.
    AEGIS_CHECK(count(anchored.nodes, anchored.bytes, node.line, node.column));
    anchored.node = node;
    anchors_.insert_or_assign(anchor, std::move(anchored));
    return {};
}

Error Builder::problem() const {
    std::string what = parser_.problem ? parser_.problem : "not YAML";
    if (parser_.error == YAML_MEMORY_ERROR) return {ErrorCode::kInternal, "out of memory"};
    if (parser_.error == YAML_READER_ERROR)
        return errorAtByte(input_, bom_bytes_ + parser_.problem_offset, what);
    if (parser_.context && what != parser_.context)
        what = fmt::format("{} ({})", what, parser_.context);
    return errorAt(lineOf(parser_.problem_mark), columnOf(parser_.problem_mark), what);
}

// libyaml's marks count characters, not bytes.
std::size_t Builder::byteAt(std::size_t character) {
    while (character_ < character && byte_ < input_.size()) {
        ++byte_;
        while (byte_ < input_.size() && (input_[byte_] & 0xC0) == 0x80)
            ++byte_;
        ++character_;
    }
    return byte_;
}

}  // namespace

const Node* Node::find(std::string_view key) const {
    for (const Entry& entry : entries) {
        if (entry.key == key) return &entry.value;
    }
    return nullptr;
}

Result<std::vector<Document>> parse(std::string_view input, const Options& options) {
    AEGIS_CHECK(checkBytes(input, options));
    return Builder(input, options).run();
}

}  // namespace aegis::yaml
