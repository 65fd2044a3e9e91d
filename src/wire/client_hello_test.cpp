#include "wire/client_hello.h"

#include <gtest/gtest.h>

namespace aegis::wire {
namespace {

std::string number(std::size_t value, int bytes) {
    std::string out;
    for (int i = bytes - 1; i >= 0; --i)
        out += static_cast<char>(value >> (8 * i) & 0xff);
    return out;
}
std::string vec(const std::string& bytes, int length_bytes) {
    return number(bytes.size(), length_bytes) + bytes;
}
std::string nameExtension(const std::string& name) {
    return number(0, 2) + vec(vec(std::string(1, '\0') + vec(name, 2), 2), 2);
}
std::string message(const std::string& extensions) {
    std::string body = "\x03\x03" + std::string(32, 'r') + vec("", 1) + vec("\x13\x01", 2) +
                       vec(std::string(1, '\0'), 1) + vec(extensions, 2);
    return "\x01" + vec(body, 3);
}
std::string record(const std::string& bytes) { return "\x16\x03\x01" + vec(bytes, 2); }
const std::string kOther = number(43, 2) + vec("\x02\x03\x04", 2);

TEST(ClientHelloTest, TellsTheName) {
    auto hello = parseClientHello(record(message(kOther + nameExtension("api.example.com"))));
    ASSERT_TRUE(hello && *hello);
    EXPECT_EQ((*hello)->server_name, "api.example.com");
    auto none = parseClientHello(record(message(kOther)));
    ASSERT_TRUE(none && *none);
    EXPECT_FALSE((*none)->server_name);
}

TEST(ClientHelloTest, RecordsMayCutItAnywhere) {
    const auto whole = message(nameExtension("a.example") + kOther);
    for (std::size_t cut = 1; cut < whole.size(); ++cut) {
        auto bytes = record(whole.substr(0, cut)) + record(whole.substr(cut));
        auto hello = parseClientHello(bytes);
        ASSERT_TRUE(hello && *hello) << cut;
        EXPECT_EQ((*hello)->server_name, "a.example");
        for (std::size_t have : {std::size_t{0}, cut, cut + 5, bytes.size() - 1}) {
            auto part = parseClientHello(std::string_view(bytes).substr(0, have));
            ASSERT_TRUE(part) << cut << " " << have;
            EXPECT_FALSE(*part) << cut << " " << have;
        }
    }
}

TEST(ClientHelloTest, WhatIsNoneIsRefused) {
    const auto name = nameExtension("a.com");
    for (const auto& bytes :
         {std::string("GET / HTTP/1.1\r\n"), std::string("SSH-2.0"),
          record("\x02" + std::string(40, 'x')), record(message(name + name)),
          record(message(nameExtension(""))),
          record(message(nameExtension(std::string("a\0b", 3)))), record(message(name) + "x"),
          record(message(name + "x")), std::string("\x16\x03\x01\x00\x00", 5)})
        EXPECT_FALSE(parseClientHello(bytes));
    auto large = parseClientHello(record(std::string("\x01\xff\xff\xff", 4)));
    ASSERT_FALSE(large);
    EXPECT_EQ(large.error().code, ErrorCode::kTooLarge);
}

}  // namespace
}  // namespace aegis::wire
