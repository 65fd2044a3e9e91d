#include "text/line_diff.h"

#include <fmt/format.h>

#include <algorithm>
#include <unordered_map>
#include <vector>

namespace aegis::text {
namespace {

constexpr std::size_t kContext = 3;
constexpr int kMaxEdits = 600;

using Lines = std::vector<std::string_view>;

/// Lines with their newline, so that a last line without one differs from the same line with it.
Lines linesOf(std::string_view text) {
    Lines out;
    while (!text.empty()) {
        auto end = text.find('\n');
        auto size = end == std::string_view::npos ? text.size() : end + 1;
        out.push_back(text.substr(0, size));
        text.remove_prefix(size);
    }
    return out;
}

/// One step of the way from `before` to `after`: a line kept (' '), removed ('-') or added ('+').
struct Step {
    char kind;
    std::string_view line;
};

/// Lines as numbers: equal numbers are equal lines.
class Interner {
  public:
    std::vector<int> operator()(const Lines& lines) {
        std::vector<int> out;
        for (auto line : lines) {
            auto next = static_cast<int>(known_.size());
            out.push_back(known_.emplace(line, next).first->second);
        }
        return out;
    }

  private:
    std::unordered_map<std::string_view, int> known_;
};

/// The greedy algorithm of Myers, "An O(ND) Difference Algorithm and Its Variations". The kinds of
/// the steps; empty if more than kMaxEdits are needed.
std::vector<char> leastEdit(const std::vector<int>& a, const std::vector<int>& b) {
    const auto n = static_cast<int>(a.size());
    const auto m = static_cast<int>(b.size());
    std::vector<std::vector<int>> trace;  // the furthest x on each diagonal, before each round
    std::vector<int> furthest(2 * kMaxEdits + 3, 0);
    auto at = [](int diagonal) { return static_cast<std::size_t>(diagonal + kMaxEdits + 1); };
    int edits = 0;
    for (bool done = n == 0 && m == 0; !done; ++edits) {
        if (edits > kMaxEdits) return {};
        trace.emplace_back(furthest.begin() + static_cast<std::ptrdiff_t>(at(-edits)) - 1,
                           furthest.begin() + static_cast<std::ptrdiff_t>(at(edits)) + 2);
        for (int k = -edits; k <= edits && !done; k += 2) {
            bool down = k == -edits || (k != edits && furthest[at(k - 1)] < furthest[at(k + 1)]);
            int x = down ? furthest[at(k + 1)] : furthest[at(k - 1)] + 1;
            int y = x - k;
            while (x < n && y < m &&
                   a[static_cast<std::size_t>(x)] == b[static_cast<std::size_t>(y)])
                ++x, ++y;
            furthest[at(k)] = x;
            done = x >= n && y >= m;
        }
    }
    std::vector<char> steps;
    int x = n, y = m;
    for (int d = edits - 1; d >= 0; --d) {
        const auto& before = trace[static_cast<std::size_t>(d)];
        auto was = [&](int k) { return before[static_cast<std::size_t>(k + d + 1)]; };
        int k = x - y;
        bool down = k == -d || (k != d && was(k - 1) < was(k + 1));
        int from = down ? k + 1 : k - 1;
        int from_x = d == 0 ? 0 : was(from);
        int from_y = d == 0 ? 0 : from_x - from;
        for (; x > from_x && y > from_y; --x, --y)
            steps.push_back(' ');
        if (d == 0) break;
        steps.push_back(down ? '+' : '-');
        x = from_x;
        y = from_y;
    }
    std::ranges::reverse(steps);
    return steps;
}

std::vector<Step> stepsBetween(const Lines& before, const Lines& after) {
    std::size_t head = 0, tail = 0;
    auto shorter = std::min(before.size(), after.size());
    while (head < shorter && before[head] == after[head])
        ++head;
    while (tail < shorter - head &&
           before[before.size() - 1 - tail] == after[after.size() - 1 - tail])
        ++tail;
    Lines old(before.begin() + static_cast<std::ptrdiff_t>(head),
              before.end() - static_cast<std::ptrdiff_t>(tail));
    Lines now(after.begin() + static_cast<std::ptrdiff_t>(head),
              after.end() - static_cast<std::ptrdiff_t>(tail));
    Interner numbers;
    auto kinds = leastEdit(numbers(old), numbers(now));
    if (kinds.empty()) {
        kinds.assign(old.size(), '-');
        kinds.insert(kinds.end(), now.size(), '+');
    }
    std::vector<Step> out;
    for (std::size_t i = 0; i < head; ++i)
        out.push_back({' ', before[i]});
    std::size_t a = 0, b = 0;
    for (char kind : kinds) {
        out.push_back({kind, kind == '+' ? now[b] : old[a]});
        a += kind != '+' ? 1 : 0;
        b += kind != '-' ? 1 : 0;
    }
    for (std::size_t i = before.size() - tail; i < before.size(); ++i)
        out.push_back({' ', before[i]});
    return out;
}

/// "12,3", or "12" for one line; where there is none, the line before.
std::string range(std::size_t first, std::size_t count) {
    if (count == 1) return fmt::format("{}", first);
    return fmt::format("{},{}", count == 0 ? first - 1 : first, count);
}

std::string hunk(const std::vector<Step>& steps, std::size_t from, std::size_t to,
                 std::size_t before_line, std::size_t after_line) {
    std::size_t old = 0, now = 0;
    std::string body;
    for (std::size_t i = from; i < to; ++i) {
        old += steps[i].kind != '+' ? 1 : 0;
        now += steps[i].kind != '-' ? 1 : 0;
        body += fmt::format("{}{}", steps[i].kind, steps[i].line);
        if (!steps[i].line.ends_with('\n')) body += "\n\\ No newline at end of file\n";
    }
    return fmt::format("@@ -{} +{} @@\n{}", range(before_line, old), range(after_line, now), body);
}

}  // namespace

std::string unifiedDiff(std::string_view before, std::string_view after,
                        std::string_view before_name, std::string_view after_name) {
    if (before == after) return {};
    auto old = linesOf(before), now = linesOf(after);
    auto steps = stepsBetween(old, now);
    auto out = fmt::format("--- {}\n+++ {}\n", before_name, after_name);
    std::size_t before_line = 1, after_line = 1, at = 0;
    auto pass = [&](std::size_t to) {
        for (; at < to; ++at) {
            before_line += steps[at].kind != '+' ? 1 : 0;
            after_line += steps[at].kind != '-' ? 1 : 0;
        }
    };
    auto changed = [](const Step& step) { return step.kind != ' '; };
    while (true) {
        auto first =
            std::find_if(steps.begin() + static_cast<std::ptrdiff_t>(at), steps.end(), changed);
        if (first == steps.end()) return out;
        auto begin = static_cast<std::size_t>(first - steps.begin());
        auto last = begin;
        // Changes nearer than twice the context share a hunk.
        for (auto i = begin; i < steps.size() && i <= last + 2 * kContext + 1; ++i)
            if (changed(steps[i])) last = i;
        pass(begin - std::min(begin - at, kContext));
        auto end = std::min(last + kContext + 1, steps.size());
        out += hunk(steps, at, end, before_line, after_line);
        pass(end);
    }
}

}  // namespace aegis::text
