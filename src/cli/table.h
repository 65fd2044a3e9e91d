#pragma once

#include <string>
#include <vector>

namespace aegis::cli {

/// Columns aligned by two spaces. Cells are escaped and kept on one line; where `width` is not 0
/// the widest column is cut, with "…", until the lines fit. With `color` the words of columns
/// headed STATUS are in theirs.
class Table {
  public:
    explicit Table(std::vector<std::string> header) : header_(std::move(header)) {}
    void row(std::vector<std::string> cells) { rows_.push_back(std::move(cells)); }
    std::string str(int width, bool color = false) const;

  private:
    std::vector<std::string> header_;
    std::vector<std::vector<std::string>> rows_;
};

}  // namespace aegis::cli
