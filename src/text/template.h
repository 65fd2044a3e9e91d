#pragma once

#include <cstddef>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"
#include "text/json.h"

namespace aegis::text {

/// The variables that a template is rendered with. A variable may have two forms: `text`, printed
/// as it is when the variable is printed whole, and `value`, used when it is reached into,
/// compared, iterated or tested. One with text alone is a string; one with neither is unknown. What
/// they return must live and stay the same until render() returns.
class TemplateContext {
  public:
    virtual ~TemplateContext() = default;
    /// Not asked for when the variable is only printed whole and has text: parse a large input
    /// here.
    virtual const json::Value* value(std::string_view name) const = 0;
    virtual std::optional<std::string_view> text(std::string_view name) const = 0;
};

/// A context out of an object's members, and texts that hide members of the same name when printed.
class ObjectContext : public TemplateContext {
  public:
    explicit ObjectContext(json::Object members) : members_(std::move(members)) {}
    /// `text` is borrowed.
    void setText(std::string name, std::string_view text) { texts_[std::move(name)] = text; }

    const json::Value* value(std::string_view name) const override;
    std::optional<std::string_view> text(std::string_view name) const override;

  private:
    json::Object members_;
    std::map<std::string, std::string_view, std::less<>> texts_;
};

struct TemplateLimits {
    std::size_t max_output_bytes = 64 << 20;
    std::size_t max_steps = 10'000'000;
};

namespace template_detail {
struct Body;
}

/// A prompt template: Handlebars and Jinja blocks in one text.
///
///   {{x}} {{{x}}} {{x.y}} {{x.0}} {{x['y']}}          {{! comment }} {{!-- comment --}} {# comment
///   #}
///   {{#if x}} {{else if y}} {{else}} {{/if}}           {{#unless x}} {{/unless}}
///   {{#each x}} this @index @key @first @last ../y {{else}} {{/each}}
///   {% if a and not (b == 1 or c < "d") %} {% elif e %} {% else %} {% endif %}
///   {% for v in x %} loop.index index0 first last length {% else %} {% endfor %}
///   {{~ ~}} {%- -%} {{- -}} strip the white space beside them; \{{ \{% \{# are literal
///
/// Block tags and comments with a line to themselves leave no blank line. Nothing is escaped for
/// HTML; inserted values are never parsed again. Strings print verbatim, numbers in their shortest
/// exact form, null as nothing, objects and arrays as JSON. False are: missing, null, false, 0, "",
/// [], {}. In
/// {{#each}} a name means the item's member, else the outer variable. {% for %} over an object
/// yields its keys; a loop over anything else but an array yields nothing. Immutable; copies share
/// the tree; any thread.
class Template {
  public:
    static constexpr std::size_t kMaxTextBytes = 1 << 20;
    static constexpr int kMaxDepth = 64;  ///< of blocks, and of conditions

    /// kInvalid, with line and column (1-based, in bytes) in details[0]; kTooLarge.
    static Result<Template> parse(std::string_view text);

    /// kTooLarge if a limit is exceeded; otherwise it cannot fail.
    Result<std::string> render(const TemplateContext& context, TemplateLimits limits = {}) const;
    Result<std::string> render(const json::Object& context, TemplateLimits limits = {}) const;

    /// Whether any tag names this variable (its first part: "agent" for {{agent.name}}).
    bool mentions(std::string_view variable) const;

  private:
    Template() = default;
    // Shared between copies: immutable, and manifests are copied.
    std::shared_ptr<const template_detail::Body> root_;
    std::shared_ptr<const std::string> text_;  // what the tree's literals point into
};

}  // namespace aegis::text
