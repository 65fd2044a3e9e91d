#include <fmt/format.h>

#include <compare>

#include "text/template.h"
#include "text/template_tree.h"

namespace aegis::text {
namespace template_detail {
namespace {

using json::Value;

// What an expression comes to: nothing, a text, or a value that lives in the context or in `own`.
struct Operand {
    const Value* value = nullptr;
    std::optional<std::string_view> text;
    Value own;
    bool owned = false;

    static Operand of(Value v) { return {nullptr, std::nullopt, std::move(v), true}; }
    const Value* get() const { return owned ? &own : value; }
};

// One turn of a loop that is going on.
struct Frame {
    std::string_view variable;  // empty for {{#each}}
    const Value* item = nullptr;
    std::string_view key;
    bool has_key = false;
    std::size_t index = 0;
    std::size_t count = 0;
};

std::optional<std::size_t> arrayIndex(std::string_view part) {
    if (part.empty() || part.size() > 9) return std::nullopt;
    std::size_t index = 0;
    for (char c : part) {
        if (c < '0' || c > '9') return std::nullopt;
        index = index * 10 + static_cast<std::size_t>(c - '0');
    }
    return index;
}

class Renderer {
  public:
    Renderer(const TemplateContext& context, TemplateLimits limits)
        : context_(context), limits_(limits) {}

    Status body(const Body& body) {
        for (const Node& node : body.nodes) {
            AEGIS_CHECK(step());
            if (const auto* text = std::get_if<Text>(&node.what)) {
                AEGIS_CHECK(write(text->text));
            } else if (const auto* print = std::get_if<Print>(&node.what)) {
                AEGIS_CHECK(this->print(print->path));
            } else if (const auto* choice = std::get_if<std::unique_ptr<If>>(&node.what)) {
                AEGIS_CHECK(choose(**choice));
            } else if (const auto* loop = std::get_if<std::unique_ptr<Loop>>(&node.what)) {
                AEGIS_CHECK(repeat(**loop));
            }
        }
        return {};
    }

    std::string take() { return std::move(out_); }

  private:
    Status step(std::size_t count = 1) {
        if (count > limits_.max_steps - steps_)
            return Error(ErrorCode::kTooLarge,
                         fmt::format("the template takes more than {} steps", limits_.max_steps));
        steps_ += count;
        return {};
    }

    Status write(std::string_view text) {
        if (text.size() > limits_.max_output_bytes - out_.size())
            return Error(ErrorCode::kTooLarge, fmt::format("the rendered template exceeds {} bytes",
                                                           limits_.max_output_bytes));
        out_ += text;
        return {};
    }

    Status print(const Path& path) {
        Operand operand = resolve(path);
        if (operand.text) return write(*operand.text);
        const Value* value = operand.get();
        if (value == nullptr || value->is_null()) return {};
        if (const auto* text = value->if_string()) return write(json::view(*text));
        std::string text = json::dump(*value);
        AEGIS_CHECK(step(text.size() / 64));
        return write(text);
    }

    Status choose(const If& choice) {
        for (const Branch& branch : choice.branches) {
            AEGIS_TRY(bool holds, test(branch.condition));
            if (holds) return body(branch.body);
        }
        return body(choice.otherwise);
    }

    Status repeat(const Loop& loop) {
        Operand over = valueOf(loop.over);
        const Value* value = over.get();
        Frame frame;
        frame.variable = loop.variable;
        const auto* array = value != nullptr ? value->if_array() : nullptr;
        const auto* object = value != nullptr ? value->if_object() : nullptr;
        frame.count = array != nullptr ? array->size() : object != nullptr ? object->size() : 0;
        if (frame.count == 0) return body(loop.otherwise);
        for (; frame.index < frame.count; ++frame.index) {
            AEGIS_CHECK(step());
            Value key;
            if (object != nullptr) {
                const auto& member = *(object->begin() + static_cast<std::ptrdiff_t>(frame.index));
                frame.key = {member.key().data(), member.key().size()};
                frame.has_key = true;
                frame.item = &member.value();
                if (!loop.variable.empty()) {
                    key = boost::json::string(member.key());
                    frame.item = &key;
                }
            } else {
                frame.item = &(*array)[frame.index];
            }
            frames_.push_back(frame);
            Status status = body(loop.body);
            frames_.pop_back();
            AEGIS_CHECK(std::move(status));
        }
        return {};
    }

    // The frame of {{#each}} that `skip` others enclose, as an index into frames_; npos if none.
    std::size_t eachFrame(std::size_t skip) const {
        for (std::size_t i = frames_.size(); i-- > 0;) {
            if (frames_[i].variable.empty() && skip-- == 0) return i;
        }
        return kNone;
    }

    Operand reach(const Value* value, const Path& path, std::size_t from) const {
        for (std::size_t i = from; i < path.parts.size() && value != nullptr; ++i) {
            const std::string& part = path.parts[i];
            if (const auto* array = value->if_array()) {
                if (part == "length")
                    return i + 1 == path.parts.size() ? Operand::of(array->size()) : Operand{};
                auto index = arrayIndex(part);
                value = index && *index < array->size() ? &(*array)[*index] : nullptr;
            } else {
                value = json::find(*value, part);
            }
        }
        return {value, std::nullopt, {}, false};
    }

    Operand variable(const Path& path) const {
        if (path.parts.empty()) return {};
        const std::string& name = path.parts[0];
        if (path.parts.size() > 1) return reach(context_.value(name), path, 1);
        Operand out;
        out.text = context_.text(name);
        if (!out.text) out.value = context_.value(name);
        return out;
    }

    Operand loopInfo(const Frame& frame, const Path& path) const {
        if (path.parts.size() != 2) return {};
        const std::string& name = path.parts[1];
        if (name == "index") return Operand::of(frame.index + 1);
        if (name == "index0") return Operand::of(frame.index);
        if (name == "first") return Operand::of(frame.index == 0);
        if (name == "last") return Operand::of(frame.index + 1 == frame.count);
        if (name == "length") return Operand::of(frame.count);
        return {};
    }

    Operand byName(const Path& path) const {
        const std::string& name = path.parts[0];
        std::size_t from = frames_.size();
        if (path.parents > 0) {
            from = eachFrame(path.parents - std::size_t{1});
            if (from == kNone) return variable(path);
        }
        for (std::size_t i = from; i-- > 0;) {
            const Frame& frame = frames_[i];
            if (frame.variable.empty()) {
                const Value* member = json::find(*frame.item, name);
                if (member != nullptr) return reach(member, path, 1);
            } else if (frame.variable == name) {
                return reach(frame.item, path, 1);
            } else if (name == "loop") {
                return loopInfo(frame, path);
            }
        }
        return variable(path);
    }

    Operand resolve(const Path& path) const {
        if (path.root == Path::Root::kName) return byName(path);
        if (path.root == Path::Root::kTop) return variable(path);
        std::size_t at = eachFrame(path.parents);
        if (at == kNone) return path.root == Path::Root::kThis ? variable(path) : Operand{};
        const Frame& frame = frames_[at];
        switch (path.root) {
            case Path::Root::kThis:
                return reach(frame.item, path, 0);
            case Path::Root::kIndex:
                return Operand::of(frame.index);
            case Path::Root::kFirst:
                return Operand::of(frame.index == 0);
            case Path::Root::kLast:
                return Operand::of(frame.index + 1 == frame.count);
            default:
                break;
        }
        if (!frame.has_key) return Operand::of(frame.index);
        Operand key;
        key.text = frame.key;
        return key;
    }

    // For what is not printed whole: the value, where a variable has both forms.
    Operand valueOf(const Path& path) const {
        Operand out = resolve(path);
        if (!out.text || path.parts.empty()) return out;
        const Value* value = context_.value(path.parts[0]);
        return value != nullptr ? Operand{value, std::nullopt, {}, false} : out;
    }

    Operand evaluate(const Expression& expression) const {
        if (expression.kind == Expression::Kind::kPath) return valueOf(expression.path);
        return {&expression.literal, std::nullopt, {}, false};
    }

    static bool truth(const Operand& operand) {
        if (operand.text) return !operand.text->empty();
        const Value* value = operand.get();
        if (value == nullptr) return false;
        switch (value->kind()) {
            case boost::json::kind::null:
                return false;
            case boost::json::kind::bool_:
                return value->get_bool();
            case boost::json::kind::int64:
                return value->get_int64() != 0;
            case boost::json::kind::uint64:
                return value->get_uint64() != 0;
            case boost::json::kind::double_:
                return value->get_double() != 0;
            case boost::json::kind::string:
                return !value->get_string().empty();
            case boost::json::kind::array:
                return !value->get_array().empty();
            case boost::json::kind::object:
                return !value->get_object().empty();
        }
        return false;
    }

    Result<bool> test(const Expression& expression) {
        AEGIS_CHECK(step());
        switch (expression.kind) {
            case Expression::Kind::kPath:
            case Expression::Kind::kLiteral:
                return truth(evaluate(expression));
            case Expression::Kind::kCompare:
                return compare(expression);
            case Expression::Kind::kNot: {
                AEGIS_TRY(bool holds, test(expression.operands[0]));
                return !holds;
            }
            case Expression::Kind::kAnd:
            case Expression::Kind::kOr:
                break;
        }
        bool decisive = expression.kind == Expression::Kind::kOr;
        for (const Expression& operand : expression.operands) {
            AEGIS_TRY(bool holds, test(operand));
            if (holds == decisive) return decisive;
        }
        return !decisive;
    }

    Result<Operand> side(const Expression& expression) {
        bool plain = expression.kind == Expression::Kind::kPath ||
                     expression.kind == Expression::Kind::kLiteral;
        if (plain) return evaluate(expression);
        AEGIS_TRY(bool holds, test(expression));
        return Operand::of(holds);
    }

    static std::optional<long double> number(const Value& value) {
        if (value.is_int64()) return value.get_int64();
        if (value.is_uint64()) return value.get_uint64();
        if (value.is_double()) return value.get_double();
        return std::nullopt;
    }

    static std::optional<std::string_view> textOf(const Operand& operand) {
        if (operand.text) return operand.text;
        const Value* value = operand.get();
        if (value != nullptr && value->is_string()) return json::view(value->get_string());
        return std::nullopt;
    }

    // Equal, or in order; unordered for values of different kinds. Missing is null.
    Result<std::partial_ordering> order(const Operand& left, const Operand& right) {
        auto left_text = textOf(left);
        auto right_text = textOf(right);
        if (left_text && right_text) {
            AEGIS_CHECK(step(std::min(left_text->size(), right_text->size()) / 64));
            return std::partial_ordering(left_text->compare(*right_text) <=> 0);
        }
        if (left_text || right_text) return std::partial_ordering::unordered;
        static const Value kNull;
        const Value& a = left.get() != nullptr ? *left.get() : kNull;
        const Value& b = right.get() != nullptr ? *right.get() : kNull;
        auto left_number = number(a);
        auto right_number = number(b);
        if (left_number && right_number) return *left_number <=> *right_number;
        if (a.kind() != b.kind()) return std::partial_ordering::unordered;
        if (a.is_structured()) {
            std::string left_json = json::dump(a);
            AEGIS_CHECK(step(left_json.size() / 16));
            std::string right_json = json::dump(b);
            AEGIS_CHECK(step(right_json.size() / 16));
        }
        return a == b ? std::partial_ordering::equivalent : std::partial_ordering::unordered;
    }

    Result<bool> compare(const Expression& expression) {
        AEGIS_TRY(Operand left, side(expression.operands[0]));
        AEGIS_TRY(Operand right, side(expression.operands[1]));
        AEGIS_TRY(std::partial_ordering result, order(left, right));
        using Compare = Expression::Compare;
        switch (expression.compare) {
            case Compare::kEqual:
                return result == 0;
            case Compare::kNotEqual:
                return result != 0;
            case Compare::kLess:
                return result < 0;
            case Compare::kLessEqual:
                return result <= 0;
            case Compare::kGreater:
                return result > 0;
            case Compare::kGreaterEqual:
                return result >= 0;
        }
        return false;
    }

    static constexpr std::size_t kNone = std::size_t(-1);

    const TemplateContext& context_;
    TemplateLimits limits_;
    std::string out_;
    std::size_t steps_ = 0;
    std::vector<Frame> frames_;
};

}  // namespace
}  // namespace template_detail

const json::Value* ObjectContext::value(std::string_view name) const {
    return members_.if_contains({name.data(), name.size()});
}

std::optional<std::string_view> ObjectContext::text(std::string_view name) const {
    auto found = texts_.find(name);
    if (found == texts_.end()) return std::nullopt;
    return found->second;
}

Result<std::string> Template::render(const TemplateContext& context, TemplateLimits limits) const {
    template_detail::Renderer renderer(context, limits);
    AEGIS_CHECK(renderer.body(*root_));
    return renderer.take();
}

Result<std::string> Template::render(const json::Object& context, TemplateLimits limits) const {
    struct View : TemplateContext {
        explicit View(const json::Object& m) : members(m) {}
        const json::Value* value(std::string_view name) const override {
            return members.if_contains({name.data(), name.size()});
        }
        std::optional<std::string_view> text(std::string_view) const override {
            return std::nullopt;
        }
        const json::Object& members;
    };
    return render(View(context), limits);
}

}  // namespace aegis::text
