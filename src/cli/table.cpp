#include "cli/table.h"

#include <algorithm>
#include <numeric>

#include "text/escape.h"

namespace aegis::cli {
namespace {

constexpr std::size_t kGap = 2;
constexpr std::size_t kLeastColumn = 8;

/// Code points: near enough to columns for names, ids and times.
std::size_t lengthOf(std::string_view text) {
    return static_cast<std::size_t>(std::ranges::count_if(
        text, [](char c) { return (static_cast<unsigned char>(c) & 0xc0U) != 0x80U; }));
}

std::string cut(const std::string& text, std::size_t columns) {
    if (lengthOf(text) <= columns) return text;
    std::string out;
    std::size_t taken = 0;
    for (char c : text) {
        bool starts = (static_cast<unsigned char>(c) & 0xc0U) != 0x80U;
        if (starts && ++taken >= columns) break;
        out += c;
    }
    return out + "…";
}

}  // namespace

std::string Table::str(int width) const {
    std::vector<std::vector<std::string>> lines{header_};
    for (const auto& row : rows_) {
        lines.emplace_back();
        for (const auto& cell : row) lines.back().push_back(text::escapeControl(cell));
    }
    std::vector<std::size_t> columns(header_.size(), 0);
    for (const auto& line : lines) {
        for (std::size_t i = 0; i < columns.size(); ++i)
            columns[i] = std::max(columns[i], lengthOf(line[i]));
    }
    auto total = [&] {
        return std::accumulate(columns.begin(), columns.end(), std::size_t{0}) +
               kGap * (columns.size() - 1);
    };
    while (width > 0 && total() > static_cast<std::size_t>(width)) {
        auto widest = std::ranges::max_element(columns);
        if (*widest <= kLeastColumn) break;
        auto over = total() - static_cast<std::size_t>(width);
        *widest = std::max(kLeastColumn, *widest - std::min(over, *widest - kLeastColumn));
    }
    std::string out;
    for (const auto& line : lines) {
        std::string text;
        for (std::size_t i = 0; i < columns.size(); ++i) {
            auto cell = cut(line[i], columns[i]);
            text += cell;
            if (i + 1 < columns.size()) text.append(columns[i] - lengthOf(cell) + kGap, ' ');
        }
        text.erase(text.find_last_not_of(' ') + 1);
        out += text + "\n";
    }
    return out;
}

}  // namespace aegis::cli
