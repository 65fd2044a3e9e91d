#include "runner/body_cache.h"

#include <gtest/gtest.h>

#include "runner/fake_ports_for_test.h"

namespace aegis::runner {
namespace {

TEST(BodyCache, HasWhatWasPutUntilOthersNeedTheRoom) {
    FakeJournal journal;
    BodyCache cache(journal, 8192);
    auto first = ports::makeBody(std::string(3000, 'a'));
    auto second = ports::makeBody(std::string(3000, 'b'));
    cache.put(first);
    cache.put(second);
    ASSERT_TRUE(cache.cached(first.ref));
    EXPECT_EQ(**cache.cached(first.ref), *first.bytes);
    auto third = ports::makeBody(std::string(3000, 'c'));
    cache.put(third);
    EXPECT_TRUE(cache.cached(first.ref)) << "used since the second was";
    EXPECT_FALSE(cache.cached(second.ref));
    EXPECT_TRUE(cache.cached(third.ref));
    cache.put(ports::makeBody(std::string(9000, 'd')));
    EXPECT_TRUE(cache.cached(third.ref)) << "what never fits drives nobody out";
    EXPECT_EQ(**cache.cached({}), "");
}

TEST(BodyCache, CountsWhatAnEntryTakesBesidesItsText) {
    FakeJournal journal;
    BodyCache cache(journal, 8192);
    std::vector<ports::Body> bodies;
    for (int i = 0; i < 100; ++i) {
        bodies.push_back(ports::makeBody(std::to_string(i)));
        cache.put(bodies.back());
    }
    auto kept = std::ranges::count_if(
        bodies, [&](const auto& body) { return cache.cached(body.ref).has_value(); });
    EXPECT_GT(kept, 0);
    EXPECT_LE(kept, 16);
}

}  // namespace
}  // namespace aegis::runner
