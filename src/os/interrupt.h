#pragma once

#include <functional>
#include <thread>

#include "os/fd.h"

namespace aegis::os {

/// Calls back on a thread of its own for each of the given signals while it lives. Construct it
/// before any other thread exists: it blocks the signals for the calling thread and all later ones.
/// The callback may take its time and may end the process.
class SignalWatcher {
  public:
    using Callback = std::function<void(int signal)>;
    SignalWatcher(std::initializer_list<int> signals, Callback callback);
    ~SignalWatcher();
    SignalWatcher(const SignalWatcher&) = delete;
    SignalWatcher& operator=(const SignalWatcher&) = delete;

  private:
    void wait();

    Callback callback_;
    Fd signals_;
    Fd stop_;
    std::thread thread_;
};

}  // namespace aegis::os
