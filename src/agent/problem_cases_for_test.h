#pragma once

#include <gtest/gtest.h>

#include <fstream>
#include <sstream>
#include <string>
#include <vector>

/// For tests: testdata/manifest_problems.txt.
namespace aegis::agent {

/// "### title", a document (or, indented, the rest of a spec), "### =>" and the report.
struct ProblemCase {
    std::string title, input, report;
};

inline std::string problemCasesPath() {
    return std::string(AEGIS_SOURCE_DIR) + "/src/agent/testdata/manifest_problems.txt";
}

inline std::vector<ProblemCase> readProblemCases() {
    std::ifstream in(problemCasesPath(), std::ios::binary);
    EXPECT_TRUE(in) << problemCasesPath();
    std::vector<ProblemCase> cases;
    bool in_report = false;
    for (std::string line; std::getline(in, line);) {
        if (line == "### =>") {
            in_report = true;
        } else if (line.starts_with("### ")) {
            cases.push_back({line, "", ""});
            in_report = false;
        } else if (!cases.empty()) {
            (in_report ? cases.back().report : cases.back().input) += line + "\n";
        }
    }
    return cases;
}

}  // namespace aegis::agent
