#include "base/secret.h"

#include <cstddef>

namespace aegis {

Secret::~Secret() {
    volatile char* at = text_.data();
    for (std::size_t i = 0; i < text_.size(); ++i) at[i] = 0;
}

bool Secret::equals(std::string_view other) const {
    // The loop runs over `other`, whose length the caller knows, never over the secret's.
    unsigned difference = text_.size() == other.size() ? 0 : 1;
    for (std::size_t i = 0; i < other.size(); ++i) {
        auto mine = text_.empty() ? '\0' : text_[i % text_.size()];
        difference |= static_cast<unsigned char>(mine ^ other[i]);
    }
    return difference == 0;
}

}  // namespace aegis
