#include "runner/replay.h"

#include <fmt/format.h>

#include <algorithm>
#include <deque>
#include <set>

#include "execution/bodies.h"
#include "runner/replay_guess.h"
#include "text/digest.h"
#include "validation/checks.h"

namespace aegis::runner {

using namespace execution;
using aegis::Status;  // not the execution's

namespace {

using Found = std::optional<Divergence>;

/// What one decision can be long, and more: events to look ahead.
constexpr std::size_t kAhead = 64;
constexpr std::size_t kShownBytes = 2000;

std::string shown(std::string_view text) {
    if (text.size() <= kShownBytes) return std::string(text);
    return fmt::format("{}… ({} bytes)", text.substr(0, kShownBytes), text.size());
}

/// The first place where two texts part, with a little of both around it.
std::pair<std::string, std::string> aroundDifference(std::string_view a, std::string_view b) {
    constexpr std::size_t kBefore = 40, kLength = 200;
    auto at = static_cast<std::size_t>(std::ranges::mismatch(a, b).in1 - a.begin());
    auto from = at > kBefore ? at - kBefore : 0;
    auto cut = [&](std::string_view text) {
        return fmt::format("at byte {}: {}", at, json::quote(text.substr(from, kLength)));
    };
    return {cut(a), cut(b)};
}

class Replayer {
  public:
    explicit Replayer(const Recording& recording) : r_(recording) {}

    Result<ReplayReport> run();

  private:
    Status lookAhead();
    std::string shownEvent(const Event& event) const {
        return json::dump(toJson(event, r_.execution, r_.agent));
    }
    Divergence at(const Event& event, std::string what, std::string recorded,
                  std::string replayed) const {
        return {event.seq, event.iteration, std::move(what), std::move(recorded),
                std::move(replayed)};
    }
    /// How many of the events ahead are those of `decided`, in order.
    std::size_t matching(const std::vector<Event>& decided) const;
    Found decideAgain(std::size_t& length);
    BodyRef expectedPrompt();
    std::string text(const BodyRef& ref);

    Found check(const Event& event);
    Found checkBodies(const Event& event);
    Found checkPrompt(const Event& event, const LlmCallStarted& d);
    Found checkAnswer(const Event& event, const LlmCallCompleted& d);
    Found checkTool(const Event& event, int conversation, int turn, int index,
                    const std::string& tool);
    Found checkOutput(const Event& event, const IterationCompleted& d);
    Found checkValidation(const Event& event, const ValidationCompleted& d);
    std::optional<validation::Verdict> verdictOf(const agent::Validator& validator);

    const Recording& r_;
    ReplayReport report_;
    State s_;
    std::deque<Event> ahead_;
    std::uint64_t read_ = 0;
    bool all_read_ = false;
    std::string agent_name_;
    std::set<std::string> sound_;  ///< digests of bodies that were checked
};

Status Replayer::lookAhead() {
    while (!all_read_ && ahead_.size() < kAhead) {
        AEGIS_TRY(auto page, r_.events(read_));
        all_read_ = page.empty();
        if (!page.empty()) read_ = page.back().seq;
        ahead_.insert(ahead_.end(), page.begin(), page.end());
    }
    return {};
}

/// A body that was checked already, or an empty text.
std::string Replayer::text(const BodyRef& ref) {
    auto body = r_.body(ref);
    return body ? **body : std::string();
}

BodyRef Replayer::expectedPrompt() {
    bool asked = s_.phase == Phase::kRunning && s_.conversations.empty();
    if (!asked) return {};
    PromptSubject subject{r_.manifest, agent_name_, r_.agent, r_.execution};
    auto prompt = renderPrompt(subject, s_, r_.body);
    if (!prompt) return {};
    return ports::makeBody(
               json::dump(json::Object{{"prompt", *prompt}, {"messages", json::Array{}}}))
        .ref;
}

std::size_t Replayer::matching(const std::vector<Event>& decided) const {
    std::size_t n = 0;
    while (n < decided.size() && n < ahead_.size() &&
           toJson(decided[n], r_.execution, r_.agent) == toJson(ahead_[n], r_.execution, r_.agent))
        ++n;
    return n;
}

/// The longest decision that the record confirms whole; else where the most promising one parts.
Found Replayer::decideAgain(std::size_t& length) {
    const auto& first = ahead_.front();
    if (std::holds_alternative<EgressDecided>(first.data)) {
        length = 1;
        return std::nullopt;
    }
    std::vector<Event> best;
    std::size_t best_match = 0;
    for (auto& input : possibleInputs(s_, ahead_, expectedPrompt())) {
        auto decided = decide(s_, {first.time, std::move(input)});
        auto match = matching(decided);
        if (match == decided.size()) length = std::max(length, match);
        if (match >= best_match && !decided.empty()) {
            best_match = match;
            best = std::move(decided);
        }
    }
    if (length > 0) return std::nullopt;
    const auto& wrong = best_match < ahead_.size() ? ahead_[best_match] : ahead_.back();
    auto recorded = best_match < ahead_.size() ? shownEvent(wrong) : std::string("nothing more");
    auto replayed = best_match < best.size() ? shownEvent(best[best_match])
                                             : std::string("nothing that would be recorded");
    return at(wrong, "event", shown(recorded), shown(replayed));
}

Found Replayer::checkBodies(const Event& event) {
    for (const auto& ref : bodiesOf(event)) {
        if (sound_.contains(ref.sha256)) continue;
        auto name = fmt::format("sha256 {}, {} bytes", ref.sha256, ref.size);
        auto body = r_.body(ref);
        if (!body) return at(event, "body", name, body.error().message);
        auto digest = text::sha256Hex(**body);
        if (digest != ref.sha256 || (*body)->size() != ref.size)
            return at(event, "body", name,
                      fmt::format("sha256 {}, {} bytes: {}", digest, (*body)->size(),
                                  json::quote(std::string_view(**body).substr(0, 100))));
        sound_.insert(ref.sha256);
        ++report_.bodies;
    }
    return std::nullopt;
}

/// The managed bootstrap's first request of an iteration holds the rendered prompt, and only that.
Found Replayer::checkPrompt(const Event& event, const LlmCallStarted& d) {
    bool managed = r_.manifest.advanced.bootstrap_path.empty() && d.format.empty();
    if (d.turn != 0 || d.conversation != 0 || !s_.conversations.empty() || !managed)
        return std::nullopt;
    auto body = json::parse(text(d.prompt));
    if (!body) return at(event, "prompt", "a prompt", body.error().message);
    const auto* messages = json::find(*body, "messages");
    if (messages != nullptr && messages->is_array() && !messages->get_array().empty())
        return std::nullopt;
    PromptSubject subject{r_.manifest, agent_name_, r_.agent, r_.execution};
    auto rendered = renderPrompt(subject, s_, r_.body);
    std::string recorded(json::getString(*body, "prompt"));
    ++report_.prompts;
    if (rendered && *rendered == recorded) return std::nullopt;
    if (!rendered) return at(event, "prompt", shown(recorded), rendered.error().message);
    auto [one, other] = aroundDifference(recorded, *rendered);
    return at(event, "prompt", one, other);
}

Found Replayer::checkAnswer(const Event& event, const LlmCallCompleted& d) {
    auto answer = json::parse(text(d.answer));
    const auto* calls = answer ? json::find(*answer, "tool_calls") : nullptr;
    auto count = calls != nullptr && calls->is_array() ? calls->get_array().size() : 0;
    if (answer && count == static_cast<std::size_t>(d.tool_calls)) return std::nullopt;
    return at(event, "answer", fmt::format("{} tool calls", d.tool_calls),
              answer ? fmt::format("{} tool calls", count) : answer.error().message);
}

Found Replayer::checkTool(const Event& event, int conversation, int turn, int index,
                          const std::string& tool) {
    const auto& turns = s_.conversations[static_cast<std::size_t>(conversation)].turns;
    auto answer = json::parse(text(turns[static_cast<std::size_t>(turn)].answer));
    const auto* calls = answer ? json::find(*answer, "tool_calls") : nullptr;
    auto i = static_cast<std::size_t>(index);
    bool there = calls != nullptr && calls->is_array() && i < calls->get_array().size();
    std::string asked(there ? json::getString(calls->get_array()[i], "name") : "no tool call");
    if (there && asked == tool) return std::nullopt;
    return at(event, "tool call", tool, asked);
}

/// The content of the last final message; if there was none, stdout less one newline.
Found Replayer::checkOutput(const Event& event, const IterationCompleted& d) {
    if (!d.failure.code.empty()) return std::nullopt;
    auto final_answer = finalAnswer(s_);
    std::string expected;
    if (final_answer.empty()) {
        expected = text(d.standard_output);
        if (expected.ends_with('\n')) expected.pop_back();
    } else if (auto answer = json::parse(text(final_answer))) {
        expected = json::getString(*answer, "content");
    }
    auto recorded = text(d.output);
    if (recorded == expected) return std::nullopt;
    auto [one, other] = aroundDifference(recorded, expected);
    return at(event, "output", one, other);
}

/// Nothing where the validator looked into the sandbox: what it found is in the record alone.
std::optional<validation::Verdict> Replayer::verdictOf(const agent::Validator& validator) {
    if (const auto* c = std::get_if<agent::ExitCodeCheck>(&validator.check))
        return validation::checkExitCode(*c, s_.exit_code, text(s_.standard_error));
    if (const auto* c = std::get_if<agent::JsonSchemaCheck>(&validator.check)) {
        if (!c->schema || !c->target_path.empty()) return std::nullopt;
        return validation::checkJsonSchema(*c->schema, text(s_.output), true);
    }
    if (const auto* c = std::get_if<agent::RegexCheck>(&validator.check)) {
        if (c->target == "output") return validation::checkRegex(*c, text(s_.output));
        if (c->target == "stdout") return validation::checkRegex(*c, text(s_.standard_output));
        if (c->target == "stderr") return validation::checkRegex(*c, text(s_.standard_error));
    }
    return std::nullopt;
}

Found Replayer::checkValidation(const Event& event, const ValidationCompleted& d) {
    validation::Chain chain;
    bool all_known = true;
    std::size_t i = 0;
    for (const auto& validator : r_.manifest.execution.validation) {
        auto verdict = verdictOf(validator);
        if (verdict) {
            ++report_.verdicts;
        } else if (i < d.results.size()) {
            all_known = false;
            verdict = {d.results[i].score, d.results[i].confidence, d.results[i].detail};
        } else {
            break;
        }
        ++i;
        if (!chain.add(validator, std::move(*verdict))) break;
    }
    Event again = event;
    auto result = chain.result();
    result.error = d.error;
    again.data = std::move(result);
    if (encodeData(again) != encodeData(event))
        return at(event, "validation", shown(json::dump(encodeData(event))),
                  shown(json::dump(encodeData(again))));
    if (!all_known || text(d.error) == chain.errorText()) return std::nullopt;
    auto [one, other] = aroundDifference(text(d.error), chain.errorText());
    return at(event, "validation", one, other);
}

/// What an event says beside what the rules made of it. Before it is applied.
Found Replayer::check(const Event& event) {
    if (auto found = checkBodies(event)) return found;
    if (const auto* d = std::get_if<ExecutionCreated>(&event.data)) agent_name_ = d->agent_name;
    if (const auto* d = std::get_if<LlmCallStarted>(&event.data)) return checkPrompt(event, *d);
    if (const auto* d = std::get_if<LlmCallCompleted>(&event.data)) return checkAnswer(event, *d);
    if (const auto* d = std::get_if<ToolCallStarted>(&event.data))
        return checkTool(event, d->conversation, d->turn, d->index, d->tool);
    if (const auto* d = std::get_if<ToolCallDenied>(&event.data))
        return checkTool(event, d->conversation, d->turn, d->index, d->tool);
    if (const auto* d = std::get_if<IterationCompleted>(&event.data)) return checkOutput(event, *d);
    if (const auto* d = std::get_if<ValidationCompleted>(&event.data))
        return checkValidation(event, *d);
    return std::nullopt;
}

Result<ReplayReport> Replayer::run() {
    while (true) {
        AEGIS_CHECK(lookAhead());
        if (ahead_.empty() || report_.divergence) break;
        std::size_t length = 0;
        report_.divergence = decideAgain(length);
        for (; length > 0 && !report_.divergence; --length) {
            report_.divergence = check(ahead_.front());
            if (report_.divergence) break;
            apply(s_, ahead_.front());
            ahead_.pop_front();
            ++report_.events;
        }
    }
    if (!report_.divergence && !isTerminal(s_.status))
        report_.divergence = {s_.last_seq, s_.iteration, "end", "the record ends here",
                              fmt::format("the execution would be {}", statusName(s_.status))};
    report_.iterations = s_.iteration;
    report_.state = std::move(s_);
    return std::move(report_);
}

}  // namespace

Result<ReplayReport> replay(const Recording& recording) { return Replayer(recording).run(); }

}  // namespace aegis::runner
