#include "proto/launch.h"

#include <gtest/gtest.h>

namespace aegis::proto::launch {
namespace {

Spawn sample() {
    Spawn spawn;
    spawn.token = 7;
    spawn.tmp_bytes = 1 << 20;
    spawn.entrance = {true, 2};
    spawn.mounts = {{"/workspace", true, false}, {"/workspace/out.txt", false, true}};
    return spawn;
}

SpawnTemplate templateSample() {
    return {9, {false, 3}, {"python3", "-c", "x"}, {"A=1", ""}, std::string(8, 'f')};
}

TEST(Launch, MessagesComeBackAsTheyWere) {
    for (const Request& request : {Request(sample()), Request(Configure{std::string(16, 'x')}),
                                   Request(templateSample()), Request(MapStem{3, 4711, 12})}) {
        auto bytes = encode(request);
        ASSERT_TRUE(bytes);
        auto back = parseRequest(*bytes);
        ASSERT_TRUE(back);
        EXPECT_TRUE(*back == request);
    }
    for (const Reply& reply : {Reply(Configured{7}), Reply(Spawned{7, 4711}),
                               Reply(SpawnFailed{7, 28, "tmpfs"}), Reply(StemMapped{8})}) {
        auto bytes = encode(reply);
        ASSERT_TRUE(bytes);
        auto back = parseReply(*bytes);
        ASSERT_TRUE(back);
        EXPECT_TRUE(*back == reply);
    }
    EXPECT_EQ(fdCount(sample()), 9U);
    EXPECT_EQ(fdCount(templateSample()), 6U);
    for (const bool unhurried : {false, true}) {
        const Finish finish{1 << 20, sample().mounts, unhurried};
        auto bytes = encode(finish);
        ASSERT_TRUE(bytes);
        auto back = parseFinish(*bytes);
        ASSERT_TRUE(back);
        EXPECT_TRUE(*back == finish);
        EXPECT_FALSE(parseRequest(*bytes)) << "it is for a stem, not for the launcher";
        bytes->back() = 2;
        EXPECT_FALSE(parseFinish(*bytes));
    }
}

TEST(Launch, EveryTruncationAndEveryTailIsRefused) {
    for (const Request& request : {Request(templateSample()), Request(sample())}) {
        auto bytes = encode(request);
        ASSERT_TRUE(bytes);
        for (std::size_t size = 0; size < bytes->size(); ++size)
            EXPECT_FALSE(parseRequest(bytes->substr(0, size))) << size;
        EXPECT_FALSE(parseRequest(*bytes + "x"));
    }
    auto bytes = encode(Request(sample()));
    auto finish = encode(Finish{5, sample().mounts});
    for (std::size_t size = 0; size < finish->size(); ++size)
        EXPECT_FALSE(parseFinish(finish->substr(0, size))) << size;
    EXPECT_FALSE(parseFinish(*finish + "x"));
    auto reply = encode(Reply(Spawned{1, 2}));
    EXPECT_FALSE(parseReply(*reply + "x"));
    EXPECT_FALSE(parseReply(*bytes)) << "a request is no reply";
}

TEST(Launch, PlacesMustBeCleanAndFew) {
    for (const char* target : {"", "/", "a", "/a/", "/a//b", "/a/../b", "/./a", "/.."}) {
        Spawn spawn;
        spawn.mounts = {{target, true, true}};
        EXPECT_FALSE(encode(Request(spawn))) << target;
    }
    Spawn many;
    many.mounts.assign(kMaxMounts + 1, {"/a", true, true});
    EXPECT_FALSE(encode(Request(many)));
    many.mounts.clear();
    many.entrance.doors = kMaxDoors + 1;
    EXPECT_FALSE(encode(Request(many)));
    EXPECT_FALSE(encode(Request(Configure{"odd"})));
    EXPECT_FALSE(encode(Request(Configure{})));
    EXPECT_FALSE(encode(Request(SpawnTemplate{1, {}, {}, {}, std::string(8, 'f')})));
    EXPECT_FALSE(encode(Request(SpawnTemplate{1, {}, {"a"}, {}, "odd"})));
    EXPECT_FALSE(encode(
        Request(SpawnTemplate{1, {}, {"a", std::string("b\0c", 3)}, {}, std::string(8, 'f')})));
    auto good = encode(Request(sample()));
    auto at = good->find("/workspace/out.txt");
    good->replace(at, 10, "/../../etc");
    EXPECT_FALSE(parseRequest(*good));
}

}  // namespace
}  // namespace aegis::proto::launch
