// aegis volume files | cp

#include "cli/volume_files.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <memory>

#include "cli/commands.h"
#include "cli/local_file.h"
#include "cli/table.h"
#include "os/fd.h"
#include "text/escape.h"

namespace aegis::cli {
namespace {

constexpr int kMaxDepth = 64;

std::string str(const json::Value& record, std::string_view key) {
    return std::string(json::getString(record, key));
}

std::string baseName(std::string path) {
    while (path.ends_with('/'))
        path.pop_back();
    return path.substr(path.find_last_of('/') + 1);
}

/// Every entry of a directory, page by page; or a file's own record.
Result<json::Value> everything(service::Service& service, const std::string& volume,
                               const std::string& path) {
    AEGIS_TRY(auto first, service.volumeFiles({}, volume, path, ""));
    if (json::getString(first, "type") != "directory") return first;
    json::Array items = itemsOf(first);
    for (auto after = str(first, "next_after"); !after.empty();) {
        AEGIS_TRY(auto page, service.volumeFiles({}, volume, path, after));
        for (const auto& item : itemsOf(page))
            items.push_back(item);
        after = str(page, "next_after");
    }
    auto count = items.size();
    return json::Value(json::Object{{"path", str(first, "path")},
                                    {"type", "directory"},
                                    {"items", std::move(items)},
                                    {"count", count}});
}

int files(Context& context, const std::string& volume, const std::string& path) {
    auto* service = context.service();
    if (service == nullptr) return context.serviceExit();
    return show(context, everything(*service, volume, path), [&](const json::Value& found) {
        if (context.format() != OutputFormat::kTable) {
            context.printValue(found);
            return;
        }
        Table table({"TYPE", "SIZE", "MODIFIED", "NAME"});
        auto row = [&](const json::Value& entry, const std::string& name) {
            auto modified = UtcTime::parse(json::getString(entry, "modified_at"));
            auto target = str(entry, "target");
            table.row({str(entry, "type"), std::to_string(json::getInt(entry, "size")),
                       modified ? modified->rfc3339Seconds() : "",
                       target.empty() ? name : fmt::format("{} -> {}", name, target)});
        };
        if (str(found, "type") == "directory") {
            for (const auto& entry : itemsOf(found))
                row(entry, str(entry, "name"));
        } else {
            row(found, baseName(str(found, "path")));
        }
        context.print(table.str(context.width(), context.color()));
    });
}

/// One copy of a tree out of a volume. Names come from a guest: each is one component, made with
/// O_EXCL or not at all, below directories that were made here.
class Copy {
  public:
    Copy(Context& context, service::Service& service, std::string volume)
        : context_(context), service_(service), volume_(std::move(volume)) {}

    Status file(const std::string& from, const std::string& to) {
        AEGIS_TRY(auto bytes, downloadTo(to, context_.flags.yes, [&](const auto& sink) {
                      return service_.readVolumeFile({}, volume_, from, sink);
                  }));
        bytes_ += bytes;
        ++files_;
        return {};
    }
    Status directory(const std::string& from, const std::string& to, int depth) {
        if (depth > kMaxDepth)
            return {ErrorCode::kTooLarge,
                    fmt::format("{}: nested deeper than {}", from, kMaxDepth)};
        if (::mkdir(to.c_str(), 0777) != 0 && (errno != EEXIST || !isDirectory(to))) {
            auto error = errnoError(errno, to);
            error.code = ErrorCode::kInvalid;
            return error;
        }
        AEGIS_TRY(auto found, everything(service_, volume_, from));
        for (const auto& entry : itemsOf(found)) {
            auto name = str(entry, "name");
            bool plain = !name.empty() && name != "." && name != ".." &&
                         name.find('/') == std::string::npos &&
                         name.find('\0') == std::string::npos;
            auto type = str(entry, "type");
            if (!plain || (type != "file" && type != "directory")) {
                context_.warn(fmt::format("{}/{} is left out: it is {}", text::escapeControl(from),
                                          text::escapeControl(name),
                                          type == "symlink" ? "a symbolic link" : "no file"));
                continue;
            }
            auto below = fmt::format("{}/{}", from, name);
            auto target = fmt::format("{}/{}", to, name);
            auto done = type == "file" ? file(below, target) : directory(below, target, depth + 1);
            if (!done && type == "file" && done.error().code == ErrorCode::kTooLarge)
                context_.warn(fmt::format("{} is left out: {}", text::escapeControl(below),
                                          done.error().message));
            else if (!done)
                return done;
        }
        return {};
    }
    static bool isDirectory(const std::string& path) {
        struct stat st{};
        return ::stat(path.c_str(), &st) == 0 && S_ISDIR(st.st_mode);
    }
    std::uint64_t files() const { return files_; }
    std::uint64_t bytes() const { return bytes_; }

  private:
    Context& context_;
    service::Service& service_;
    const std::string volume_;
    std::uint64_t files_ = 0, bytes_ = 0;
};

/// "<id>:<path>" taken apart.
Result<std::pair<std::string, std::string>> sourceOf(const std::string& text) {
    auto colon = text.find(':');
    if (colon == std::string::npos || colon == 0)
        return {ErrorCode::kInvalid, fmt::format("{}: expected <volume>:<path>", text),
                "aegis volume list shows the volumes"};
    return std::pair(text.substr(0, colon), text.substr(colon + 1));
}

int copy(Context& context, const std::string& source, std::string dest) {
    auto from = sourceOf(source);
    if (!from) return context.fail(from.error());
    auto& [volume, path] = *from;
    auto* service = context.service();
    if (service == nullptr) return context.serviceExit();
    auto found = service->volumeFiles({}, volume, path, "");
    if (!found) return context.fail(found.error());
    bool directory = str(*found, "type") == "directory";
    Copy job(context, *service, volume);
    if (dest == "-") {
        if (directory)
            return context.fail(
                {ErrorCode::kInvalid,
                 fmt::format("{} is a directory, which stdout cannot take", str(*found, "path"))});
        auto done = job.file(path, dest);
        return done ? 0 : context.fail(done.error());
    }
    // As cp and docker cp do: into a directory that is there, else under the name given.
    if (auto name = baseName(path); !name.empty() && name != "." && Copy::isDirectory(dest))
        dest = fmt::format("{}/{}", dest, name);
    auto done = directory ? job.directory(path, dest, 0) : job.file(path, dest);
    if (!done) return context.fail(done.error());
    if (context.format() == OutputFormat::kTable)
        context.print(fmt::format("Copied {} file{} ({} bytes) to {}\n", job.files(),
                                  job.files() == 1 ? "" : "s", job.bytes(), dest));
    else
        context.printValue(
            json::Object{{"dest", dest}, {"files", job.files()}, {"bytes", job.bytes()}});
    return 0;
}

}  // namespace

void addVolumeFileCommands(CLI::App& group, Context& context) {
    auto id = std::make_shared<std::string>();
    auto path = std::make_shared<std::string>("/");
    auto* command = group.add_subcommand("files", "List what is in a volume");
    command->add_option("id", *id, "Id or unique prefix")->required();
    command->add_option("path", *path, "Where in the volume (default /)");
    command->callback([&context, id, path] {
        context.action = [&context, id, path] { return files(context, *id, *path); };
    });

    auto source = std::make_shared<std::string>();
    auto dest = std::make_shared<std::string>();
    command = group.add_subcommand("cp", "Copy a file or directory out of a volume");
    command->add_option("source", *source, "<volume>:<path>")->required();
    command->add_option("dest", *dest, "A path here, or - for stdout")->required();
    command->callback([&context, source, dest] {
        context.action = [&context, source, dest] { return copy(context, *source, *dest); };
    });
}

}  // namespace aegis::cli
