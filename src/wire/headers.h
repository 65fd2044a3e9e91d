#pragma once

#include <cstddef>
#include <initializer_list>
#include <string>
#include <string_view>
#include <vector>

namespace aegis::wire {

struct HeaderField {
    std::string name;
    std::string value;
};

/// The fields of an HTTP head in their order. Names compare without regard to ASCII case. A value;
/// any thread, one at a time.
class Headers {
  public:
    Headers() = default;
    Headers(std::initializer_list<HeaderField> fields) : fields_(fields) {}

    /// The first field of that name; nullptr if there is none. Valid until the next change.
    const std::string* find(std::string_view name) const;
    /// The first value of that name, or `fallback`.
    std::string_view get(std::string_view name, std::string_view fallback = {}) const;
    std::size_t count(std::string_view name) const;
    /// Whether a comma-separated list field ("Connection: close, te") holds `token`, in any case.
    bool hasToken(std::string_view name, std::string_view token) const;

    void add(std::string name, std::string value);
    /// Replaces all fields of that name by one.
    void set(std::string name, std::string value);
    void remove(std::string_view name);

    std::size_t size() const { return fields_.size(); }
    auto begin() const { return fields_.begin(); }
    auto end() const { return fields_.end(); }

  private:
    std::vector<HeaderField> fields_;
};

/// ASCII case-insensitive equality.
bool equalsNoCase(std::string_view a, std::string_view b);

/// Whether `name` is an RFC 9110 token and `value` holds no control character but tab: only such
/// fields may be sent.
bool isValidField(std::string_view name, std::string_view value);

}  // namespace aegis::wire
