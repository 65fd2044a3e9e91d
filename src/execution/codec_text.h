#pragma once

#include "execution/codec_archive.h"

namespace aegis::execution::codec {

/// For codec.cpp alone: Writer's twin, which writes the text of an object at once.
class TextWriter {
  public:
    static constexpr bool kWriting = true;
    template <class T>
    using Ref = const T&;

    explicit TextWriter(std::string& out) : out_(out) { out_ += '{'; }
    void end() { out_ += '}'; }

    void field(const char* key, bool value) { name(key) += value ? "true" : "false"; }
    void field(const char* key, double value) {
        name(key) += json::dumpNumber(std::isfinite(value) ? value : 0.0);
    }
    template <std::integral T>
    void field(const char* key, T value) {
        name(key) += std::to_string(value);
    }
    template <class T>
    void field(const char* key, const std::optional<T>& value) {
        if (value) field(key, *value);
    }
    void field(const char* key, const std::string& text, std::size_t limit = kNoLimit) {
        if (!text.empty()) name(key) += quoted(text, limit);
    }
    void field(const char* key, const UtcTime& time) { field(key, time.rfc3339()); }
    template <class Tag>
    void field(const char* key, const Id<Tag>& id) {
        if (!id.empty()) field(key, id.str());
    }
    void field(const char* key, const BodyRef& ref) {
        if (!ref.empty())
            object(key, [&](TextWriter& w) {
                w.field("sha256", ref.sha256, kDigestBytes), w.field("size", ref.size);
            });
    }
    void field(const char* key, const Failure& failure) {
        if (failure.code.empty()) return;
        object(key, [&](TextWriter& w) {
            w.field("code", failure.code);
            w.field("message", failure.message, kMaxMessageBytes);
        });
    }
    void field(const char* key, const std::map<std::string, std::string>& map) {
        if (map.empty()) return;
        // Two names may be the same once they are made UTF-8.
        Writer w;
        w.field(key, map);
        name(key) += json::dump(w.out[key]);
    }
    void field(const char* key, Outcome outcome) {
        field(key, std::string(kOutcomes[std::size_t(outcome)]));
    }
    template <class T>
    void nested(const char* key, const T& value) {
        object(key, [&](TextWriter& w) { fields(w, value); });
    }
    template <class T>
    void nested(const char* key, const std::optional<T>& value) {
        if (value) nested(key, *value);
    }
    template <class T>
    void list(const char* key, const std::vector<T>& values) {
        if (values.empty()) return;
        name(key) += '[';
        for (const T& value : values) {
            if (out_.back() != '[') out_ += ',';
            TextWriter w(out_);
            fields(w, value);
            w.end();
        }
        out_ += ']';
    }
    /// A member whose value is JSON text already.
    void raw(const char* key, std::string_view text) { name(key) += text; }

  private:
    std::string& name(const char* key) {
        if (out_.back() != '{') out_ += ',';
        out_ += '"';
        out_ += key;
        return out_ += "\":";
    }
    static std::string quoted(std::string_view text, std::size_t limit) {
        if (text.size() <= limit) return json::quote(text);
        return json::quote(json::view(textValue(text, limit).get_string()));
    }
    template <class F>
    void object(const char* key, F fill) {
        name(key);
        TextWriter w(out_);
        fill(w);
        w.end();
    }

    std::string& out_;
};

}  // namespace aegis::execution::codec
