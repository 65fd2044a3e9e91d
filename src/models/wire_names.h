#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace aegis::models {

/// Maps names (of tools, or ids of tool calls) to what providers accept, `[a-zA-Z0-9_-]{1,64}`, and
/// back. Injective by construction: no two names get the same wire name. Legal names stay as they
/// are; in others each illegal byte becomes '_' ("fs.write" -> "fs_write"), and a name that is too
/// long or would collide gets a suffix of its SHA-256. The same names in the same order always give
/// the same mapping. A value; one for each request.
class WireNames {
  public:
    /// Adds all of `names` at once: legal ones first, so that they keep their spelling whatever
    /// their place. Those known already keep their mapping.
    void add(const std::vector<std::string>& names);

    /// The wire name of `name`; adds it if it is new.
    const std::string& toWire(const std::string& name);

    /// The name behind `wire`, or `wire` itself if no name maps to it (a model invented it).
    std::string fromWire(std::string_view wire) const;

    /// Whether `name` can go on the wire as it is.
    static bool isLegal(std::string_view name);

  private:
    void assign(const std::string& name);

    std::map<std::string, std::string> to_wire_;
    std::map<std::string, std::string, std::less<>> from_wire_;
};

}  // namespace aegis::models
