#include "worker/build.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <deque>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <optional>
#include <sstream>

#include "base/units.h"
#include "domain/link.h"
#include "os/clock.h"
#include "os/disk.h"
#include "os/process.h"

namespace mayfly::worker {
namespace {

namespace fs = std::filesystem;
using domain::BuildKind;
using domain::BuildOrder;
using domain::Dependency;
using Json = nlohmann::json;
using namespace std::chrono_literals;

constexpr Duration kLook = 250ms;                 // at the disk and the clock
constexpr std::size_t kLinesKept = 30, kLineMax = 1000, kErrorMax = 6000;

// Python without pip has its wheel mostly.
constexpr const char* kRunPip = R"python(import glob, os, runpy, sys
try:
    import pip
except ImportError:
    try:
        import ensurepip
        places = [os.path.join(os.path.dirname(ensurepip.__file__), "_bundled"), getattr(ensurepip, "_WHEEL_PKG_DIR", None)]
    except ImportError:
        places = []
    wheels = [wheel for place in places + ["/usr/share/python-wheels"] if place for wheel in glob.glob(os.path.join(place, "pip-*.whl"))]
    if not wheels:
        sys.exit("ERROR: this Python has no pip: install it for the machine's (python3-pip, python3-venv)")
    sys.path.insert(0, wheels[0])
sys.argv[0] = "pip"
runpy.run_module("pip", run_name="__main__", alter_sys=True)
)python";

std::string at_build(std::string_view name) { return std::string(domain::kBuildPlace) + "/" + std::string(name); }
std::string at_package(std::string_view name) { return std::string(domain::kPackagePlace) + "/" + std::string(name); }

bool is_there(const std::string& path) {
  std::error_code error;
  return fs::exists(fs::symlink_status(path, error));
}

Result<std::string> read_text(const std::string& path) { return os::read_file(path, {domain::kDependenciesTextMax * 4}); }

Result<void> write_text(const std::string& path, std::string_view text) {
  const os::Fd file(::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0644));
  if (!file) return fail(os::os_error("open", path));
  return os::write_all(file.get(), std::as_bytes(std::span(text)), path);
}

// std::filesystem's errors are exceptions or codes; here a code is one Error.
template <class Act>
Result<void> with_files(const std::string& what, Act act) {
  std::error_code error;
  act(error);
  if (!error) return {};
  const bool full = error == std::errc::no_space_on_device;
  return fail(full ? Code::exhausted : Code::internal, what + ": " + error.message());
}

Result<void> copy_tree(const std::string& from, const std::string& to) {
  return with_files("the package can't be copied for its build", [&](std::error_code& error) {
    fs::copy(from, to, fs::copy_options::recursive | fs::copy_options::copy_symlinks | fs::copy_options::skip_existing, error);
  });
}

// Whoever runs the code is somebody else: some tools leave files for their owner alone.
Result<void> let_all_read(const std::string& folder) {
  return with_files("what was installed can't be opened to its readers", [&](std::error_code& error) {
    for (fs::recursive_directory_iterator at(folder, error), end; !error && at != end; at.increment(error)) {
      if (at->is_symlink(error)) continue;
      const bool runs = at->is_directory(error) || (at->status(error).permissions() & fs::perms::owner_exec) != fs::perms::none;
      fs::permissions(at->path(), runs ? fs::perms(0755) : fs::perms(0644), error);
    }
  });
}

class Tool {
 public:
  Tool(const BuildOrder& order, std::string name)
      : order_(order), name_(std::move(name)), until_(os::monotonic_now() + std::chrono::milliseconds(order.time_ms)) {
    const std::string own = fs::path(order.program).parent_path().string();
    environment_ = {"HOME=" + at_build("home"), "TMPDIR=" + at_build("tmp"), "LANG=C.UTF-8", "CI=1",
                    "PATH=" + own + ":/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"};
    environment_.insert(environment_.end(), order.environment.begin(), order.environment.end());
  }
  void set(std::string entry) { environment_.push_back(std::move(entry)); }
  Result<void> run(std::vector<std::string> arguments, const std::string& folder) {
    closed_ = false;
    int fds[2];
    if (::pipe2(fds, O_CLOEXEC) != 0) return fail(os::os_error("pipe2"));
    const os::Fd near(fds[0]);
    os::Fd far(fds[1]);
    ::fcntl(near.get(), F_SETFL, O_NONBLOCK);
    TRY_VOID(check_disk());
    const os::Command command{.program = order_.program, .arguments = std::move(arguments), .environment = environment_};
    TRY(os::Child child, os::spawn_in_group(command, folder, far));
    far.reset();
    std::optional<Error> stopped;
    for (bool ended = false; !ended && !stopped;) {
      std::array<pollfd, 2> wait{{{.fd = near.get(), .events = POLLIN, .revents = 0},
                                {.fd = child.pidfd.get(), .events = POLLIN, .revents = 0}}};
      if (closed_) wait[0].fd = -1;
      ::poll(wait.data(), wait.size(), static_cast<int>(to_ms(kLook)));
      read_lines(near.get());
      ended = wait[1].revents != 0;
      if (ended) break;
      if (os::monotonic_now() > until_)
        stopped = Error{Code::deadline_exceeded, name_ + " ran longer than the " + to_text(std::chrono::milliseconds(order_.time_ms)) +
                                                     " that a build may (build.time_max of the node's configuration)"};
      else if (const auto room = check_disk(); !room) stopped = room.error();
    }
    const int status = os::end_group(child);
    for (int i = 0; i < 64 && read_lines(near.get()); ++i) {}
    if (!line_.empty()) take_line();
    if (stopped) return refuse(*std::move(stopped));
    if (status == 0) return {};
    if (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL)
      return refuse({Code::exhausted, name_ + " was killed: it wanted more than the " + order_.memory +
                                          " of memory that a build has (build.memory of the node's configuration)"});
    const bool full = std::ranges::any_of(lines_, [](const std::string& line) {
      return line.find("No space left on device") != line.npos || line.find("ENOSPC") != line.npos;
    });
    if (full) return refuse({Code::exhausted, name_ + " found the disk of the node's data directory full: make room there"});
    return refuse({Code::invalid_argument, name_ + " " + os::describe_exit(status)});
  }
  std::unexpected<Error> refuse(Error error) const {
    error.message = "the dependencies were not installed: " + error.message;
    std::string tail;
    for (const std::string& line : lines_) tail += " | " + line;
    if (tail.size() > kErrorMax) tail.erase(0, tail.size() - kErrorMax);
    if (!tail.empty()) error.message += "; its last lines:" + tail.substr(2);
    return std::unexpected(std::move(error));
  }

 private:
  // The node needs room to go on: a build ends before it has taken the last.
  Result<void> check_disk() const {
    struct statvfs disk {};
    if (::statvfs(domain::kBuildPlace, &disk) != 0) return fail(os::os_error("statvfs", domain::kBuildPlace));
    const std::uint64_t all = std::uint64_t{disk.f_blocks} * disk.f_frsize, left = std::uint64_t{disk.f_bavail} * disk.f_frsize;
    const std::uint64_t kept = std::min<std::uint64_t>(all / 20, 1ULL << 30);
    if (left > kept) return {};
    return fail(Code::exhausted, "the disk of the node's data directory is nearly full, " + to_text(Bytes{left}) + " of " +
                                     to_text(Bytes{all}) + " are left, and " + to_text(Bytes{kept}) +
                                     " are kept for the node: make room there");
  }

  bool read_lines(int from) {
    std::array<char, 16384> bytes;
    const ssize_t size = closed_ ? -1 : ::read(from, bytes.data(), bytes.size());
    if (size == 0) closed_ = true;
    if (size <= 0) return false;
    for (const char c : std::string_view(bytes.data(), static_cast<std::size_t>(size))) {
      if (c == '\n' || c == '\r') take_line();
      else if (line_.size() < kLineMax && (static_cast<unsigned char>(c) >= ' ' || c == '\t')) line_ += c;
    }
    return true;
  }
  void take_line() {
    if (line_.find_first_not_of(" \t") != line_.npos) {
      const std::string told = line_ + "\n";
      [[maybe_unused]] const auto written = ::write(STDERR_FILENO, told.data(), told.size());  // one lost is one of progress
      lines_.push_back(line_);
      if (lines_.size() > kLinesKept) lines_.pop_front();
    }
    line_.clear();
  }

  const BuildOrder& order_;
  const std::string name_;
  const Instant until_;
  std::vector<std::string> environment_;
  std::deque<std::string> lines_;
  std::string line_;
  bool closed_ = false;
};

// Of "download_info" in pip's report of what it installed (its specification is packaging.python.org's).
std::string hash_in(const Json& download) {
  if (const auto vcs = download.find("vcs_info"); vcs != download.end()) return "commit:" + vcs->value("commit_id", "");
  const auto archive = download.find("archive_info");
  if (archive == download.end()) return "";
  const Json hashes = archive->value("hashes", Json::object());
  if (hashes.contains("sha256")) return "sha256:" + hashes.value("sha256", "");
  std::string hash = archive->value("hash", "");
  std::ranges::replace(hash, '=', ':');
  return hash;
}

Result<std::vector<Dependency>> build_pip(const BuildOrder& order, Tool& tool) {
  std::string folder = domain::kPackagePlace;
  if (!order.alone) {  // a requirement in it is built in its place
    folder = at_build("source");
    TRY_VOID(copy_tree(domain::kPackagePlace, folder));
  }
  TRY_VOID(tool.run({"-I", "-c", kRunPip, "install", "--disable-pip-version-check", "--no-input", "--no-color", "--no-cache-dir",
                     "--progress-bar", "off", "--no-warn-script-location", "--only-binary", ":all:", "--target",
                     at_build(domain::kBuiltTree), "--report", at_build("report.json"), "-r", folder + "/requirements.txt"},
                    folder));
  TRY(const std::string text, read_text(at_build("report.json")));
  std::vector<Dependency> installed;
  const Json report = Json::parse(text);
  for (const Json& item : report.at("install")) {
    const Json& metadata = item.at("metadata");
    installed.push_back({metadata.at("name"), metadata.at("version"), hash_in(item.at("download_info"))});
  }
  return installed;
}

Result<std::vector<Dependency>> build_npm(const BuildOrder& order, Tool& tool) {
  const std::string tree = at_build(domain::kBuiltTree);
  if (!order.alone) TRY_VOID(copy_tree(domain::kPackagePlace, tree));
  bool locked = false;
  for (const char* file : {"package.json", "package-lock.json", "npm-shrinkwrap.json", ".npmrc"}) {
    if (!is_there(at_package(file))) continue;
    locked = locked || std::string_view(file).ends_with("lock.json") || std::string_view(file).starts_with("npm-");
    if (order.alone) TRY_VOID(copy_tree(at_package(file), tree + "/" + file));
  }
  tool.set("npm_config_cache=" + at_build("cache"));
  TRY_VOID(tool.run({order.script, locked ? "ci" : "install", "--omit=dev", "--ignore-scripts", "--no-audit", "--no-fund", "--no-progress",
                     "--no-update-notifier", "--color=false", "--loglevel=http"},
                    tree));
  std::vector<Dependency> installed;
  if (!is_there(tree + "/node_modules/.package-lock.json")) return installed;
  TRY(const std::string text, read_text(tree + "/node_modules/.package-lock.json"));
  const Json list = Json::parse(text).at("packages");
  for (const auto& [path, item] : list.items()) {
    const std::size_t at = path.rfind("node_modules/");
    if (at == path.npos || item.value("link", false)) continue;
    std::string hash = item.value("integrity", "");
    if (const std::size_t dash = hash.find('-'); dash != hash.npos) hash[dash] = ':';
    installed.push_back({path.substr(at + std::string_view("node_modules/").size()), item.value("version", ""), std::move(hash)});
  }
  return installed;
}

Result<std::vector<Dependency>> build_kind(const BuildOrder& order, Tool& tool) {
  return order.kind == BuildKind::pip ? build_pip(order, tool) : build_npm(order, tool);
}

Result<void> make_folders(const BuildOrder& order) {
  for (const char* name : {"home", "tmp", domain::kBuiltTree})
    if (::mkdir(at_build(name).c_str(), 0755) != 0) return fail(os::os_error("mkdir", at_build(name)));
  for (const auto& [path, text] : order.home) {
    const std::string file = at_build("home/" + path);
    TRY_VOID(with_files(file, [&](std::error_code& error) { fs::create_directories(fs::path(file).parent_path(), error); }));
    TRY_VOID(write_text(file, text));
  }
  return {};
}

// What only the build needed. What can't be removed is no error: it takes room, and goes with the folder.
void clean() {
  std::error_code error;
  for (fs::directory_iterator at(domain::kBuildPlace, error), end; !error && at != end; at.increment(error)) {
    const std::string name = at->path().filename().string();
    std::error_code ignored;
    if (name != domain::kBuiltTree && name != domain::kBuiltList) fs::remove_all(at->path(), ignored);
  }
}

}  // namespace

Result<void> run_build(const BuildOrder& order) {
  ::umask(0022);
  TRY_VOID(make_folders(order));
  Tool tool(order, std::string(domain::name(order.kind)));
  try {
    TRY(const std::vector<Dependency> installed, build_kind(order, tool));
    TRY_VOID(let_all_read(at_build(domain::kBuiltTree)));
    TRY_VOID(write_text(at_build(domain::kBuiltList), domain::to_json(installed)));
    clean();
    return {};
  } catch (const Json::exception& error) {
    return tool.refuse({Code::internal, std::string("what was installed can't be read: ") + error.what()});
  }
}

}  // namespace mayfly::worker
