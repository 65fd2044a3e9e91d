#pragma once

#include "execution/codec_archive.h"

namespace aegis::execution::codec {

/// For codec.cpp alone: Writer's twin, which writes the text of an object at once.
class TextWriter : public WriterForms<TextWriter> {
  public:
    using WriterForms::field;

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
    void field(const char* key, const std::string& text, std::size_t limit = kNoLimit) {
        if (!text.empty()) name(key) += quoted(text, limit);
    }
    void field(const char* key, const std::map<std::string, std::string>& map) {
        if (map.empty()) return;
        // Two names may be the same once they are made UTF-8.
        Writer w;
        w.field(key, map);
        name(key) += json::dump(w.out[key]);
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
    template <class F>
    void object(const char* key, F fill) {
        name(key);
        TextWriter w(out_);
        fill(w);
        w.end();
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

    std::string& out_;
};

}  // namespace aegis::execution::codec
