#pragma once

#include <cstddef>
#include <span>

namespace aegis {

/// A source of random bytes. The real one (os/random.h) is the kernel's; tests and simulation seed
/// their own. Implementations are safe on any thread.
class Random {
  public:
    virtual ~Random() = default;
    virtual void fill(std::span<std::byte> out) = 0;
};

}  // namespace aegis
