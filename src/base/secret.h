#pragma once

#include <string>
#include <string_view>
#include <utility>

namespace aegis {

/// A string that cannot be printed, formatted, compared with == or turned into JSON by accident;
/// the only way to its text is reveal(), which is easy to find in a review. Wiped when destroyed.
class Secret {
  public:
    Secret() = default;
    explicit Secret(std::string text) : text_(std::move(text)) {}
    Secret(const Secret&) = default;
    Secret(Secret&&) noexcept = default;
    Secret& operator=(const Secret&) = default;
    Secret& operator=(Secret&&) noexcept = default;
    ~Secret();

    bool empty() const { return text_.empty(); }
    const std::string& reveal() const { return text_; }
    /// Compares in time that does not depend on where the texts differ.
    bool equals(std::string_view other) const;

  private:
    std::string text_;
};

}  // namespace aegis
