#include "os/log_sink.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <array>
#include <string>

#include "os/fd.h"

namespace aegis::os {
namespace {

/// The line without its time.
std::string lineOf(LogFormat format, std::string_view message,
                   std::initializer_list<LogField> fields) {
    std::array<int, 2> pipe{};
    EXPECT_EQ(::pipe(pipe.data()), 0);
    Fd reader(pipe[0]);
    Fd writer(pipe[1]);
    FdLogSink sink(writer.get(), LogFormat::kText);
    sink.setFormat(format);
    sink.write(LogLevel::kWarn, message, fields);
    std::string text(4096, '\0');
    text.resize(static_cast<std::size_t>(::read(reader.get(), text.data(), text.size())));
    auto time = text.find("20");
    return text.erase(time, 24);
}

TEST(LogSink, TextQuotesWhatIsNotPlain) {
    EXPECT_EQ(lineOf(LogFormat::kText, "said", {{"a", "b"}, {"n", "7", true}, {"e", ""}}),
              " WARN  said a=b n=7 e=\"\"\n");
    EXPECT_EQ(lineOf(LogFormat::kText, "x", {{"p", "/a b"}, {"q", "k=v"}}),
              " WARN  x p=\"/a b\" q=\"k=v\"\n");
}

TEST(LogSink, NothingDrivesATerminalOrMakesALine) {
    EXPECT_EQ(lineOf(LogFormat::kText, "a\nb", {{"p", "\x1b[31m"}}),
              " WARN  a\\u000ab p=\"\\u001b[31m\"\n");
    // U+009B is one character that does what ESC [ does.
    EXPECT_EQ(lineOf(LogFormat::kText, "x",
                     {{"p",
                       "\xc2\x9b"
                       "1m"}}),
              " WARN  x p=\"\\ufffd\\ufffd1m\"\n");
}

TEST(LogSink, JsonIsJsonWhateverTheBytes) {
    EXPECT_EQ(lineOf(LogFormat::kJson, "said \"x\"", {{"n", "7", true}, {"p", "\xff\xe2\x82\xac"}}),
              "{\"time\":\"\",\"level\":\"warn\",\"message\":\"said \\\"x\\\"\",\"n\":7,"
              "\"p\":\"\\ufffd\xe2\x82\xac\"}\n");
    EXPECT_EQ(lineOf(LogFormat::kJson, "x", {{"p", "\xc0\xaf\xed\xa0\x80"}}),
              "{\"time\":\"\",\"level\":\"warn\",\"message\":\"x\","
              "\"p\":\"\\ufffd\\ufffd\\ufffd\\ufffd\\ufffd\"}\n");
}

}  // namespace
}  // namespace aegis::os
