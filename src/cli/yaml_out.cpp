#include "cli/yaml_out.h"

#include <algorithm>
#include <array>

namespace aegis::cli {
namespace {

bool isPlain(std::string_view text) {
    constexpr std::array<std::string_view, 12> kWords{
        "true", "false", "null", "yes", "no", "on", "off", "True", "False", "Null", "~", "NULL"};
    if (text.empty() || std::ranges::find(kWords, text) != kWords.end()) return false;
    constexpr std::string_view kSafe =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_./-+() ,@";
    if (text.find_first_not_of(kSafe) != std::string_view::npos) return false;
    bool letter_first =
        (text[0] >= 'a' && text[0] <= 'z') || (text[0] >= 'A' && text[0] <= 'Z') || text[0] == '/';
    return letter_first && text.back() != ' ';
}

bool isBlock(std::string_view text) {
    auto break_at = text.find('\n');
    if (break_at == std::string_view::npos || text.starts_with(' ') || text.starts_with('\n'))
        return false;
    return std::ranges::all_of(text, [](char c) {
        return c == '\n' || (static_cast<unsigned char>(c) >= 0x20 && c != 0x7f);
    });
}

void emit(std::string& out, const json::Value& value, int indent);

std::string scalar(const json::Value& value) {
    if (!value.is_string()) return json::dump(value);
    auto text = json::view(value.get_string());
    return isPlain(text) ? std::string(text) : json::quote(text);
}

void emitBlock(std::string& out, std::string_view text, int indent) {
    auto trailing = text.size() - (text.find_last_not_of('\n') + 1);
    out += trailing == 0 ? " |-\n" : trailing == 1 ? " |\n" : " |+\n";
    if (trailing > 0) text.remove_suffix(1);
    while (true) {
        auto end = text.find('\n');
        auto line = text.substr(0, end);
        if (!line.empty()) out.append(static_cast<std::size_t>(indent), ' ') += line;
        out += '\n';
        if (end == std::string_view::npos) return;
        text.remove_prefix(end + 1);
    }
}

void emitChild(std::string& out, const json::Value& value, int indent) {
    bool nested = (value.is_object() && !value.get_object().empty()) ||
                  (value.is_array() && !value.get_array().empty());
    if (nested) {
        out += '\n';
        emit(out, value, indent);
    } else if (value.is_string() && isBlock(json::view(value.get_string()))) {
        emitBlock(out, json::view(value.get_string()), indent);
    } else {
        out += " " + scalar(value) + "\n";
    }
}

void emit(std::string& out, const json::Value& value, int indent) {
    std::string pad(static_cast<std::size_t>(indent), ' ');
    if (const auto* object = value.if_object(); object != nullptr && !object->empty()) {
        for (const auto& [key, member] : *object) {
            out += pad + scalar(json::Value(key)) + ":";
            emitChild(out, member, indent + 2);
        }
    } else if (const auto* array = value.if_array(); array != nullptr && !array->empty()) {
        for (const auto& element : *array) {
            auto at = out.size();
            out += pad + "-";
            emitChild(out, element, indent + 2);
            // "- key: …": a nested element begins on the line of its dash.
            auto after = at + pad.size() + 1;
            if (out[after] == '\n') out.replace(after, pad.size() + 3, " ");
        }
    } else {
        out += pad + scalar(value) + "\n";
    }
}

}  // namespace

std::string yamlText(const json::Value& value) {
    std::string out;
    if (value.is_string() && isBlock(json::view(value.get_string()))) {
        emitBlock(out, json::view(value.get_string()), 2);
        return out.substr(1);
    }
    emit(out, value, 0);
    return out;
}

}  // namespace aegis::cli
