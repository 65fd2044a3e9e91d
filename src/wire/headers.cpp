#include "wire/headers.h"

#include <algorithm>

namespace aegis::wire {
namespace {

char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; }

std::string_view trim(std::string_view text) {
    auto first = text.find_first_not_of(" \t");
    if (first == std::string_view::npos) return {};
    return text.substr(first, text.find_last_not_of(" \t") - first + 1);
}

bool isTokenChar(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           std::string_view("!#$%&'*+-.^_`|~").find(c) != std::string_view::npos;
}

}  // namespace

bool equalsNoCase(std::string_view a, std::string_view b) {
    return std::ranges::equal(a, b, {}, lower, lower);
}

bool isValidField(std::string_view name, std::string_view value) {
    auto allowed = [](char c) {
        auto byte = static_cast<unsigned char>(c);
        return c == '\t' || (byte >= 0x20 && byte != 0x7f);
    };
    return !name.empty() && std::ranges::all_of(name, isTokenChar) &&
           std::ranges::all_of(value, allowed);
}

const std::string* Headers::find(std::string_view name) const {
    for (const auto& field : fields_)
        if (equalsNoCase(field.name, name)) return &field.value;
    return nullptr;
}

std::string_view Headers::get(std::string_view name, std::string_view fallback) const {
    const auto* value = find(name);
    return value != nullptr ? std::string_view(*value) : fallback;
}

std::size_t Headers::count(std::string_view name) const {
    return static_cast<std::size_t>(std::ranges::count_if(
        fields_, [&](const HeaderField& field) { return equalsNoCase(field.name, name); }));
}

bool Headers::hasToken(std::string_view name, std::string_view token) const {
    for (const auto& field : fields_) {
        if (!equalsNoCase(field.name, name)) continue;
        std::string_view rest = field.value;
        while (!rest.empty()) {
            auto comma = rest.find(',');
            if (equalsNoCase(trim(rest.substr(0, comma)), token)) return true;
            if (comma == std::string_view::npos) break;
            rest.remove_prefix(comma + 1);
        }
    }
    return false;
}

void Headers::add(std::string name, std::string value) {
    fields_.push_back({std::move(name), std::move(value)});
}

void Headers::set(std::string name, std::string value) {
    remove(name);
    add(std::move(name), std::move(value));
}

void Headers::remove(std::string_view name) {
    std::erase_if(fields_, [&](const HeaderField& f) { return equalsNoCase(f.name, name); });
}

}  // namespace aegis::wire
