#include "worker/detail/build_tool.h"

#include <fcntl.h>
#include <openssl/evp.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <memory>
#include <optional>

#include "base/assert.h"
#include "base/hex.h"
#include "domain/link.h"
#include "os/clock.h"
#include "os/disk.h"
#include "os/process.h"
#include "worker/disk_room.h"

namespace mayfly::worker {
namespace {

namespace fs = std::filesystem;
using namespace std::chrono_literals;

constexpr Duration kLook = 250ms;                 // at the disk and the clock
constexpr std::size_t kLinesKept = 30, kLineMax = 1000, kErrorMax = 6000, kHeardMax = 200'000;

}  // namespace

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

Result<void> make_folder(const std::string& path) {
  return with_files(path, [&](std::error_code& error) { fs::create_directories(path, error); });
}

Result<void> copy_tree(const std::string& from, const std::string& to) {
  return with_files("the package can't be copied for its build", [&](std::error_code& error) {
    fs::copy(from, to, fs::copy_options::recursive | fs::copy_options::copy_symlinks | fs::copy_options::skip_existing, error);
  });
}

Result<std::string> hash_of(const std::string& path) {
  const os::Fd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
  if (!file) return fail(os::os_error("open", path));
  const std::unique_ptr<EVP_MD_CTX, decltype([](EVP_MD_CTX* c) { EVP_MD_CTX_free(c); })> hash(EVP_MD_CTX_new());
  ASSERT(hash && EVP_DigestInit_ex(hash.get(), EVP_sha256(), nullptr) == 1, "OpenSSL has SHA-256");
  std::array<char, 65536> bytes;
  for (ssize_t size = 0; (size = ::read(file.get(), bytes.data(), bytes.size())) != 0;) {
    if (size < 0) return fail(os::os_error("read", path));
    EVP_DigestUpdate(hash.get(), bytes.data(), static_cast<std::size_t>(size));
  }
  std::array<unsigned char, 32> digest{};
  EVP_DigestFinal_ex(hash.get(), digest.data(), nullptr);
  return "sha256:" + hex_of(digest);
}

BuildTool::BuildTool(const domain::BuildOrder& order, std::string name)
    : order_(order), name_(std::move(name)), until_(os::monotonic_now() + std::chrono::milliseconds(order.time_ms)) {
  const std::string own = fs::path(order.program).parent_path().string();
  environment_ = {"HOME=" + at_build("home"), "TMPDIR=" + at_build("tmp"), "LANG=C.UTF-8", "CI=1",
                  "PATH=" + own + ":/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"};
  environment_.insert(environment_.end(), order.environment.begin(), order.environment.end());
}

// The last of a name holds.
void BuildTool::set(std::string entry) {
  const std::string name = entry.substr(0, entry.find('=') + 1);
  std::erase_if(environment_, [&](const std::string& each) { return each.starts_with(name); });
  environment_.push_back(std::move(entry));
}

Result<void> BuildTool::run(std::vector<std::string> arguments, const std::string& folder) {
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
  if (status != 0) return explain(status);
  return {};
}

Result<std::vector<std::string>> BuildTool::ask(std::vector<std::string> arguments, const std::string& folder) {
  std::vector<std::string> said;
  heard_ = &said;
  const auto done = run(std::move(arguments), folder);
  heard_ = nullptr;
  if (!done) return fail(done.error());
  return said;
}

std::unexpected<Error> BuildTool::explain(int status) const {
  if (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL)
    return refuse({Code::exhausted, name_ + " was killed: it wanted more than the " + order_.memory +
                                        " of memory that a build has (build.memory of the node's configuration)"});
  const bool full = std::ranges::any_of(lines_, [](const std::string& line) {
    return line.find("No space left on device") != line.npos || line.find("ENOSPC") != line.npos;
  });
  if (full) return refuse({Code::exhausted, name_ + " found the disk of the node's data directory full: make room there"});
  return refuse({Code::invalid_argument, name_ + " " + os::describe_exit(status)});
}

std::unexpected<Error> BuildTool::refuse(Error error) const {
  error.message = "the dependencies were not installed: " + error.message;
  std::string tail;
  for (const std::string& line : lines_) tail += " | " + line;
  if (tail.size() > kErrorMax) tail.erase(0, tail.size() - kErrorMax);
  if (!tail.empty()) error.message += "; its last lines:" + tail.substr(2);
  return std::unexpected(std::move(error));
}

Result<void> BuildTool::check_disk() const { return check_disk_room(domain::kBuildPlace); }

bool BuildTool::read_lines(int from) {
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

void BuildTool::take_line() {
  if (line_.find_first_not_of(" \t") != line_.npos) {
    const std::string told = line_ + "\n";
    [[maybe_unused]] const auto written = ::write(STDERR_FILENO, told.data(), told.size());  // one lost is one of progress
    lines_.push_back(line_);
    if (lines_.size() > kLinesKept) lines_.pop_front();
    if (heard_ && heard_->size() < kHeardMax) heard_->push_back(line_);
  }
  line_.clear();
}

}  // namespace mayfly::worker
