#pragma once

#include <map>
#include <set>
#include <string>

#include "text/json.h"

/// For tests: the fields that a JSON Schema and a grammar know, to hold them side by side.
namespace aegis::text {

/// By the path of their object: "spec.volumes[]" -> {"name", ...}.
using Fields = std::map<std::string, std::set<std::string>>;

/// What a schema's `properties` say, through $ref, anyOf, allOf and oneOf.
class SchemaFields {
  public:
    explicit SchemaFields(const json::Value& root) : root_(root) { walk(root, ""); }
    const Fields& fields() const { return fields_; }
    /// Fields without a description.
    const std::set<std::string>& undescribed() const { return undescribed_; }

  private:
    const json::Value& resolve(const json::Value& at) const {
        auto reference = json::getString(at, "$ref");
        if (reference.empty()) return at;
        boost::system::error_code error;
        const auto* found = root_.find_pointer(
            boost::json::string_view(reference.data() + 1, reference.size() - 1), error);
        return found == nullptr ? root_ : resolve(*found);
    }

    void walk(const json::Value& unresolved, const std::string& path) {
        const auto& at = resolve(unresolved);
        if (!at.is_object()) return;
        for (auto key : {"anyOf", "allOf", "oneOf"}) {
            const auto* parts = json::find(at, key);
            if (parts == nullptr) continue;
            for (const auto& part : parts->as_array())
                walk(part, path);
        }
        if (const auto* items = json::find(at, "items")) walk(*items, path + "[]");
        const auto* properties = json::find(at, "properties");
        if (properties == nullptr) return;
        for (const auto& [name, value] : properties->as_object()) {
            std::string key(name);
            auto child = path.empty() ? key : path + "." + key;
            fields_[path].insert(key);
            // A condition ("type is regex") is no definition.
            bool described = json::find(value, "const") != nullptr ||
                             json::find(value, "description") != nullptr ||
                             json::find(resolve(value), "description") != nullptr;
            // What `validators` narrows again, elsewhere in the same list, is described there.
            if (!described && value.as_object().size() > 1) undescribed_.insert(child);
            walk(value, child);
        }
    }

    const json::Value& root_;
    Fields fields_;
    std::set<std::string> undescribed_;
};

/// "spec.volumes[3]" -> "spec.volumes[]".
inline std::string anyItem(const std::string& path) {
    std::string out;
    bool inside = false;
    for (char c : path) {
        if (c == ']') inside = false;
        if (!inside) out += c;
        if (c == '[') inside = true;
    }
    return out;
}

}  // namespace aegis::text
