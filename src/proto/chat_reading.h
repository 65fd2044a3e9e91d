#pragma once

#include <initializer_list>
#include <optional>
#include <set>
#include <string>
#include <string_view>

#include "proto/chat.h"

// For chat_openai.cpp and chat_anthropic.cpp alone: reading a hostile body field by field, and what
// the two formats have in common.

namespace aegis::proto::chat {

/// A place in a body, spelt as the format's API spells it in its errors: messages[0].content, or
/// messages.0.content.
class Place {
  public:
    explicit Place(Format format) : format_(format) {}
    Place at(std::string_view key) const;
    Place at(std::size_t index) const;
    const std::string& str() const { return path_; }

    /// "Invalid 'messages[0].content': expected a string", "messages.0.content: expected a string".
    Error bad(std::string_view what, ErrorCode code = ErrorCode::kInvalid) const;
    /// Understood, but no part of what goes through here.
    Error unsupported(std::string_view what = "is not supported here") const {
        return bad(what, ErrorCode::kUnsupported);
    }

  private:
    Format format_;
    std::string path_;
};

using Keys = std::initializer_list<std::string_view>;

/// One object of a body. Members that are null count as missing.
class Fields {
  public:
    /// An error if `value` is no object.
    static Result<Fields> of(const json::Value& value, Place place);

    const json::Value* find(std::string_view key) const;
    const json::Value& value() const { return *value_; }
    const Place& place() const { return place_; }
    Place at(std::string_view key) const { return place_.at(key); }

    Result<std::string_view> text(std::string_view key) const;  ///< must be there
    Result<std::optional<std::string_view>> optionalText(std::string_view key) const;
    Result<bool> boolean(std::string_view key, bool fallback) const;
    Result<std::optional<double>> number(std::string_view key, double low, double high) const;
    Result<std::optional<std::int64_t>> integer(std::string_view key, std::int64_t low,
                                                std::int64_t high) const;
    /// Null if it is missing.
    Result<const json::Array*> list(std::string_view key, std::size_t most) const;

    /// An error for a member that has a value and is in neither list; one of its own for those that
    /// are `unsupported`.
    Status only(Keys known, Keys unsupported = {}) const;

  private:
    Fields(const json::Value& value, Place place) : value_(&value), place_(std::move(place)) {}
    const json::Value* value_;
    Place place_;
};

/// A content: a text, or a list of parts of type text, whose texts are put together line by line.
/// `may_have` are members of a part that change nothing and are left out.
Result<std::string> contentText(const json::Value& content, const Place& place, Keys may_have);

/// A tool's name as both APIs want it: [a-zA-Z0-9_-]{1,most}.
Status checkName(std::string_view name, std::size_t most, const Place& place);

json::Object message(std::string_view role, std::string_view content);
json::Object toolCall(std::string_view id, std::string_view name, std::string_view arguments);

/// Of a list of texts, as `stop`.
Result<json::Array> texts(const json::Array& list, const Place& place);

/// The rules of both APIs: results follow the calls they are of, each once; the last word is not
/// the assistant's. `messages` is in the one form, and so is the error's place.
Status checkTurns(const json::Array& messages, const Place& place);

/// Tools in the one form as they are read; their names are unique.
class ToolList {
  public:
    Status add(std::string_view name, std::string_view description, const json::Value* parameters,
               bool strict, const Place& place);
    bool has(std::string_view name) const { return names_.contains(std::string(name)); }
    json::Array take() { return std::move(tools_); }

  private:
    json::Array tools_;
    std::set<std::string> names_;
};

Result<Request> parseOpenAi(const Fields& body);
Result<Request> parseAnthropic(const Fields& body);

}  // namespace aegis::proto::chat
