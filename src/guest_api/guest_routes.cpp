#include "guest_api/guest_routes.h"

#include "guest_api/chat_routes.h"
#include "proto/guest.h"

namespace aegis::guest_api {
namespace {

namespace guest = proto::guest;
using runner::GuestMessage;

constexpr std::size_t kMaxConnections = 16;
/// How often a waiting handler looks whether its guest is still there.
constexpr std::int64_t kLookMs = 1000;

class Listener : public ports::GuestListener {
  public:
    Listener(std::shared_ptr<ports::Assigned> whose, std::unique_ptr<net::Server> server)
        : whose_(std::move(whose)), server_(std::move(server)) {}
    void assign(const ports::SandboxId& id) override { whose_->set(id); }

  private:
    const std::shared_ptr<ports::Assigned> whose_;  ///< shared with what the server calls
    std::unique_ptr<net::Server> server_;
};

std::string lineOf(const GuestMessage& message) {
    switch (message.kind) {
        case GuestMessage::Kind::kDelta:
            return guest::deltaLine(message.content);
        case GuestMessage::Kind::kFinal:
            return guest::finalLine(message.content, message.tool_calls_executed);
        case GuestMessage::Kind::kError:
            return guest::errorLine(message.code, message.message, message.retryable);
        case GuestMessage::Kind::kDispatch:
            break;
    }
    guest::Dispatch dispatch;
    dispatch.dispatch_id = message.dispatch_id;
    dispatch.command = message.command.command;
    dispatch.args = message.command.args;
    dispatch.cwd = message.command.cwd;
    dispatch.env_additions = message.command.env;
    dispatch.timeout_secs = message.command.timeout_secs;
    dispatch.max_output_bytes = message.command.max_output_bytes;
    return guest::dispatchLine(dispatch);
}

/// One line of a streamed answer, the last one if it is no delta.
Status put(const GuestMessage& message, net::ResponseWriter& writer) {
    bool unknown = message.kind == GuestMessage::Kind::kError &&
                   message.code == "unknown_dispatch" && !writer.begun();
    if (unknown) return writer.sendError(ErrorCode::kInvalid, "no such dispatch");
    auto line = lineOf(message);
    if (!writer.begun()) {
        wire::Headers headers{{"Content-Type", "application/x-ndjson"}};
        AEGIS_CHECK(writer.begin(200, std::move(headers), line));
        line.clear();
    }
    return message.kind == GuestMessage::Kind::kDelta ? writer.write(line) : writer.end(line);
}

/// Puts a short line without waiting, from another thread than the handler's; false: that one has
/// to.
bool deliver(const GuestMessage& message, net::ResponseWriter& writer) {
    constexpr std::size_t kShort = 16U << 10U;
    if (message.kind == GuestMessage::Kind::kDispatch || message.content.size() > kShort ||
        writer.hasUnsent())
        return false;
    writer.setPrompt(true);
    (void)put(message, writer);
    writer.setPrompt(false);
    return true;
}

/// Nobody reads any more, nor delivers.
struct Leave {
    runner::GuestCall& call;
    ~Leave() { call.abandon(); }
};

const std::string& executionIdOf(const guest::Request& request) {
    return std::visit([](const auto& r) -> const std::string& { return r.execution_id; }, request);
}

}  // namespace

Result<std::unique_ptr<ports::GuestListener>> GuestRoutes::listen(const std::string& socket_path) {
    net::ServerOptions options;
    options.name = "guest";
    options.max_connections = kMaxConnections;
    options.body_limit = [](std::string_view, std::string_view path) -> std::uint64_t {
        return chatFormat(path) ? proto::chat::kMaxBodyBytes : guest::kMaxBodyBytes;
    };
    options.refusal_body = [](std::string_view path, const Error& error) {
        auto format = chatFormat(path);
        return format ? proto::chat::errorBody(*format, error) : std::string();
    };
    options.acceptor = acceptor_;
    auto whose = std::make_shared<ports::Assigned>();
    // Shared by the connections of one socket, which may outlive this function's caller.
    auto chats = std::make_shared<std::atomic<int>>(0);
    auto serve = [this, whose, chats](const net::Request& request, net::ResponseWriter& writer) {
        const auto* id = whose->get();
        auto format = chatFormat(request.path);
        if (id == nullptr)
            (void)writer.sendError(ErrorCode::kConflict, "nothing is asked of this sandbox yet");
        else if (format)
            Chat(runner_, clock_, *format, writer).serve(*id, request, *chats);
        else
            handle(*id, request, writer);
    };
    AEGIS_TRY(auto server, net::Server::listenUnix(socket_path, 0666, options, serve));
    return std::unique_ptr<ports::GuestListener>(
        std::make_unique<Listener>(std::move(whose), std::move(server)));
}

void GuestRoutes::handle(const ports::SandboxId& id, const net::Request& request,
                         net::ResponseWriter& writer) {
    if (request.path != guest::kGeneratePath) {
        (void)writer.sendError(ErrorCode::kNotFound, "no such path");
        return;
    }
    if (request.method != "POST") {
        (void)writer.send(405, {{"Allow", "POST"}}, "");
        return;
    }
    auto parsed = guest::parseRequest(request.body);
    if (!parsed) {
        (void)writer.sendError(parsed.error().code, parsed.error().message);
        return;
    }
    if (executionIdOf(*parsed) != id.execution.str()) {
        (void)writer.sendError(ErrorCode::kPermissionDenied,
                               "this socket belongs to another execution");
        return;
    }
    auto call = std::make_shared<runner::GuestCall>();
    const Leave leave{*call};
    bool streams = !request.headers.hasToken("Accept", "application/json");
    if (streams)
        call->deliverBy([&writer](const GuestMessage& m) { return deliver(m, writer); });
    if (auto* generate = std::get_if<guest::GenerateRequest>(&*parsed))
        runner_.generate(id, std::move(*generate), call);
    else
        runner_.dispatchResult(id, std::move(std::get<guest::DispatchResult>(*parsed)), call);
    if (streams)
        stream(call, writer);
    else
        single(call, writer);
}

void GuestRoutes::stream(const runner::GuestCallPtr& call, net::ResponseWriter& writer) {
    while (true) {
        auto message = call->next(Deadline::in(clock_.boot(), kLookMs), clock_);
        if (!message) {
            if (!writer.flush() || !call->open() || writer.clientGone()) return;
            continue;
        }
        if (!put(*message, writer) || message->kind != GuestMessage::Kind::kDelta) return;
    }
}

void GuestRoutes::single(const runner::GuestCallPtr& call, net::ResponseWriter& writer) {
    while (!writer.clientGone()) {
        auto message = call->next(Deadline::in(clock_.boot(), kLookMs), clock_);
        if (!message && !call->open()) return;
        if (!message || message->kind == GuestMessage::Kind::kDelta) continue;
        if (message->kind == GuestMessage::Kind::kError && message->code == "unknown_dispatch") {
            (void)writer.sendError(ErrorCode::kInvalid, "no such dispatch");
            return;
        }
        (void)writer.sendJson(200, lineOf(*message));
        return;
    }
}

}  // namespace aegis::guest_api
