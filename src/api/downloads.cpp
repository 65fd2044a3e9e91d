// Answers that are files: an execution's archive, a volume's content.

#include <fmt/format.h>

#include "api/answer.h"
#include "api/api_routes.h"

namespace aegis::api {
namespace {

/// A header's quoted string: what would end it or begin a new line is left out.
std::string quotable(std::string_view name) {
    std::string out;
    for (char c : name) {
        bool plain = c >= ' ' && c <= '~' && c != '"' && c != '\\';
        out += plain ? c : '_';
    }
    return out;
}

/// Streams a download: its head is the answer's, an error in the middle cuts the answer.
service::DownloadSink sinkOf(net::ResponseWriter& writer, std::string_view media) {
    return {[&writer, media = std::string(media)](const service::DownloadHead& head) {
                wire::Headers headers{{"Content-Type", media},
                                      {"Cache-Control", "no-store"},
                                      {"X-Content-Type-Options", "nosniff"}};
                headers.add("Content-Disposition",
                            fmt::format("attachment; filename=\"{}\"", quotable(head.name)));
                return writer.begin(200, std::move(headers)).has_value();
            },
            [&writer](std::string_view bytes) { return writer.write(bytes).has_value(); }};
}

void finish(net::ResponseWriter& writer, const Status& done) {
    if (done)
        (void)writer.end();
    else
        sendError(writer, done.error());  // nothing is sent where an answer has begun
}

}  // namespace

void ApiRoutes::exportExecution(Call& call) {
    finish(call.writer, service_.exportExecution(call.who, call.captured[0],
                                                 sinkOf(call.writer, "application/gzip")));
}

void ApiRoutes::executionBody(Call& call) {
    auto text = service_.executionBody(call.captured[0], call.captured[1]);
    if (!text) {
        sendError(call.writer, text.error());
        return;
    }
    // Hostile bytes: never something that a browser would show as a page.
    (void)call.writer.send(200,
                           {{"Content-Type", "application/octet-stream"},
                            {"Cache-Control", "no-store"},
                            {"X-Content-Type-Options", "nosniff"},
                            {"Content-Disposition", "attachment"}},
                           *text);
}

void ApiRoutes::replayExecution(Call& call) {
    sendResult(call.writer, service_.replayExecution(call.who, call.captured[0]));
}

void ApiRoutes::volumeFiles(Call& call) {
    std::string path = call.captured.size() > 1 ? call.captured[1] : "";
    auto after = call.request.query.get("after");
    auto found = service_.volumeFiles(call.who, call.captured[0], path, std::string(after));
    bool content = found && json::getString(*found, "type") != "directory" &&
                   call.request.query.get("stat") != "true";
    if (!content) {
        sendResult(call.writer, found);
        return;
    }
    finish(call.writer, service_.readVolumeFile(call.who, call.captured[0], path,
                                                sinkOf(call.writer, "application/octet-stream")));
}

}  // namespace aegis::api
