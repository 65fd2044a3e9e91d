#include "runner/prompt.h"

#include <fmt/format.h>

#include "text/escape.h"
#include "text/template.h"

namespace aegis::runner {
namespace {

constexpr std::size_t kMaxErrorBytes = 16'384;

/// The template's variables. The input is parsed only if the template looks into it.
class PromptContext : public text::TemplateContext {
  public:
    PromptContext(const PromptSubject& subject, const execution::State& state,
                  std::string_view input, std::string_view previous_error)
        : manifest_(subject.manifest), input_text_(input), previous_error_(previous_error) {
        values_["iteration_number"] = state.iteration;
        values_["max_iterations"] = state.plan.max_iterations;
        values_["agent"] = json::Object{{"name", subject.agent_name},
                                        {"id", subject.agent_id.str()},
                                        {"version", manifest_.metadata.version}};
        values_["execution"] = json::Object{{"id", subject.execution.str()}};
        for (const auto& item : manifest_.context) {
            if (!context_.empty()) context_ += "\n\n";
            context_ += item.value;
        }
    }

    const json::Value* value(std::string_view name) const override {
        if (name == "input") return input();
        return values_.if_contains(name);
    }

    std::optional<std::string_view> text(std::string_view name) const override {
        if (name == "instruction") return manifest_.task.instruction;
        if (name == "input") return input_text_;
        if (name == "previous_error") return previous_error_;
        if (name == "context") return context_;
        return std::nullopt;
    }

  private:
    const json::Value* input() const {
        if (parsed_) return &*parsed_;
        auto document = json::parse(input_text_, {.allow_duplicate_keys = true});
        parsed_ = document ? std::move(*document) : json::Value(boost::json::string(input_text_));
        if (auto* object = parsed_->if_object()) {
            for (const auto& member : manifest_.task.input_data) {
                if (!object->contains(member.key())) (*object)[member.key()] = member.value();
            }
        }
        return &*parsed_;
    }

    const agent::Manifest& manifest_;
    std::string_view input_text_;
    std::string_view previous_error_;
    std::string context_;
    json::Object values_;
    mutable std::optional<json::Value> parsed_;
};

}  // namespace

Result<std::string> renderPrompt(const PromptSubject& subject, const execution::State& state,
                                 const BodyReader& body) {
    AEGIS_TRY(auto input, body(state.input));
    AEGIS_TRY(auto error, body(state.previous_error));
    std::string previous = error->empty() ? state.previous_failure.message : *error;
    if (previous.size() > kMaxErrorBytes) previous = text::tailUtf8(previous, kMaxErrorBytes);
    AEGIS_TRY(auto prompt_template, text::Template::parse(subject.manifest.task.prompt_template));
    PromptContext variables(subject, state, *input, previous);
    AEGIS_TRY(auto prompt, prompt_template.render(variables));
    if (state.iteration > 1 && !previous.empty() && !prompt_template.mentions("previous_error")) {
        prompt += fmt::format(
            "\n\nYour previous attempt failed with the following error. Fix it:\n{}\n", previous);
    }
    return prompt;
}

Result<std::string> renderPrompt(Deps& deps, const ExecutionContext& context,
                                 const execution::State& state) {
    return renderPrompt(
        {*context.manifest, context.agent_name, context.agent_id, context.id}, state,
        [&](const execution::BodyRef& ref) { return deps.bodies.get(context.id, ref); });
}

}  // namespace aegis::runner
