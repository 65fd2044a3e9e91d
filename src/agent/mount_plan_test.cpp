#include <gtest/gtest.h>

#include "agent/manifest.h"

namespace aegis::agent {
namespace {

using Paths = std::optional<std::vector<std::string>>;

const Paths kNothing = std::vector<std::string>();

Paths listed(std::vector<std::string> paths) { return paths; }

Volume volume(std::string name, std::string mount, AccessMode mode = AccessMode::kReadWrite) {
    Volume v;
    v.name = std::move(name);
    v.mount_point = std::move(mount);
    v.access_mode = mode;
    v.ttl_ms = 0;
    return v;
}

struct Case {
    const char* title;
    std::vector<Volume> volumes;
    Paths read, write;
    bool read_only;
    std::string plan;    ///< "name:sub@path:rw" joined by a space
    std::string create;  ///< joined by a space
};

std::string text(const std::vector<MountGrant>& plan) {
    std::string out;
    for (const auto& grant : plan)
        out += (out.empty() ? "" : " ") + grant.volume_name + ":" + grant.sub_path + "@" +
               grant.mount_path + (grant.writable ? ":rw" : ":ro");
    return out;
}

const Volume w = volume("w", "/w"), r = volume("r", "/r", AccessMode::kReadOnly);
const Volume a = volume("a", "/mnt/a"), b = volume("b", "/mnt/b", AccessMode::kReadOnly);
const Case kTable[] = {
    {"nothing declared", {}, {}, {}, false, "", ""},
    {"keys absent", {w, r}, {}, {}, false, "r:@/r:ro w:@/w:rw", ""},
    {"keys absent, read only", {w, r}, {}, {}, true, "r:@/r:ro w:@/w:ro", ""},
    {"both empty", {w, r}, kNothing, kNothing, false, "", ""},
    {"nothing to write", {w, r}, {}, kNothing, false, "r:@/r:ro w:@/w:ro", ""},
    {"nothing to read", {w, r}, kNothing, {}, false, "w:@/w:rw", ""},
    {"write implies read", {w}, kNothing, listed({"/w"}), false, "w:@/w:rw", ""},
    {"write inside read",
     {w},
     listed({"/w"}),
     listed({"/w/out"}),
     false,
     "w:@/w:ro w:out@/w/out:rw",
     "/w/out"},
    {"write absent, one path read", {w}, listed({"/w/in"}), {}, false, "w:@/w:rw", "/w/in"},
    {"read absent, one path written",
     {w, r},
     {},
     listed({"/w/out"}),
     false,
     "r:@/r:ro w:@/w:ro w:out@/w/out:rw",
     "/w/out"},
    {"two paths apart",
     {w},
     listed({"/w/in"}),
     listed({"/w/out"}),
     false,
     "w:in@/w/in:ro w:out@/w/out:rw",
     "/w/in /w/out"},
    {"read inside write is writable",
     {w},
     listed({"/w/out/x"}),
     listed({"/w/out"}),
     false,
     "w:out@/w/out:rw",
     "/w/out /w/out/x"},
    {"nested the other way",
     {w},
     listed({"/w/a", "/w/a/b/c"}),
     listed({"/w/a/b"}),
     false,
     "w:a@/w/a:ro w:a/b@/w/a/b:rw",
     "/w/a /w/a/b /w/a/b/c"},
    {"a sibling with the same beginning",
     {w},
     listed({"/w/a"}),
     listed({"/w/ab"}),
     false,
     "w:a@/w/a:ro w:ab@/w/ab:rw",
     "/w/a /w/ab"},
    {"a path above covers",
     {a, b},
     listed({"/mnt"}),
     kNothing,
     false,
     "a:@/mnt/a:ro b:@/mnt/b:ro",
     ""},
    {"the root covers, read-only ones stay so",
     {a, b},
     kNothing,
     listed({"/"}),
     false,
     "a:@/mnt/a:rw b:@/mnt/b:ro",
     ""},
    {"read under no volume", {w}, listed({"/etc", "/wx"}), kNothing, false, "", ""},
    {"a path in a read-only volume", {r}, listed({"/r/x"}), kNothing, false, "r:x@/r/x:ro", ""},
    {"read_only with write",
     {w},
     kNothing,
     listed({"/w/out"}),
     true,
     "w:out@/w/out:ro",
     "/w/out"},
};

TEST(MountPlan, FollowsTheManual) {
    for (const Case& c : kTable) {
        Manifest m;
        m.volumes = c.volumes;
        m.security.filesystem = {c.read, c.write, c.read_only};
        EXPECT_EQ(text(mountPlan(m)), c.plan) << c.title;
        std::string create;
        for (const auto& path : pathsToCreate(m))
            create += (create.empty() ? "" : " ") + path;
        EXPECT_EQ(create, c.create) << c.title;
    }
}

std::string offered(const Manifest& manifest, const NodeFacts& node) {
    std::string out;
    for (const auto& tool : offeredTools(manifest, node))
        out += (out.empty() ? "" : " ") + tool;
    return out;
}

TEST(OfferedTools, LeavesOutWhatCannotSucceed) {
    NodeFacts node;
    node.tools = {"fs.read",       "fs.write",  "fs.edit", "fs.list",
                  "fs.create_dir", "fs.delete", "cmd.run", "web.fetch"};
    node.mcp_servers = {"search"};
    Manifest m;
    EXPECT_EQ(offered(m, node), "cmd.run");
    m.volumes = {volume("w", "/w")};
    EXPECT_EQ(offered(m, node), "fs.read fs.write fs.edit fs.list fs.create_dir fs.delete cmd.run");
    m.security.network.mode = NetworkMode::kAllow;
    m.security.filesystem.write.emplace();
    EXPECT_EQ(offered(m, node), "fs.read fs.list cmd.run");
    m.security.network.allowlist = {"good.test"};
    EXPECT_EQ(offered(m, node), "fs.read fs.list cmd.run web.fetch");
    m.security.filesystem.read.emplace();
    EXPECT_EQ(offered(m, node), "cmd.run web.fetch");
    m.tools = {{{"search.web", {}}, {"other.x", {}}, {"fs.glob", {}}, {"cmd.run", {}}}};
    EXPECT_EQ(offered(m, node), "search.web cmd.run");
    m.tools->clear();
    EXPECT_EQ(offered(m, node), "");
}

}  // namespace
}  // namespace aegis::agent
