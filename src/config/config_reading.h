#pragma once

#include <string>
#include <string_view>

#include "config/config.h"
#include "text/yaml_reader.h"

/// What the files of the configuration's grammar share. Internal to this room.
namespace aegis::config::detail {

using yaml::Node;
using yaml::Reader;

/// The fields whose text is read straight into a Secret: expand() leaves their `env:NAME` alone, so
/// that it is in no tree and no message.
bool isSecretKey(std::string_view key);

struct Context {
    yaml::Problems& problems;
    const EnvLookup& env;
    std::string_view base_dir;
};

/// Replaces each `env:NAME` in the tree (but those of secrets) by the variable's text.
void expand(Node& node, const std::string& path, Context& context);

/// A string that may be `env:NAME`; `variable` gets the NAME.
bool readSecret(Reader& reader, std::string_view key, Secret& out, Context& context,
                std::string* variable = nullptr);
/// A path, relative to the file's folder.
bool readFilePath(Reader& reader, std::string_view key, std::string& out, const Context& context);

/// A whole file.
void readRoot(const Node& root, Config& out, Context& context);
void readLlm(const Node* node, LlmConfig& out, Context& context);
void readTools(const Node& node, ToolsConfig& out, Context& context);

}  // namespace aegis::config::detail
