#include "image/base_image.h"

#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/stat.h>

#include <filesystem>

#include "os/clock.h"
#include "os/files.h"

namespace aegis::image {
namespace {

struct RecordingSink : ImageSink {
    std::string reference, content;
    std::vector<std::string> changes;
    int calls = 0;
    Status answer;

    Status importTar(std::string_view name, int tar_fd, const std::vector<std::string>& settings,
                     Deadline) override {
        ++calls;
        reference = name;
        changes = settings;
        content = os::readAll(tar_fd, 1 << 20, "tar").value_or("unreadable");
        return answer;
    }
};

class BaseImages : public ::testing::Test {
  protected:
    void SetUp() override {
        std::string path = "/tmp/aegis-base-image-XXXXXX";
        ASSERT_NE(::mkdtemp(path.data()), nullptr);
        dir_ = path;
        recipe("python", "3.11");
        ASSERT_TRUE(os::makeDirs(dir_ + "/work"));
        ASSERT_TRUE(os::makeDirs(dir_ + "/recipes/python/notes"));
    }
    void TearDown() override { (void)os::removeTree(dir_); }

    void recipe(const std::string& language, const std::string& version) {
        const std::string path = dir_ + "/recipes/" + language + "/" + version;
        ASSERT_TRUE(os::makeDirs(path));
        ASSERT_TRUE(os::writeFileAtomic(path + "/image.conf", "suite=x\n"));
    }
    void script(std::string_view text) {
        ASSERT_TRUE(os::writeFileAtomic(dir_ + "/recipes/build.sh", text));
    }
    BuildOptions options(std::int64_t timeout_ms = 20'000) {
        return {.recipe_dir = dir_ + "/recipes",
                .work_dir = dir_ + "/work",
                .deadline = Deadline::in(os::systemClock().boot(), timeout_ms),
                .progress = [this](std::string_view text) { progress_ += text; }};
    }
    bool workIsEmpty() { return std::filesystem::is_empty(dir_ + "/work"); }

    std::string dir_, progress_;
    RecordingSink sink_;
};

TEST_F(BaseImages, ListsRecipesOnly) {
    recipe("node", "20");
    script("");
    const auto images = listBaseImages(dir_ + "/recipes");
    ASSERT_TRUE(images);
    EXPECT_EQ(*images, (std::vector<BaseImage>{{"node", "20"}, {"python", "3.11"}}));
    EXPECT_EQ((*images)[1].reference(), "aegis/python:3.11");
    EXPECT_FALSE(listBaseImages(dir_ + "/nowhere"));
}

TEST_F(BaseImages, HandsTheArchiveAndItsSettingsToTheSink) {
    script(
        "echo \"making $1 $2\" >&2\nprintf 'tar of %s' \"$1\" > \"$3\"\n"
        "printf 'ENV A=b c\\nCMD [\"x\"]\\n' > \"$3.changes\"\n");
    const auto built = buildBaseImage("python", "3.11", options(), sink_);
    ASSERT_TRUE(built) << built.error().message;
    EXPECT_EQ(*built, "aegis/python:3.11");
    EXPECT_EQ(sink_.reference, "aegis/python:3.11");
    EXPECT_EQ(sink_.content, "tar of python");
    EXPECT_EQ(sink_.changes, (std::vector<std::string>{"ENV A=b c", "CMD [\"x\"]"}));
    EXPECT_EQ(progress_, "making python 3.11\n");
    EXPECT_TRUE(workIsEmpty());
}

TEST_F(BaseImages, AFailedBuildReachesNoSinkAndLeavesNothing) {
    script("echo half > \"$3\"; echo 'error: no network' >&2; exit 1\n");
    const auto built = buildBaseImage("python", "3.11", options(), sink_);
    ASSERT_FALSE(built);
    EXPECT_NE(built.error().message.find("no network"), std::string::npos);
    EXPECT_EQ(sink_.calls, 0);
    EXPECT_TRUE(workIsEmpty());
}

TEST_F(BaseImages, ASinkThatRefusesIsTheError) {
    script("echo x > \"$3\"; : > \"$3.changes\"\n");
    sink_.answer = Error(ErrorCode::kUnreachable, "no engine");
    const auto built = buildBaseImage("python", "3.11", options(), sink_);
    ASSERT_FALSE(built);
    EXPECT_EQ(built.error().code, ErrorCode::kUnreachable);
    EXPECT_TRUE(workIsEmpty());
}

TEST_F(BaseImages, EndsAtTheDeadline) {
    script("exec sleep 30\n");
    const auto built = buildBaseImage("python", "3.11", options(300), sink_);
    ASSERT_FALSE(built);
    EXPECT_EQ(built.error().code, ErrorCode::kTimeout);
    EXPECT_TRUE(workIsEmpty());
}

TEST_F(BaseImages, AnUnknownOneNamesThoseThereAre) {
    script("");
    for (const char* version : {"2.7", "../3.11", ""}) {
        const auto built = buildBaseImage("python", version, options(), sink_);
        ASSERT_FALSE(built) << version;
        EXPECT_EQ(built.error().code, ErrorCode::kNotFound);
        EXPECT_EQ(built.error().hint, "there is: python 3.11");
    }
}

TEST(BaseImageRecipes, ThoseOfTheProjectAreThere) {
    const auto images = listBaseImages(std::string(AEGIS_SOURCE_DIR) + "/images");
    ASSERT_TRUE(images);
    EXPECT_NE(std::find(images->begin(), images->end(), BaseImage{"python", "3.11"}),
              images->end());
    struct stat info{};
    ASSERT_EQ(::stat((std::string(AEGIS_SOURCE_DIR) + "/images/build.sh").c_str(), &info), 0);
    EXPECT_NE(info.st_mode & S_IXUSR, 0u);
}

}  // namespace
}  // namespace aegis::image
