#include "image/root_store.h"

#include <archive.h>
#include <archive_entry.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <memory>
#include <optional>

#include "os/files.h"
#include "text/digest.h"
#include "text/json.h"

namespace aegis::image {
namespace {

namespace fs = std::filesystem;

/// A tar archive in memory, written entry by entry.
class Tar {
  public:
    Tar() : archive_(::archive_write_new()), bytes_(1 << 20, '\0') {
        ::archive_write_set_format_pax_restricted(archive_);
        ::archive_write_set_bytes_per_block(archive_, 0);
        ::archive_write_open_memory(archive_, bytes_.data(), bytes_.size(), &used_);
    }
    Tar& file(const std::string& path, const std::string& text, unsigned mode = 0644,
              unsigned owner = 0) {
        add(path, AE_IFREG, mode, owner, text);
        return *this;
    }
    Tar& dir(const std::string& path, unsigned mode = 0755) {
        add(path, AE_IFDIR, mode, 0, {});
        return *this;
    }
    Tar& link(const std::string& path, const std::string& target) {
        add(path, AE_IFLNK, 0777, 0, {},
            [&](archive_entry* e) { ::archive_entry_set_symlink(e, target.c_str()); });
        return *this;
    }
    Tar& hard(const std::string& path, const std::string& target) {
        add(path, AE_IFREG, 0644, 0, {},
            [&](archive_entry* e) { ::archive_entry_set_hardlink(e, target.c_str()); });
        return *this;
    }
    Tar& device(const std::string& path) {
        add(path, AE_IFCHR, 0666, 0, {}, [](archive_entry* e) {
            ::archive_entry_set_rdevmajor(e, 1);
            ::archive_entry_set_rdevminor(e, 3);
        });
        return *this;
    }
    std::string done() {
        ::archive_write_close(archive_);
        ::archive_write_free(archive_);
        archive_ = nullptr;
        return bytes_.substr(0, used_);
    }

  private:
    template <class More>
    void add(const std::string& path, unsigned type, unsigned mode, unsigned owner,
             const std::string& text, More more) {
        archive_entry* e = ::archive_entry_new();
        ::archive_entry_set_pathname(e, path.c_str());
        ::archive_entry_set_filetype(e, type);
        ::archive_entry_set_perm(e, mode);
        ::archive_entry_set_uid(e, owner);
        ::archive_entry_set_gid(e, owner);
        ::archive_entry_set_size(e, static_cast<la_int64_t>(text.size()));
        ::archive_entry_set_mtime(e, 1'600'000'000, 0);
        more(e);
        EXPECT_EQ(::archive_write_header(archive_, e), ARCHIVE_OK);
        if (!text.empty()) ::archive_write_data(archive_, text.data(), text.size());
        ::archive_entry_free(e);
    }
    void add(const std::string& path, unsigned type, unsigned mode, unsigned owner,
             const std::string& text) {
        add(path, type, mode, owner, text, [](archive_entry*) {});
    }
    archive* archive_;
    std::string bytes_;
    std::size_t used_ = 0;
};

class RootStoreTest : public ::testing::Test {
  protected:
    RootStoreTest() {
        char name[] = "/tmp/aegis-image-test-XXXXXX";
        dir_ = ::mkdtemp(name);
        fs::create_directory(dir_ + "/root");
        if (::geteuid() != 0) options_.id_base = 0;
    }
    ~RootStoreTest() override { fs::remove_all(dir_); }

    std::string write(const std::string& name, const std::string& bytes) {
        fs::create_directories(fs::path(dir_ + "/" + name).parent_path());
        std::ofstream(dir_ + "/" + name, std::ios::binary) << bytes;
        return dir_ + "/" + name;
    }
    Result<std::uint64_t> unpack(const std::string& tar) {
        const auto fd = os::openFile(write("layer.tar", tar), O_RDONLY);
        const auto root = os::openFile(dir_ + "/root", O_RDONLY | O_DIRECTORY);
        return unpackLayer(fd->get(), root->get(), options_);
    }
    std::string text(const std::string& path) {
        auto read = os::readFile(dir_ + "/root/" + path, 1 << 20);
        return read ? *read : "(none)";
    }
    bool exists(const std::string& path) {
        return fs::exists(fs::symlink_status(dir_ + "/root/" + path));
    }

    /// A layout as `docker save` of an old engine writes it.
    std::string dockerSave(const std::vector<std::string>& layers, const std::string& config = {}) {
        json::Array ids, names;
        Tar tar;
        for (std::size_t i = 0; i < layers.size(); ++i) {
            const auto name = "l" + std::to_string(i) + "/layer.tar";
            ids.emplace_back("sha256:" + text::sha256Hex(layers[i]));
            names.emplace_back(name);
            tar.file(name, layers[i]);
        }
        const auto made = json::dump(json::Object{
            {"config",
             json::Object{
                 {"Env", json::Array{"A=b"}}, {"WorkingDir", "/app"}, {"Cmd", json::Array{"x"}}}},
            {"rootfs", json::Object{{"type", "layers"}, {"diff_ids", std::move(ids)}}}});
        tar.file("c.json", config.empty() ? made : config);
        tar.file("manifest.json", json::dump(json::Array{json::Object{
                                      {"Config", "c.json"}, {"Layers", std::move(names)}}}));
        return tar.done();
    }
    RootStore store() { return RootStore(dir_ + "/images", options_); }

    std::string dir_;
    UnpackOptions options_;
};

TEST_F(RootStoreTest, ALayerIsUnpackedAsItWas) {
    ASSERT_TRUE(unpack(Tar()
                           .dir("usr")
                           .dir("usr/bin", 0750)
                           .file("usr/bin/tool", "text", 0755)
                           .link("bin", "usr/bin")
                           .file("bin/other", "through the link")
                           .hard("usr/bin/same", "usr/bin/tool")
                           .file("./deep/er/file", "x", 0600, 1000)
                           .done()));
    EXPECT_EQ(text("usr/bin/tool"), "text");
    EXPECT_EQ(text("usr/bin/other"), "through the link");
    EXPECT_EQ(text("usr/bin/same"), "text");
    struct stat st{};
    ASSERT_EQ(::stat((dir_ + "/root/usr/bin/tool").c_str(), &st), 0);
    EXPECT_EQ(st.st_mode & 07777, 0755U);
    EXPECT_EQ(st.st_nlink, 2U);
    EXPECT_EQ(st.st_mtime, 1'600'000'000);
    if (options_.id_base != 0) {
        EXPECT_EQ(st.st_uid, options_.id_base);
    }
    ASSERT_EQ(::stat((dir_ + "/root/deep/er/file").c_str(), &st), 0);
    if (options_.id_base != 0) {
        EXPECT_EQ(st.st_uid, 1000U) << "the sandbox's user is itself";
    }
    ASSERT_EQ(::stat((dir_ + "/root/usr/bin").c_str(), &st), 0);
    EXPECT_EQ(st.st_mode & 0777, 0750U);
    EXPECT_EQ(st.st_mtime, 1'600'000'000);
}

TEST_F(RootStoreTest, WhatGivesPowerIsLeftOut) {
    ASSERT_TRUE(unpack(Tar().file("su", "x", 06755).device("null").dir("s", 02777).done()));
    struct stat st{};
    ASSERT_EQ(::stat((dir_ + "/root/su").c_str(), &st), 0);
    EXPECT_EQ(st.st_mode & 07777, 0755U);
    ASSERT_EQ(::stat((dir_ + "/root/s").c_str(), &st), 0);
    EXPECT_EQ(st.st_mode & 07777, 0777U);
    EXPECT_FALSE(exists("null"));
}

TEST_F(RootStoreTest, NothingIsWrittenOutside) {
    fs::create_directory(dir_ + "/outside");
    write("outside/secret", "s");
    EXPECT_FALSE(unpack(Tar().file("../outside/new", "x").done()));
    EXPECT_FALSE(unpack(Tar().file("a/../../outside/new", "x").done()));
    EXPECT_FALSE(unpack(Tar().hard("h", "../outside/secret").done()));
    // Links are followed as they would be inside.
    (void)unpack(Tar().link("out", dir_ + "/outside").file("out/new", "x").done());
    (void)unpack(Tar().link("up", "../outside").file("up/new", "x").done());
    (void)unpack(Tar().link("abs", "/").file("abs/inside", "x").done());
    (void)unpack(Tar().link("t", dir_ + "/outside/secret").file("t", "mine").done());
    EXPECT_EQ(text("t"), "mine");
    EXPECT_EQ(text("inside"), "x");
    EXPECT_FALSE(fs::exists(dir_ + "/outside/new"));
    EXPECT_EQ(*os::readFile(dir_ + "/outside/secret", 10), "s");
    EXPECT_FALSE(unpack("this is no archive at all, whatever it may look like to somebody"));
}

TEST_F(RootStoreTest, UpperLayersHideLowerOnes) {
    ASSERT_TRUE(unpack(Tar()
                           .dir("d")
                           .file("d/old", "1")
                           .file("d/kept", "1")
                           .file("f", "1")
                           .dir("g")
                           .file("g/x", "1")
                           .done()));
    ASSERT_TRUE(unpack(Tar()
                           .file("d/.wh.old", "")
                           .file("f", "2")
                           .file("g/new", "2")
                           .file("g/.wh..wh..opq", "")
                           .file("h", "2")
                           .done()));
    EXPECT_FALSE(exists("d/old"));
    EXPECT_EQ(text("d/kept"), "1");
    EXPECT_EQ(text("f"), "2");
    EXPECT_FALSE(exists("g/x"));
    EXPECT_EQ(text("g/new"), "2");
    EXPECT_FALSE(exists("d/.wh.old"));
    EXPECT_FALSE(unpack(Tar().file("d/.wh...", "").done()));
}

TEST_F(RootStoreTest, BoundsHold) {
    options_.limits.bytes = 10;
    auto big = unpack(Tar().file("a", "0123456789ab").done());
    ASSERT_FALSE(big);
    EXPECT_EQ(big.error().code, ErrorCode::kTooLarge);
    options_.limits = {.bytes = 100, .entries = 2};
    EXPECT_FALSE(unpack(Tar().dir("a").dir("b").dir("c").done()));
}

TEST_F(RootStoreTest, ADockerArchiveBecomesARootOnce) {
    const auto path = write("image.tar", dockerSave({Tar().file("a", "1").file("b", "1").done(),
                                                     Tar().file(".wh.a", "").done()}));
    auto store = this->store();
    auto image = store.resolve(path);
    ASSERT_TRUE(image) << image.error().message;
    EXPECT_EQ(image->env, std::vector<std::string>{"A=b"});
    EXPECT_EQ(image->working_dir, "/app");
    EXPECT_TRUE(image->declares_command);
    EXPECT_FALSE(fs::exists(image->root + "/a"));
    EXPECT_TRUE(fs::exists(image->root + "/b"));
    const auto again = this->store().resolve(path);
    ASSERT_TRUE(again);
    EXPECT_EQ(again->root, image->root);
    for (const auto& entry : fs::directory_iterator(dir_ + "/images"))
        EXPECT_FALSE(entry.path().filename().string().starts_with("new-")) << "nothing is left";
    EXPECT_FALSE(store.resolve(dir_ + "/missing.tar"));
}

TEST_F(RootStoreTest, AnOciLayoutIsRead) {
    const auto layer = Tar().file("hello", "oci").done();
    auto blob = [&](const std::string& bytes) {
        const auto hex = text::sha256Hex(bytes);
        write("oci/blobs/sha256/" + hex, bytes);
        return "sha256:" + hex;
    };
    const auto config = blob(json::dump(json::Object{
        {"rootfs", json::Object{{"diff_ids", json::Array{"sha256:" + text::sha256Hex(layer)}}}}}));
    const auto layer_digest = blob(layer);
    const auto manifest = blob(
        json::dump(json::Object{{"config", json::Object{{"digest", config}}},
                                {"layers", json::Array{json::Object{{"digest", layer_digest}}}}}));
    write("oci/index.json",
          json::dump(json::Object{{"manifests", json::Array{json::Object{{"digest", manifest}}}}}));
    auto image = store().resolve(dir_ + "/oci");
    ASSERT_TRUE(image) << image.error().message;
    EXPECT_EQ(image->digest, config);
    EXPECT_EQ(*os::readFile(image->root + "/hello", 10), "oci");

    // Another content under a stated digest.
    write("oci/blobs/sha256/" + layer_digest.substr(7), Tar().file("hello", "bad").done());
    write("oci/index.json",
          json::dump(json::Object{{"manifests", json::Array{json::Object{{"digest", manifest}}}},
                                  {"changed", true}}));
    auto forged = store().resolve(dir_ + "/oci");
    ASSERT_FALSE(forged);
    EXPECT_NE(forged.error().message.find("digest"), std::string::npos);
}

TEST_F(RootStoreTest, ForgedAndBrokenArchivesAreRefused) {
    const auto layer = Tar().file("a", "1").done();
    const auto wrong = json::dump(json::Object{
        {"rootfs", json::Object{{"diff_ids", json::Array{"sha256:" + std::string(64, '0')}}}}});
    EXPECT_FALSE(store().resolve(write("one.tar", dockerSave({layer}, wrong))));
    EXPECT_FALSE(store().resolve(write("two.tar", dockerSave({layer}, "{}"))));
    EXPECT_FALSE(store().resolve(write("three.tar", dockerSave({layer}, "nonsense"))));
    EXPECT_FALSE(store().resolve(write("four.tar", "nonsense")));
    EXPECT_FALSE(store().resolve(write("five.tar", Tar().file("other", "x").done())));
    EXPECT_FALSE(
        store().resolve(write("six.tar", Tar().link("manifest.json", "/etc/passwd").done())));
}

TEST_F(RootStoreTest, ABuiltImageHasAName) {
    auto store = this->store();
    const auto path = write("built.tar", Tar().file("usr/bin/python3", "x", 0755).done());
    const auto fd = os::openFile(path, O_RDONLY);
    EXPECT_EQ(store.resolve("aegis/python:3.11").error().hint, "aegis image build python 3.11");
    ASSERT_TRUE(store.importTar("aegis/python:3.11", fd->get(),
                                {"ENV LANG=C.UTF-8", "CMD [\"python3\"]"}, Deadline::never()));
    auto image = this->store().resolve("aegis/python:3.11");
    ASSERT_TRUE(image);
    EXPECT_EQ(image->env, std::vector<std::string>{"LANG=C.UTF-8"});
    EXPECT_TRUE(fs::exists(image->root + "/usr/bin/python3"));
    const auto other = store.resolve("debian:12");
    ASSERT_FALSE(other);
    EXPECT_NE(other.error().hint.find("docker pull debian:12"), std::string::npos);
}

/// An engine with images by name; their archives by identity.
struct FakeOrigin : ports::ImageOrigin {
    Result<std::string> identity(const std::string& image) override {
        if (failure) return *failure;
        const auto found = names.find(image);
        if (found == names.end()) return {ErrorCode::kNotFound, "no such image"};
        return found->second;
    }
    Status save(const std::string& identity, int fd, std::uint64_t limit) override {
        ++saves;
        EXPECT_GT(limit, 0U);
        return os::writeAll(fd, archives[identity]);
    }
    void stop() override { failure = Error(ErrorCode::kCancelled, "stopped"); }
    std::map<std::string, std::string> names, archives;
    std::optional<Error> failure;
    int saves = 0;
};

class OriginTest : public RootStoreTest {
  protected:
    OriginTest() {
        auto owned = std::make_unique<FakeOrigin>();
        origin_ = owned.get();
        store_ = std::make_unique<RootStore>(dir_ + "/images", options_, std::move(owned));
        origin_->names["own:1"] = "one";
        origin_->archives["one"] = dockerSave({Tar().file("which", "one").done()});
        origin_->archives["two"] = dockerSave({Tar().file("which", "two").done()});
    }
    std::string which(const std::string& name) {
        const auto image = store_->resolve(name);
        if (!image) return image.error().message;
        return *os::readFile(image->root + "/which", 10);
    }
    FakeOrigin* origin_;
    std::unique_ptr<RootStore> store_;
};

TEST_F(OriginTest, AnImageIsUnpackedOnceAndAgainWhenItsNameMeansAnother) {
    EXPECT_EQ(which("own:1"), "one");
    EXPECT_EQ(which("own:1"), "one");
    EXPECT_EQ(origin_->saves, 1);
    origin_->names["own:1"] = "two";
    EXPECT_EQ(which("own:1"), "two");
    origin_->names["own:1"] = "one";
    EXPECT_EQ(which("own:1"), "one");
    EXPECT_EQ(origin_->saves, 2);
    for (const auto& entry : fs::directory_iterator(dir_ + "/images"))
        EXPECT_FALSE(entry.path().filename().string().starts_with("new-")) << "nothing is left";
}

TEST(Records, OneThatIsReplacedIsReadAgain) {
    char name[] = "/tmp/aegis-records-test-XXXXXX";
    const std::string dir = ::mkdtemp(name);
    const auto path = dir + "/record";
    const Records records;
    EXPECT_EQ(records.read(path).error().code, ErrorCode::kNotFound);
    for (int i = 0; i < 50; ++i) {
        ASSERT_TRUE(os::writeFileAtomic(path, fmt::format("{{\"n\":{}}}", i)));
        for (int again = 0; again < 2; ++again) {
            const auto read = records.read(path);
            ASSERT_TRUE(read) << read.error().message;
            EXPECT_EQ(json::dump(*read), fmt::format("{{\"n\":{}}}", i));
        }
    }
    ASSERT_TRUE(os::writeFileAtomic(path, "{"));
    EXPECT_FALSE(records.read(path));
    ASSERT_TRUE(os::removeTree(dir));
    EXPECT_EQ(records.read(path).error().code, ErrorCode::kNotFound);
}

TEST_F(OriginTest, WhatWasUnpackedIsThereWithoutIt) {
    EXPECT_EQ(which("own:1"), "one");
    origin_->failure = Error(ErrorCode::kUnreachable, "no engine");
    EXPECT_EQ(which("own:1"), "one");
    EXPECT_EQ(store_->resolve("other:1").error().code, ErrorCode::kNotFound);
    origin_->failure = Error(ErrorCode::kPermissionDenied, "closed");
    const auto refused = store_->resolve("other:1");
    EXPECT_EQ(refused.error().code, ErrorCode::kPermissionDenied);
    EXPECT_NE(refused.error().message.find("other:1"), std::string::npos);
    store_->stop();
    EXPECT_EQ(store_->resolve("other:1").error().code, ErrorCode::kCancelled);
}

TEST_F(OriginTest, ABaseImageThatWasUnpackedHereComesFirst) {
    const auto path = write("built.tar", Tar().file("which", "here").done());
    const auto fd = os::openFile(path, O_RDONLY);
    origin_->names["aegis/python:3.11"] = "one";
    EXPECT_EQ(which("aegis/python:3.11"), "one");
    ASSERT_TRUE(store_->importTar("aegis/python:3.11", fd->get(), {}, Deadline::never()));
    EXPECT_EQ(which("aegis/python:3.11"), "here");
}

TEST_F(OriginTest, AnArchiveThatIsCutIsNoImage) {
    auto& archive = origin_->archives["one"];
    const auto whole = archive;
    archive.resize(archive.size() / 2);
    EXPECT_FALSE(store_->resolve("own:1"));
    archive = whole;
    EXPECT_EQ(which("own:1"), "one");
}

}  // namespace
}  // namespace aegis::image
