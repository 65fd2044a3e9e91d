#include "proto/launch.h"

#include <gtest/gtest.h>

namespace aegis::proto::launch {
namespace {

Spawn sample() {
    Spawn spawn;
    spawn.token = 7;
    spawn.tmp_bytes = 1 << 20;
    spawn.into_cgroup = true;
    spawn.mounts = {{"/workspace", true, false}, {"/workspace/out.txt", false, true}};
    return spawn;
}

TEST(Launch, MessagesComeBackAsTheyWere) {
    for (const Request& request : {Request(sample()), Request(Configure{std::string(16, 'x')})}) {
        auto bytes = encode(request);
        ASSERT_TRUE(bytes);
        auto back = parseRequest(*bytes);
        ASSERT_TRUE(back);
        EXPECT_TRUE(*back == request);
    }
    for (const Reply& reply :
         {Reply(Configured{7}), Reply(Spawned{7, 4711}), Reply(SpawnFailed{7, 28, "tmpfs"})}) {
        auto bytes = encode(reply);
        ASSERT_TRUE(bytes);
        auto back = parseReply(*bytes);
        ASSERT_TRUE(back);
        EXPECT_TRUE(*back == reply);
    }
    EXPECT_EQ(fdCount(sample()), 7U);
}

TEST(Launch, EveryTruncationAndEveryTailIsRefused) {
    auto bytes = encode(Request(sample()));
    ASSERT_TRUE(bytes);
    for (std::size_t size = 0; size < bytes->size(); ++size)
        EXPECT_FALSE(parseRequest(bytes->substr(0, size))) << size;
    EXPECT_FALSE(parseRequest(*bytes + "x"));
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
    EXPECT_FALSE(encode(Request(Configure{"odd"})));
    EXPECT_FALSE(encode(Request(Configure{})));
    auto good = encode(Request(sample()));
    auto at = good->find("/workspace/out.txt");
    good->replace(at, 10, "/../../etc");
    EXPECT_FALSE(parseRequest(*good));
}

}  // namespace
}  // namespace aegis::proto::launch
