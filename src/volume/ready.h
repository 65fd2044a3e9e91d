#pragma once

#include <atomic>
#include <cstdint>
#include <optional>
#include <string>

#include "os/fd.h"
#include "os/stock.h"
#include "volume/image.h"

namespace aegis::volume {

/// Empty volumes made ahead, so that no execution waits for a copy, a loop device and a mount. Of
/// each template that is in use there are a few; they are mounted nowhere, so that what a killed
/// daemon leaves are files below Layout::ready() alone, which the constructor removes. Every call
/// is safe on any thread.
class ReadyVolumes {
  public:
    struct Ready {
        std::string image;  ///< to be renamed
        os::Fd mount;       ///< detached
    };

    /// `layout` must have been made, and outlive this.
    explicit ReadyVolumes(const Layout& layout);

    /// One made of this template, if there is one; more are made for those who come next.
    std::optional<Ready> take(const std::string& template_path);
    /// Throws away what nobody has asked for in the last minutes.
    void expire() { stock_.expire(); }
    /// Throws all away and makes no more. Repeatable.
    void stop() { stock_.stop(); }

  private:
    Result<Ready> make(const std::string& template_path);

    const Layout& layout_;
    std::atomic<std::uint64_t> next_ = 0;
    os::Stock<std::string, Ready> stock_;  ///< last: its thread uses all of the above
};

}  // namespace aegis::volume
