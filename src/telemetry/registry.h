#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

namespace aegis::telemetry {

enum class MetricType : std::uint8_t { kCounter, kGauge, kHistogram };

/// A metric with its series, one for each combination of label values. At most kMaxSeries of them:
/// what comes beyond is counted in one whose labels all read "other". Any thread.
class Metric {
  public:
    static constexpr std::size_t kMaxSeries = 500;

    /// `bounds` (of a histogram): the upper bounds of its buckets, rising, without infinity.
    Metric(MetricType type, std::string name, std::string help, std::vector<std::string> labels,
           std::vector<double> bounds);

    using Labels = std::vector<std::string_view>;  ///< values, in the order of the names
    /// Of a counter or gauge.
    void add(const Labels& labels, double amount = 1);
    void set(const Labels& labels, double value);
    /// Of a histogram.
    void observe(const Labels& labels, double value);

    /// HELP, TYPE and every series (Prometheus text format 0.0.4).
    void write(std::string& out) const;

  private:
    struct Series {
        std::vector<std::string> labels;
        double value = 0;  ///< of a histogram: the sum
        std::uint64_t count = 0;
        std::vector<std::uint64_t> buckets;
    };
    Series& series(const Labels& labels);
    void writeHistogram(std::string& out, const Series& s) const;
    std::string labelText(const Series& s, std::string_view le) const;

    const MetricType type_;
    const std::string name_;
    const std::string help_;
    const std::vector<std::string> label_names_;
    const std::vector<double> bounds_;
    mutable std::mutex mutex_;
    std::map<std::vector<std::string>, Series> series_;
};

/// Metrics in the order in which they were made. Metrics live as long as it does.
class Registry {
  public:
    Metric& counter(std::string name, std::string help, std::vector<std::string> labels = {});
    Metric& gauge(std::string name, std::string help, std::vector<std::string> labels = {});
    Metric& histogram(std::string name, std::string help, std::vector<std::string> labels,
                      std::vector<double> bounds);
    std::string text() const;

  private:
    std::vector<std::unique_ptr<Metric>> metrics_;
};

}  // namespace aegis::telemetry
