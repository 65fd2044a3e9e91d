#include "sandbox/common/payload.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <map>

#include "os/files.h"
#include "proto/launch.h"

namespace aegis::sandbox {
namespace {

constexpr std::size_t kInlinePromptBytes = 90 << 10;  // below proto::ctl::kMaxArgvBytes
// After eight calls Python rewrites a function's code for what it has met.
constexpr int kRehearsals = 12;

/// A sealed memory file with `text`, to be read from its beginning.
Result<os::Fd> textFile(const std::string& text) {
    os::Fd fd(::memfd_create("prompt", MFD_CLOEXEC | MFD_ALLOW_SEALING));
    if (!fd) return errnoError(errno, "prompt");
    AEGIS_CHECK(os::writeAll(fd.get(), text));
    constexpr int kSeals = F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE;
    if (::lseek(fd.get(), 0, SEEK_SET) != 0 || ::fcntl(fd.get(), F_ADD_SEALS, kSeals) != 0)
        return errnoError(errno, "prompt");
    return fd;
}

/// A prompt that may be an argument of a process: short, without NUL, and not "-", which says
/// stdin.
bool fitsArgument(const std::string& prompt) {
    return prompt.size() <= kInlinePromptBytes && prompt != "-" &&
           prompt.find('\0') == std::string::npos;
}

std::string standby() { return fmt::format("bootstrap.standby({})", proto::ctl::kJobFd); }

/// Python with the bootstrap imported, so that its compiled form is used, and then `more`.
std::vector<std::string> managedBootstrap(const std::string& more) {
    return {"python3",
            "-I",
            "-S",
            "-X",
            "utf8",
            "-c",
            "import sys; sys.path.append('/aegis/bin'); import bootstrap; " + more};
}

/// The sign of a startup script that has failed. It is all of the standard output there is then:
/// what the script itself says goes to stderr. A program that writes the same deceives about
/// itself.
constexpr std::string_view kStartupFailed = "aegis: the startup script has failed\n";

/// With the script as $1 and the bootstrap's command behind it.
std::string startupWrapper() {
    return fmt::format(
        "/bin/sh -c \"$1\" sh </dev/null >&2\n"
        "code=$?\n"
        "if [ $code -ne 0 ]; then printf '{}\\n'; exit $code; fi\n"
        "shift\n"
        "exec \"$@\"",
        kStartupFailed.substr(0, kStartupFailed.size() - 1));
}

proto::ctl::Start startMessage(const ports::SandboxSpec& spec, std::vector<std::string> env,
                               std::string cwd, bool as_argument) {
    proto::ctl::Start start;
    if (spec.bootstrap_path.empty())
        start.command.argv = managedBootstrap("bootstrap.main()");
    else
        start.command.argv = {"python3", spec.bootstrap_path};
    start.to_waiting = startsManaged(spec);
    auto& argv = start.command.argv;
    argv.push_back(as_argument ? *spec.prompt : "-");
    if (!spec.startup_script.empty()) {
        const std::initializer_list<std::string> first{"/bin/sh", "-c", startupWrapper(), "sh",
                                                       spec.startup_script};
        argv.insert(argv.begin(), first);
    }
    start.command.env = std::move(env);
    start.command.cwd = std::move(cwd);
    start.has_stdin = !as_argument;
    start.stdout_cap = kCaptureCap;
    start.stderr_cap = kCaptureCap;
    return start;
}

}  // namespace

bool startsManaged(const ports::SandboxSpec& spec) {
    return spec.bootstrap_path.empty() && spec.startup_script.empty();
}

bool tookStartupFailure(const ports::SandboxSpec& spec, ports::BootstrapExit& exit) {
    if (spec.startup_script.empty() || exit.exit_code.value_or(0) == 0 ||
        exit.standard_output != kStartupFailed)
        return false;
    exit.standard_output.clear();
    exit.stdout_bytes = 0;
    return true;
}

std::string workingDirectory(const ports::SandboxSpec& spec, const ImageDefaults& image) {
    if (!spec.cwd.empty()) return spec.cwd;
    return image.working_dir.empty() ? "/tmp" : image.working_dir;
}

std::vector<std::string> templateCommand() {
    // Whatever is imported and done here is so in every sandbox; what the collector has seen stays
    // shared.
    return managedBootstrap(
        fmt::format("import gc, select, _aegis_template as t; gc.freeze(); "
                    "unhurried = t.serve({}, lambda: (bootstrap.rehearse({}), gc.freeze())); "
                    "bootstrap.standby({}, t.rename, unhurried)",
                    proto::launch::kTemplateFd, kRehearsals, proto::ctl::kJobFd));
}

Result<std::string> prepareMessage(const ImageDefaults& image) {
    proto::ctl::Prepare prepare;
    prepare.command.argv =
        managedBootstrap(fmt::format("bootstrap.rehearse({}); ", kRehearsals) + standby());
    prepare.command.env = payloadEnv({}, image, 0, 0);
    prepare.command.cwd = "/";
    return proto::ctl::encode(proto::ctl::HostMessage(std::move(prepare)));
}

std::vector<std::string> payloadEnv(const ports::SandboxSpec& spec, const ImageDefaults& image,
                                    int api_port, int proxy_port) {
    std::map<std::string, std::string> env{
        {"PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}};
    for (const auto& entry : image.env) {
        const auto equals = entry.find('=');
        if (equals != std::string::npos && equals > 0)
            env[entry.substr(0, equals)] = entry.substr(equals + 1);
    }
    env["HOME"] = "/tmp";
    env["AEGIS_SOCKET"] = "/aegis/run/api.sock";
    if (api_port != 0) {
        const auto url = fmt::format("http://127.0.0.1:{}", api_port);
        env["AEGIS_ORCHESTRATOR_URL"] = url;
        env["OPENAI_BASE_URL"] = url + "/v1";
        env["ANTHROPIC_BASE_URL"] = url;
        // The client libraries refuse to start without a key; the daemon asks for none.
        env["OPENAI_API_KEY"] = "aegis";
        env["ANTHROPIC_API_KEY"] = "aegis";
    }
    if (proxy_port != 0) {
        const auto url = fmt::format("http://127.0.0.1:{}", proxy_port);
        for (const auto* name : {"HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"})
            env[name] = url;
        for (const auto* name : {"NO_PROXY", "no_proxy"})
            env[name] = "127.0.0.1,localhost,::1";
    }
    for (const auto& [name, value] : spec.env)
        env[name] = value;
    std::vector<std::string> out;
    for (const auto& [name, value] : env)
        out.push_back(name + "=" + value);
    return out;
}

Result<PayloadStart> payloadStart(const ports::SandboxSpec& spec,
                                  const std::vector<std::string>& env, const std::string& cwd) {
    PayloadStart out;
    if (fitsArgument(*spec.prompt)) {
        auto message =
            proto::ctl::encode(proto::ctl::HostMessage(startMessage(spec, env, cwd, true)));
        if (message) {
            out.message = std::move(*message);
            return out;
        }
    }
    AEGIS_TRY(out.message,
              proto::ctl::encode(proto::ctl::HostMessage(startMessage(spec, env, cwd, false))));
    AEGIS_TRY(out.prompt, textFile(*spec.prompt));
    return out;
}

}  // namespace aegis::sandbox
