#include "tools/web/web_fetch.h"

#include <fmt/format.h>

#include <array>

#include "text/escape.h"
#include "tools/args/args.h"

namespace aegis::tools {
namespace {

constexpr std::array<ArgSpec, 1> kArgs{
    {{"url", ArgType::kString, true, "An absolute http or https URL."}}};

constexpr int kFirstErrorStatus = 400;

/// What of the call can be shown, however wrong it is.
std::string urlOf(const ports::ToolCall& call) {
    auto arguments = parseArguments(call.arguments, kArgs);
    return arguments ? std::string(json::getString(*arguments, "url")) : std::string();
}

ports::ToolOutcome failed(const std::string& url, std::string_view why) {
    ports::ToolOutcome outcome;
    outcome.ok = false;
    outcome.summary = summaryOf(url);
    outcome.reason = reasonOf(WebFetch::kName, url, why);
    outcome.text = outcome.reason;
    return outcome;
}

ports::ToolOutcome outcomeOf(const std::string& url, const Result<ports::WebAnswer>& answer) {
    if (!answer) return failed(url, answer.error().message);
    ports::ToolOutcome outcome;
    outcome.summary = summaryOf(url);
    outcome.ok = answer->status < kFirstErrorStatus;
    if (!outcome.ok) outcome.reason = fmt::format("HTTP {}", answer->status);
    std::string_view body = answer->body;
    // The cut may have gone through a character.
    if (answer->truncated && !body.empty()) body = text::headUtf8(body, body.size() - 1);
    outcome.text =
        fmt::format(R"({{"status":{},"url":{},"content_type":{},"body":{},"truncated":{}}})",
                    answer->status, json::quote(answer->url), json::quote(answer->content_type),
                    json::quote(body), answer->truncated);
    return outcome;
}

}  // namespace

ports::ToolSpec WebFetch::spec() {
    return {.name = std::string(kName),
            .description =
                "Fetches a text page from the web with GET and follows redirects. The answer has "
                "status, url, content_type, body and truncated; a body ends at 256 KiB. Only hosts "
                "that the agent may reach.",
            .parameters = schemaOf(kArgs)};
}

ports::ToolAdmission WebFetch::admit(const ports::ToolCall& call) const {
    auto arguments = parseArguments(call.arguments, kArgs);
    if (!arguments) return refusal({}, reasonOf(kName, {}, arguments.error().message));
    auto url = std::string(json::getString(*arguments, "url"));
    if (auto checked = web_.check(url); !checked)
        return refusal(summaryOf(url), reasonOf(kName, url, checked.error().message));
    return {.verdict = ports::ToolAdmission::Verdict::kRun,
            .summary = summaryOf(url),
            .reason = {},
            .dispatch = {}};
}

void WebFetch::run(const ports::ToolContext& context, const ports::ToolCall& call,
                   Deadline deadline, std::function<void(ports::ToolOutcome)> done) const {
    auto url = urlOf(call);
    ports::WebRequest request;
    request.sandbox = context.sandbox;
    request.network = context.manifest->security.network;
    request.url = url;
    request.max_bytes = kMaxPageBytes;
    request.deadline = deadline;
    request.stop = context.stop;
    request.decided = context.egress;
    web_.fetch(std::move(request),
               [url, done = std::move(done)](const Result<ports::WebAnswer>& answer) {
                   done(outcomeOf(url, answer));
               });
}

}  // namespace aegis::tools
