#include "wire/tar.h"

#include <gtest/gtest.h>

namespace aegis::wire {
namespace {

std::string file(std::string_view name, std::string_view content) {
    auto header = tarHeader(name, content.size(), 1'700'000'000);
    EXPECT_TRUE(header) << name;
    return *header + std::string(content) + tarPadding(content.size());
}

std::string zip(std::string_view bytes) {
    GzipWriter gzip;
    std::string out;
    for (std::size_t at = 0; at < bytes.size(); at += 1000)
        gzip.add(bytes.substr(at, 1000), out);
    gzip.finish(out);
    return out;
}

TEST(Tar, WhatIsWrittenIsReadBack) {
    std::string deep = std::string(36, 'e') + "/bodies/" + std::string(64, 'a');
    std::string large(100'000, 'x');
    auto archive = file("a.json", "{}") + file(deep, large) + file("empty", "") + tarEnd();
    EXPECT_EQ(archive.size() % 512, 0U);
    auto entries = readTar(archive, 3);
    ASSERT_TRUE(entries) << entries.error().message;
    ASSERT_EQ(entries->size(), 3U);
    EXPECT_EQ((*entries)[0].name, "a.json");
    EXPECT_EQ((*entries)[0].content, "{}");
    EXPECT_EQ((*entries)[1].name, deep) << "split into prefix and name";
    EXPECT_EQ((*entries)[1].content, large);
    EXPECT_EQ((*entries)[2].content, "");
    EXPECT_FALSE(readTar(archive, 2)) << "bounded";
}

TEST(Tar, LongNamesAreRefusedWhereTheyDoNotFit) {
    EXPECT_TRUE(tarHeader(std::string(100, 'n'), 0, 0));
    EXPECT_FALSE(tarHeader(std::string(101, 'n'), 0, 0)) << "no slash to split at";
    EXPECT_TRUE(tarHeader(std::string(155, 'd') + "/" + std::string(100, 'n'), 0, 0));
    EXPECT_FALSE(tarHeader(std::string(156, 'd') + "/" + std::string(100, 'n'), 0, 0));
    EXPECT_FALSE(tarHeader(std::string(20, 'd') + "/" + std::string(101, 'n'), 0, 0));
}

TEST(Tar, DamageIsFound) {
    auto good = file("a", "content") + tarEnd();
    ASSERT_TRUE(readTar(good, 9));
    auto bad = [](std::string archive) {
        auto read = readTar(archive, 9);
        return !read && read.error().code == ErrorCode::kInvalid;
    };
    EXPECT_TRUE(bad("")) << "no end";
    EXPECT_TRUE(bad(good.substr(0, 600)));
    EXPECT_TRUE(bad(good + std::string(512, 'x')));
    auto other = good;
    other[0] = 'b';
    EXPECT_TRUE(bad(other)) << "the checksum";
    EXPECT_TRUE(bad(file("../a", "x") + tarEnd()));
    EXPECT_TRUE(bad(file("a/../../b", "x") + tarEnd()));
    EXPECT_TRUE(bad(file("/etc/passwd", "x") + tarEnd()));
    EXPECT_FALSE(bad(file("a..b/..c", "x") + tarEnd()));
}

TEST(Gzip, RoundTripIsDeterministicAndBounded) {
    std::string text;
    for (int i = 0; i < 50'000; ++i)
        text += std::to_string(i * 7919);
    auto packed = zip(text);
    EXPECT_LT(packed.size(), text.size());
    EXPECT_EQ(packed, zip(text));
    auto back = gunzip(packed, text.size());
    ASSERT_TRUE(back);
    EXPECT_EQ(*back, text);
    auto bomb = gunzip(packed, text.size() - 1);
    ASSERT_FALSE(bomb);
    EXPECT_EQ(bomb.error().code, ErrorCode::kTooLarge);
    EXPECT_FALSE(gunzip(packed.substr(0, packed.size() - 1), text.size()));
    EXPECT_FALSE(gunzip(packed + "x", text.size())) << "something behind it";
    EXPECT_FALSE(gunzip("hello", 100));
    packed[packed.size() / 2] = static_cast<char>(~packed[packed.size() / 2]);
    EXPECT_FALSE(gunzip(packed, text.size()));
}

}  // namespace
}  // namespace aegis::wire
