#pragma once

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <concepts>
#include <limits>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "execution/event.h"

// For codec.cpp alone: the two directions of the events' JSON behind one interface, so that each
// type's fields are named once, in its fields() function.

namespace aegis::execution::codec {

/// The longest prefix of at most `limit` bytes that does not split a character.
std::string_view prefix(std::string_view text, std::size_t limit);

/// Of a body's name, which is never cut otherwise.
inline constexpr std::size_t kDigestBytes = 64;
inline constexpr std::size_t kNoLimit = std::numeric_limits<std::size_t>::max();

/// A JSON string of at most `limit` bytes; bytes that are not UTF-8 become U+FFFD (before the cut,
/// so that encoding what was decoded changes nothing).
json::Value textValue(std::string_view text, std::size_t limit = kNoLimit);

inline constexpr std::array<std::string_view, 3> kOutcomes = {"completed", "failed", "cancelled"};

/// What all writers write alike: the fields of a type that has a form of its own, through the plain
/// ones and object() of `Self`.
template <class Self>
class WriterForms {
  public:
    static constexpr bool kWriting = true;
    template <class T>
    using Ref = const T&;

    template <class T>
    void field(const char* key, const std::optional<T>& value) {
        if (value) self().field(key, *value);
    }
    void field(const char* key, const UtcTime& time) { self().field(key, time.rfc3339()); }
    template <class Tag>
    void field(const char* key, const Id<Tag>& id) {
        if (!id.empty()) self().field(key, id.str());
    }
    void field(const char* key, const BodyRef& ref) {
        if (!ref.empty())
            self().object(key, [&](Self& w) {
                w.field("sha256", ref.sha256, kDigestBytes), w.field("size", ref.size);
            });
    }
    void field(const char* key, const Failure& failure) {
        if (failure.code.empty()) return;
        self().object(key, [&](Self& w) {
            w.field("code", failure.code);
            w.field("message", failure.message, kMaxMessageBytes);
        });
    }
    void field(const char* key, Outcome outcome) {
        self().field(key, std::string(kOutcomes[std::size_t(outcome)]));
    }
    template <class T>
    void nested(const char* key, const T& value) {
        self().object(key, [&](Self& w) { fields(w, value); });
    }
    template <class T>
    void nested(const char* key, const std::optional<T>& value) {
        if (value) nested(key, *value);
    }

  private:
    Self& self() { return static_cast<Self&>(*this); }
};

/// Writes fields into an object.
class Writer : public WriterForms<Writer> {
  public:
    using WriterForms::field;

    void field(const char* key, bool value) { out[key] = value; }
    void field(const char* key, double value) { out[key] = std::isfinite(value) ? value : 0.0; }
    template <std::integral T>
    void field(const char* key, T value) {
        out[key] = value;
    }
    void field(const char* key, const std::string& text, std::size_t limit = kNoLimit) {
        if (!text.empty()) out[key] = textValue(text, limit);
    }
    void field(const char* key, const std::map<std::string, std::string>& map) {
        if (map.empty()) return;
        json::Object members;
        for (const auto& [name, text] : map) {
            json::Value clean = textValue(name);
            members[clean.get_string()] = textValue(text);
        }
        out[key] = std::move(members);
    }
    template <class T>
    void list(const char* key, const std::vector<T>& values) {
        json::Array array;
        for (const T& value : values) {
            Writer w;
            fields(w, value);
            array.push_back(std::move(w.out));
        }
        if (!array.empty()) out[key] = std::move(array);
    }
    template <class F>
    void object(const char* key, F fill) {
        Writer w;
        fill(w);
        out[key] = std::move(w.out);
    }

    json::Object out;
};

/// Reads fields back; the first that is missing or of a wrong kind is remembered.
class Reader {
  public:
    static constexpr bool kWriting = false;
    template <class T>
    using Ref = T&;

    explicit Reader(const json::Value& value) : value_(value) {
        if (!value.is_object()) bad_ = "is no object";
    }

    void field(const char* key, bool& value) {
        const auto* v = need(key);
        if (v == nullptr) return;
        if (v->is_bool())
            value = v->get_bool();
        else
            bad(key);
    }
    void field(const char* key, double& value) {
        const auto* v = need(key);
        if (v == nullptr) return;
        if (v->is_number())
            value = v->to_number<double>();
        else
            bad(key);
    }
    template <std::integral T>
    void field(const char* key, T& value) {
        if (const auto* v = need(key)) integer(key, *v, value);
    }
    template <class T>
    void field(const char* key, std::optional<T>& value) {
        if (json::find(value_, key) != nullptr) field(key, value.emplace());
    }
    void field(const char* key, std::string& text, std::size_t = 0) {
        const auto* v = json::find(value_, key);
        if (v == nullptr) return;
        if (v->is_string())
            text = json::view(v->get_string());
        else
            bad(key);
    }
    void field(const char* key, UtcTime& time) {
        if (auto parsed = UtcTime::parse(json::getString(value_, key)))
            time = *parsed;
        else
            bad(key);
    }
    template <class Tag>
    void field(const char* key, Id<Tag>& id) {
        const auto* v = json::find(value_, key);
        if (v == nullptr) return;
        if (auto parsed = Id<Tag>::parse(json::getString(value_, key)))
            id = *parsed;
        else
            bad(key);
    }
    void field(const char* key, BodyRef& ref) {
        object(key, [&](Reader& r) { r.field("sha256", ref.sha256), r.field("size", ref.size); });
        if (ref.sha256.size() > kDigestBytes) bad(key);
    }
    void field(const char* key, Failure& failure) {
        object(key, [&](Reader& r) {
            r.field("code", failure.code);
            r.field("message", failure.message);
        });
    }
    void field(const char* key, std::map<std::string, std::string>& map) {
        const auto* v = json::find(value_, key);
        if (v == nullptr) return;
        if (!v->is_object()) return bad(key);
        for (const auto& [name, text] : v->get_object()) {
            if (!text.is_string()) return bad(key);
            map.emplace(std::string(name.data(), name.size()), json::view(text.get_string()));
        }
    }
    void field(const char* key, Outcome& outcome) {
        auto found = std::ranges::find(kOutcomes, json::getString(value_, key));
        if (found == kOutcomes.end()) return bad(key);
        outcome = static_cast<Outcome>(found - kOutcomes.begin());
    }
    template <class T>
    void nested(const char* key, T& value) {
        if (need(key) != nullptr) object(key, [&](Reader& r) { fields(r, value); });
    }
    template <class T>
    void nested(const char* key, std::optional<T>& value) {
        if (json::find(value_, key) != nullptr) nested(key, value.emplace());
    }
    template <class T>
    void list(const char* key, std::vector<T>& values) {
        const auto* v = json::find(value_, key);
        if (v == nullptr) return;
        if (!v->is_array()) return bad(key);
        for (const auto& element : v->get_array()) {
            Reader r(element);
            fields(r, values.emplace_back());
            take(key, r);
        }
    }

    const std::string& problem() const { return bad_; }

  private:
    const json::Value* need(const char* key) {
        const auto* v = json::find(value_, key);
        if (v == nullptr) bad(key);
        return v;
    }
    template <std::integral T>
    void integer(const char* key, const json::Value& v, T& value) {
        if (v.is_int64() && std::in_range<T>(v.get_int64()))
            value = static_cast<T>(v.get_int64());
        else if (v.is_uint64() && std::in_range<T>(v.get_uint64()))
            value = static_cast<T>(v.get_uint64());
        else
            bad(key);
    }
    template <class F>
    void object(const char* key, F fill) {
        const auto* v = json::find(value_, key);
        if (v == nullptr) return;
        Reader r(*v);
        fill(r);
        take(key, r);
    }
    void take(const char* key, const Reader& inner) {
        if (!inner.bad_.empty() && bad_.empty()) bad_ = fmt::format("{}: {}", key, inner.bad_);
    }
    void bad(const char* key) {
        if (bad_.empty()) bad_ = fmt::format("'{}' is missing or of the wrong kind", key);
    }

    const json::Value& value_;
    std::string bad_;
};

}  // namespace aegis::execution::codec
