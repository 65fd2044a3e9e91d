#include "cli/table.h"

#include <algorithm>
#include <numeric>

#include "cli/color.h"
#include "text/display_width.h"
#include "text/escape.h"

namespace aegis::cli {
namespace {

constexpr std::size_t kGap = 2;
constexpr std::size_t kLeastColumn = 8;

}  // namespace

std::string Table::str(int width, bool color) const {
    std::vector<std::vector<std::string>> lines{header_};
    for (const auto& row : rows_) {
        lines.emplace_back();
        for (const auto& cell : row)
            lines.back().push_back(text::escapeControl(cell));
    }
    std::vector<std::size_t> columns(header_.size(), 0);
    for (const auto& line : lines) {
        for (std::size_t i = 0; i < columns.size(); ++i)
            columns[i] = std::max(columns[i], text::displayWidth(line[i]));
    }
    auto total = [&] {
        return std::accumulate(columns.begin(), columns.end(), std::size_t{0}) +
               kGap * (columns.size() - 1);
    };
    auto room = static_cast<std::size_t>(std::max(width, 0));
    for (auto& column : columns)
        column = room > 0 ? std::min(column, std::max(room, kLeastColumn)) : column;
    while (room > 0 && total() > room) {
        auto widest = std::ranges::max_element(columns);
        if (*widest <= kLeastColumn) break;
        --*widest;
    }
    std::string out;
    for (const auto& line : lines) {
        std::string text;
        for (std::size_t i = 0; i < columns.size(); ++i) {
            auto cell = text::fitWidth(line[i], columns[i]);
            bool status = color && header_[i] == "STATUS";
            text += painted(cell, status ? statusColor(cell) : Color::kNone, color);
            if (i + 1 == columns.size()) continue;
            text.append(columns[i] - text::displayWidth(cell) + kGap, ' ');
        }
        text.erase(text.find_last_not_of(' ') + 1);
        out += text + "\n";
    }
    return out;
}

}  // namespace aegis::cli
