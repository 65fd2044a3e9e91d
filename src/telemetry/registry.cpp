#include "telemetry/registry.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/assert.h"

namespace aegis::telemetry {
namespace {

std::string_view typeName(MetricType type) {
    return type == MetricType::kCounter ? "counter"
           : type == MetricType::kGauge ? "gauge"
                                        : "histogram";
}

std::string escaped(std::string_view text, bool quotes) {
    std::string out;
    for (char c : text) {
        if (c == '\\')
            out += "\\\\";
        else if (c == '\n')
            out += "\\n";
        else if (c == '"' && quotes)
            out += "\\\"";
        else
            out += c;
    }
    return out;
}

}  // namespace

Metric::Metric(MetricType type, std::string name, std::string help, std::vector<std::string> labels,
               std::vector<double> bounds)
    : type_(type),
      name_(std::move(name)),
      help_(std::move(help)),
      label_names_(std::move(labels)),
      bounds_(std::move(bounds)) {
    // One without labels is there from the start: a missing series and 0 are not the same.
    if (label_names_.empty()) series({});
}

Metric::Series& Metric::series(const Labels& labels) {
    AEGIS_ASSERT(labels.size() == label_names_.size());
    std::vector<std::string> key(labels.begin(), labels.end());
    auto found = series_.find(key);
    if (found == series_.end() && series_.size() >= kMaxSeries) {
        key.assign(labels.size(), "other");
        found = series_.find(key);
    }
    if (found != series_.end()) return found->second;
    auto& made = series_[key];
    made.labels = std::move(key);
    made.buckets.resize(bounds_.size());
    return made;
}

void Metric::add(const Labels& labels, double amount) {
    std::lock_guard lock(mutex_);
    series(labels).value += amount;
}

void Metric::set(const Labels& labels, double value) {
    std::lock_guard lock(mutex_);
    series(labels).value = value;
}

void Metric::observe(const Labels& labels, double value) {
    std::lock_guard lock(mutex_);
    auto& s = series(labels);
    s.value += value;
    ++s.count;
    auto at = std::ranges::lower_bound(bounds_, value) - bounds_.begin();
    if (static_cast<std::size_t>(at) < s.buckets.size()) ++s.buckets[static_cast<std::size_t>(at)];
}

std::string Metric::labelText(const Series& s, std::string_view le) const {
    std::string out;
    for (std::size_t i = 0; i < label_names_.size(); ++i)
        out += fmt::format("{}{}=\"{}\"", out.empty() ? "" : ",", label_names_[i],
                           escaped(s.labels[i], true));
    if (!le.empty()) out += fmt::format("{}le=\"{}\"", out.empty() ? "" : ",", le);
    return out.empty() ? out : "{" + out + "}";
}

void Metric::writeHistogram(std::string& out, const Series& s) const {
    std::uint64_t total = 0;
    for (std::size_t i = 0; i < bounds_.size(); ++i) {
        total += s.buckets[i];
        out += fmt::format("{}_bucket{} {}\n", name_, labelText(s, fmt::format("{}", bounds_[i])),
                           total);
    }
    out += fmt::format("{}_bucket{} {}\n", name_, labelText(s, "+Inf"), s.count);
    out += fmt::format("{}_sum{} {}\n", name_, labelText(s, {}), s.value);
    out += fmt::format("{}_count{} {}\n", name_, labelText(s, {}), s.count);
}

void Metric::write(std::string& out) const {
    std::lock_guard lock(mutex_);
    out += fmt::format("# HELP {} {}\n# TYPE {} {}\n", name_, escaped(help_, false), name_,
                       typeName(type_));
    for (const auto& [key, s] : series_) {
        if (type_ == MetricType::kHistogram)
            writeHistogram(out, s);
        else
            out += fmt::format("{}{} {}\n", name_, labelText(s, {}), s.value);
    }
}

Metric& Registry::counter(std::string name, std::string help, std::vector<std::string> labels) {
    return *metrics_.emplace_back(std::make_unique<Metric>(MetricType::kCounter, std::move(name),
                                                           std::move(help), std::move(labels),
                                                           std::vector<double>{}));
}

Metric& Registry::gauge(std::string name, std::string help, std::vector<std::string> labels) {
    return *metrics_.emplace_back(std::make_unique<Metric>(MetricType::kGauge, std::move(name),
                                                           std::move(help), std::move(labels),
                                                           std::vector<double>{}));
}

Metric& Registry::histogram(std::string name, std::string help, std::vector<std::string> labels,
                            std::vector<double> bounds) {
    return *metrics_.emplace_back(std::make_unique<Metric>(MetricType::kHistogram, std::move(name),
                                                           std::move(help), std::move(labels),
                                                           std::move(bounds)));
}

std::string Registry::text() const {
    std::string out;
    for (const auto& metric : metrics_)
        metric->write(out);
    return out;
}

}  // namespace aegis::telemetry
