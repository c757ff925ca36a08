#include "worker/start_cache.h"

#include <archive_entry.h>
#include <poll.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <unordered_set>

#include "base/units.h"
#include "domain/link.h"
#include "os/clock.h"
#include "os/process.h"
#include "os/ring.h"
#include "worker/archive.h"
#include "worker/code_loop.h"
#include "worker/disk_room.h"

namespace mayfly::worker {
namespace {

namespace fs = std::filesystem;
using domain::MessageKind;
using domain::StartCacheKind;
using domain::StartCacheOrder;
using namespace std::chrono_literals;

constexpr Duration kLook = 100ms, kStopMax = 6s, kFlushMax = 10s;
constexpr std::size_t kFilesMax = 500'000;
constexpr const char* kTask = "/var/task";
constexpr const char* kDependencies = "/var/dependencies";  // what was built of it, or installed for it, where there is any

std::string at_cache(std::string_view name) { return std::string(domain::kStartCachePlace) + "/" + std::string(name); }

// What stands in the folder may be the package's doing: no link is followed.
std::uint64_t bytes_in(const std::string& folder) {
  std::uint64_t bytes = 0;
  std::error_code error;
  for (fs::recursive_directory_iterator at(folder, error), end; !error && at != end; at.increment(error)) {
    std::error_code gone;
    const auto size = at->is_regular_file(gone) && !at->is_symlink(gone) ? at->file_size(gone) : 0;
    if (!gone) bytes += size;
  }
  return bytes;
}

Result<void> check_room() {
  TRY(const DiskRoom room, disk_room(domain::kStartCachePlace));
  if (!room.is_enough())
    return fail(Code::exhausted, "the disk of the node's data directory is nearly full: make room there");
  if (bytes_in(domain::kStartCachePlace) > domain::kStartCacheMax)
    return fail(Code::exhausted, "it takes more than " + to_text(Bytes{domain::kStartCacheMax}));
  return {};
}

// Waits until `over`, at most until then, while there is room.
template <class Over>
Result<bool> wait_for(Instant until, const Over& over) {
  while (!over()) {
    TRY_VOID(check_room());
    if (os::monotonic_now() > until) return false;
  }
  return true;
}

bool wait_readable(int fd) {
  pollfd wait{.fd = fd, .events = POLLIN, .revents = 0};
  return ::poll(&wait, 1, static_cast<int>(to_ms(kLook))) > 0;
}

// The node's end of the link to a host, as far as a start needs it.
class WatchedStart {
 public:
  Result<void> begin(const std::string& code) {
    TRY(auto control, os::make_packet_pair());
    TRY(os::Fd ring, os::make_ring_memory());
    TRY(os::Fd frames, os::make_eventfd());
    TRY(os::Fd replies, os::make_eventfd());
    const std::array<os::Fd, 3> link{std::move(ring), std::move(frames), std::move(replies)};
    TRY(host_, os::fork_child(std::move(control.second), [&](os::Fd far) -> int {
      control.first.reset();
      run_code(far.get(), link, code);
    }));
    control_ = std::move(control.first);
    return {};
  }
  // False: it ended, or said that it can't start; what it had loaded by then is there all the same.
  Result<bool> ready(Instant until) {
    std::optional<bool> outcome;
    TRY(const bool told, wait_for(until, [&] { return (outcome = look()).has_value(); }));
    if (!told) return fail(Code::deadline_exceeded, "the program did not become ready in time");
    return *outcome;
  }
  void stop() {
    const domain::Message order{MessageKind::stop, 0};
    static_cast<void>(os::send_packet(control_.get(), os::bytes_of(order)).has_value());
    const Instant until = os::monotonic_now() + kStopMax;
    while (!wait_readable(host_.pidfd.get()) && os::monotonic_now() < until) {}
    os::end(host_);
    ::kill(-1, SIGKILL);  // all that the program left; never this process, nor the sandbox's init
  }

 private:
  std::optional<bool> look() {
    if (!wait_readable(control_.get())) return std::nullopt;
    auto packet = os::receive_packet(control_.get(), buffer_);
    if (!packet && packet.error().code == Code::exhausted) return std::nullopt;
    domain::Message head;
    if (!packet || packet->size < sizeof head) return false;
    std::memcpy(&head, buffer_.data(), sizeof head);
    if (head.kind == MessageKind::ready) return true;
    if (head.kind == MessageKind::failed) return false;
    return std::nullopt;
  }

  os::Fd control_;
  os::Child host_;
  std::array<std::byte, 64 * 1024> buffer_{};
};

Result<void> flush_modules(Instant until) {
  if (!std::ofstream(domain::kFlushFile)) return fail(Code::internal, std::string(domain::kFlushFile) + " can't be made");
  TRY(const bool gone, wait_for(std::min(until, os::monotonic_now() + kFlushMax), [] {
    ::poll(nullptr, 0, 10);
    return ::access(domain::kFlushFile, F_OK) != 0;
  }));
  if (!gone) return fail(Code::unavailable, "the program did not write what it had compiled");
  return {};
}

Result<void> watch_start(const StartCacheOrder& order, Instant until) {
  WatchedStart start;
  TRY_VOID(start.begin(order.code));
  Result<bool> ready = start.ready(until);
  Result<void> done;
  if (!ready) done = fail(ready.error());
  else if (order.kind == StartCacheKind::compile_cache)
    done = *ready ? flush_modules(until) : fail(Code::unavailable, "the program did not start: its log says why at its first call");
  start.stop();
  return done;
}

Result<void> dump_classes(const StartCacheOrder& order, Instant until) {
  if (::access(domain::kClassList, R_OK) != 0) return fail(Code::unavailable, "the program loaded no class: it may not be Java's");
  if (order.dump.empty()) return fail(Code::internal, "an order for a class archive that does not say how");
  const os::Command command{
      .program = order.dump[0], .arguments = {order.dump.begin() + 1, order.dump.end()}, .environment = order.environment};
  TRY(os::Fd output, os::duplicate(STDERR_FILENO));
  TRY(os::Child java, os::spawn_in_group(command, "/tmp", output));
  auto ended = wait_for(until, [&] { return wait_readable(java.pidfd.get()); });
  const int status = os::end_group(java);
  if (!ended) return fail(ended.error());
  if (!*ended) return fail(Code::deadline_exceeded, "the archive of its classes was not written in time");
  if (status != 0) return fail(Code::unavailable, "java -Xshare:dump " + os::describe_exit(status));
  return {};
}

// Nothing but the cache stays, as plain files for everybody to read.
Result<std::size_t> keep_only(StartCacheKind kind) {
  std::size_t kept = 0;
  std::error_code error;
  std::vector<fs::path> unwanted;
  for (fs::recursive_directory_iterator at(domain::kStartCachePlace, error), end; !error && at != end; at.increment(error)) {
    std::error_code each;
    const bool link = at->is_symlink(each);
    if (!link && at->is_directory(each)) {
      if (kind == StartCacheKind::class_data) unwanted.push_back(at->path());
      else fs::permissions(at->path(), fs::perms(0755), each);
      continue;
    }
    const bool named = kind == StartCacheKind::compile_cache || at->path() == at_cache(domain::kClassData);
    const bool wanted = named && !link && at->is_regular_file(each);
    if (!wanted) {
      unwanted.push_back(at->path());
      continue;
    }
    fs::permissions(at->path(), fs::perms(0644), each);
    if (!each) ++kept;
  }
  if (error) return fail(Code::internal, std::string(domain::kStartCachePlace) + ": " + error.message());
  for (const fs::path& path : unwanted) fs::remove_all(path, error);
  return kept;
}

Result<void> write_size() {
  std::error_code error;
  const auto size = fs::file_size(at_cache(domain::kClassData), error);
  const std::string path = at_cache(domain::kClassDataSize);
  if (error || !(std::ofstream(path) << size).flush()) return fail(Code::internal, path + " can't be written");
  return {};
}

void add_jar_names(std::string path, const std::unordered_set<std::string>& files, std::string& found) {
  constexpr std::string_view kVersions = "META-INF/versions/";  // of a multi-release jar: the same classes for a newer Java
  if (path.starts_with(kVersions)) {
    const std::size_t slash = path.find('/', kVersions.size());
    if (slash != path.npos && files.contains(path.substr(slash + 1))) found = path.substr(slash + 1);
  }
  if (files.contains(path)) found = std::move(path);
}

bool is_jar(std::string_view path) { return path.ends_with(".jar") || path.ends_with(".JAR"); }

}  // namespace

Result<std::string> find_shadowed(const std::string& folder, const std::string& dependencies) {
  std::unordered_set<std::string> files;
  std::vector<std::string> jars;
  std::error_code error;
  for (fs::recursive_directory_iterator at(folder, error), end; !error && at != end; at.increment(error)) {
    std::error_code each;
    const std::string path = at->path().lexically_relative(folder).string();
    if (at->is_symlink(each)) return path;
    if (!at->is_regular_file(each)) continue;
    if (is_jar(path)) jars.push_back(at->path().string());
    else files.insert(path);
    if (files.size() > kFilesMax) return fail(Code::exhausted, "the package has more than 500,000 files");
  }
  if (error) return fail(Code::internal, folder + ": " + error.message());
  fs::recursive_directory_iterator at, end;
  if (fs::is_directory(dependencies, error)) at = fs::recursive_directory_iterator(dependencies, error);
  for (; !error && at != end; at.increment(error))
    if (is_jar(at->path().string())) jars.push_back(at->path().string());
  if (error && error != std::errc::no_such_file_or_directory) return fail(Code::internal, dependencies + ": " + error.message());
  std::string found;
  for (const std::string& jar : jars) {
    TRY(const Archive in, open_archive(jar));
    archive_entry* entry = nullptr;
    for (std::size_t i = 0; i < kFilesMax && found.empty() && archive_read_next_header(in.get(), &entry) == ARCHIVE_OK; ++i)
      if (const char* name = archive_entry_pathname(entry); name && archive_entry_filetype(entry) != AE_IFDIR)
        add_jar_names(name, files, found);
    if (!found.empty()) return found;
  }
  return std::string();
}

Result<void> make_start_cache(const StartCacheOrder& order) {
  ::umask(0022);
  const rlimit most{domain::kStartCacheMax, domain::kStartCacheMax};
  ::setrlimit(RLIMIT_FSIZE, &most);
  const Instant until = os::monotonic_now() + std::chrono::milliseconds(order.time_ms);
  if (order.kind == StartCacheKind::class_data) {
    TRY(const std::string shadowed, find_shadowed(kTask, kDependencies));
    if (!shadowed.empty())
      return fail(Code::unimplemented, "the package's file '" + shadowed + "' is in a jar, too, or a link, and an archive of its "
                                       "classes could change which is found: leave one of them out");
  }
  TRY_VOID(watch_start(order, until));
  if (order.kind == StartCacheKind::class_data) TRY_VOID(dump_classes(order, until));
  TRY(const std::size_t kept, keep_only(order.kind));
  if (kept == 0) return fail(Code::unavailable, "nothing was written");
  return order.kind == StartCacheKind::class_data ? write_size() : Result<void>();
}

}  // namespace mayfly::worker
