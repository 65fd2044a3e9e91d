#pragma once

#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <vector>

#include "execution/input.h"
#include "proto/guest.h"
#include "runner/deps.h"
#include "runner/guest_call.h"

namespace aegis::runner {

/// One execution. Feeds inputs to the core, appends the events, and keeps what goes on equal to
/// what is due. Everything but the functions under "any thread" runs on its core thread, or on one
/// that asks in its place (see CoreThreads), one job at a time.
///
/// Durability: effects start and guests are answered only when every event of class A or B that has
/// been decided is on disk (`durable_ >= barrier_`); events of class C may still be on their way.
///
/// Shared ownership: results of effects, timers and commits in flight keep it alive until they have
/// come.
class Actor : public std::enable_shared_from_this<Actor> {
  public:
    enum class End : std::uint8_t {
        kTerminal,  ///< the terminal event is durable
        kRefused,   ///< the first batch was refused: the execution does not exist
        kBroken,    ///< the journal failed later: to be loaded from it again
    };
    using Ended = std::function<void(const ExecutionId&, End)>;

    Actor(std::shared_ptr<Deps> deps, ExecutionContext context, execution::State state,
          Ended ended);

    // ---- Any thread ----

    const ExecutionContext& context() const { return context_; }
    Deps& deps() { return *deps_; }
    /// What the model is offered.
    const ports::ToolSpecs& tools();

    /// A result, a timer, a cancel. The bodies are stored with the events that refer to them.
    void post(execution::InputData data, std::vector<ports::Body> bodies = {});
    /// The first input, by a caller that holds no lock; `accepted` is told when it was made, once
    /// it is durable, or refused: on the journal's thread.
    using Accepted = std::function<void(Result<UtcTime>)>;
    void create(execution::ExecutionCreated data, ports::Body input, Accepted accepted);
    /// A job on the core thread, before everything that is not urgent.
    void run(std::function<void()> job);

    /// A guest asks, on a thread that holds no lock. The closing message comes through `call`;
    /// errors too.
    void generate(GuestAsk ask, GuestCallPtr call);
    void dispatchResult(int sandbox, proto::guest::DispatchResult result, GuestCallPtr call);

    /// Dropped when the mailbox is full.
    void egress(int sandbox, execution::EgressDecided data);

    /// Text of the model as it comes; may be called often, by a thread that holds no lock.
    void modelDelta(int call, std::string_view text);
    /// The end of a model call, after all of its text. `failure`: what a guest is told that goes
    /// on after it.
    void modelEnded(int call, execution::InputData result, std::vector<ports::Body> bodies,
                    ModelFailure failure = {});

    /// The sandbox's runtime is told to start it: what its first request is counted from.
    void sandboxAsked();

    /// Forgets every effect without an event: the daemon stops, the execution stays as it is on
    /// disk. `closed` is called when its sandbox has no process left.
    void halt(std::function<void()> closed);

    // ---- Core thread, for effects ----

    const execution::State& state() const { return state_; }
    void rememberDispatch(const std::string& id, ports::DispatchCommand command);

  private:
    struct DeferredGenerate {
        GuestAsk ask;
        GuestCallPtr call;
    };
    /// Text of the model that waits for its turn on the core thread, by call.
    struct DeltaBuffer {
        std::mutex mutex;
        std::map<int, std::string> texts;
        bool posted = false;
    };

    /// As run(), on the caller's thread where the actor is idle. Holds no lock.
    void here(std::function<void()> job);
    /// On the caller's thread, which may wait for the disk, where the actor is idle; else false.
    /// Then up to `more` of what follows.
    bool patiently(const std::function<void()>& job, int more);
    void take(std::function<void()> job, const GuestCallPtr& call);
    void handle(execution::InputData data, std::vector<ports::Body> bodies);
    /// Several at once: what they say is one batch.
    void handleAll(std::vector<execution::InputData> inputs, std::vector<ports::Body> bodies);
    void append(std::vector<execution::Event> events, std::vector<ports::Body> bodies,
                std::uint64_t before, const std::vector<execution::OpenReservation>& reserved);
    void committed(std::uint64_t seq, bool first, const Status& status);
    void settle();
    void reconcile();
    void cancelAll();
    void answerGuests();
    void answer(const execution::GuestReply& reply, const GuestCallPtr& call);
    void failGuests(const std::string& message);
    void retryDeferred();
    void drainDeltas();
    void tell(int call, const std::string& text);
    void takeOutput(int call, std::vector<execution::InputData>& inputs);
    void handleGenerate(DeferredGenerate asked);
    void enterSandbox(int sandbox);
    std::optional<int> unheard(const GuestAsk& ask);
    void wait(int conversation, const GuestCallPtr& call);
    void refuse(const GuestCallPtr& call) const;
    void finishDispatch(int sandbox, const execution::BodyRef& answer, int index,
                        proto::guest::DispatchResult result);
    void handleDispatchResult(int sandbox, proto::guest::DispatchResult result, GuestCallPtr call);
    std::string effectiveRequestId(const GuestAsk& ask);
    ports::ExecutionRow row() const;
    bool settled() const { return durable_ >= barrier_; }
    void end(End how);

    const std::shared_ptr<Deps> deps_;  ///< see Deps
    const ExecutionContext context_;
    std::once_flag tools_asked_;
    ports::ToolSpecs tools_;
    CoreThreads::MailboxPtr mailbox_;
    Ended ended_;
    execution::State state_;
    std::uint64_t durable_ = 0;
    std::uint64_t barrier_ = 0;
    bool halted_ = false;
    bool patient_ = false;  ///< the thread that has the turn may wait for the disk
    Accepted accepted_;  ///< until the first batch is on its way
    std::map<execution::EffectKey, std::function<void()>> effects_;  ///< running, with their cancel
    std::map<int, GuestCallPtr> waiting_;                            ///< by conversation
    std::set<int> attached_;       ///< conversations that the present sandbox has asked about
    int attached_sandbox_ = 0;
    /// Conversations with a format whose answer the present sandbox may still ask for, by prompt,
    /// and who asked last.
    std::multimap<std::string, int> chats_;
    std::map<int, GuestCallPtr> askers_;
    std::map<int, ModelFailure> failures_;  ///< of conversations, until the guest is told
    std::vector<DeferredGenerate> deferred_;  ///< came before the sandbox was known to be up
    std::map<std::string, ports::DispatchCommand> dispatches_;
    DeltaBuffer deltas_;
    std::atomic<std::int64_t> sandbox_asked_ns_ = 0;  ///< 0: no request is the first
    std::map<int, std::string> output_;  ///< of the model, by call, not yet an event
};

}  // namespace aegis::runner
