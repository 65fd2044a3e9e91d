#include "ports/journal.h"
#include "text/digest.h"

namespace aegis::ports {

Body makeBody(std::string bytes) {
    Body body;
    body.ref = {text::sha256Hex(bytes), bytes.size()};
    body.bytes = std::make_shared<const std::string>(std::move(bytes));
    return body;
}

}  // namespace aegis::ports
