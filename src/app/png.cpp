#include "app/png.h"

#include <poll.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>

#include "app/terminal.h"
#include "base/time.h"
#include "os/disk.h"
#include "os/process.h"

namespace mayfly::app {
namespace {

namespace fs = std::filesystem;

constexpr const char* kProgram = "rsvg-convert";
constexpr int kPatienceMs = 60'000;
constexpr Bytes kPngMax = 64_MiB, kToldMax = 64_KiB;

std::string value_of(const char* name) {
  const char* value = std::getenv(name);
  return value ? value : "";
}

Result<void> write_into(const os::Fd& file, const std::string& text) {
  return os::write_all(file.get(), std::as_bytes(std::span(text)), "a picture");
}

// What the program did, into `out`; what it had to say is the error.
Result<void> render(const std::string& program, const os::Fd& svg, const os::Fd& out) {
  TRY(const os::Fd told, os::make_memfd("told", 0));
  const os::Command command{.program = program, .arguments = {"--format=png", "--zoom=2", "/proc/self/fd/3"},
                            .environment = {"PATH=" + value_of("PATH"), "HOME=" + value_of("HOME")}};
  TRY(os::Child child, os::spawn_in_group(command, "/", os::Descriptors(out, told, &svg)));
  pollfd ended{.fd = child.pidfd.get(), .events = POLLIN, .revents = 0};
  const bool in_time = ::poll(&ended, 1, kPatienceMs) == 1;
  const int status = os::end_group(child);
  if (in_time && status == 0) return {};
  const auto words = os::read_file("/proc/self/fd/" + std::to_string(told.get()), kToldMax);
  return fail(Code::internal, std::string(kProgram) + (in_time ? " " + os::describe_exit(status) : " drew for a minute") +
                                  (words && !words->empty() ? ": " + printable(words->substr(0, 300)) : ""));
}

}  // namespace

Result<std::string> find_renderer() {
  const std::string path = value_of("PATH");
  for (std::size_t at = 0; at < path.size();) {
    const std::size_t end = std::min(path.find(':', at), path.size());
    const std::string program = (fs::path(path.substr(at, end - at)) / kProgram).string();
    if (program.starts_with('/') && ::access(program.c_str(), X_OK) == 0) return program;
    at = end + 1;
  }
  return fail(Code::not_found,
              "--png: its picture is drawn by 'rsvg-convert', which is not installed: 'apt-get install librsvg2-bin' on Debian "
              "brings it; --svg writes the same picture without it");
}

Result<void> write_png(const std::string& path, const std::string& svg) {
  TRY(const std::string program, find_renderer());
  const std::string part = path + ".part";
  TRY_VOID(os::remove_file(part));
  TRY(const os::Fd out, os::open_file(part, os::OpenMode::create_new));
  TRY(const os::Fd from, os::make_memfd("picture", 0));
  TRY_VOID(write_into(from, svg));
  auto done = render(program, from, out);
  if (done) {
    const auto bytes = os::read_file(part, kPngMax);
    if (!bytes || !bytes->starts_with("\x89PNG")) done = fail(Code::internal, std::string(kProgram) + " wrote no PNG to '" + part + "'");
  }
  if (done) {
    std::error_code error;
    fs::permissions(part, fs::perms::owner_read | fs::perms::owner_write | fs::perms::group_read | fs::perms::others_read, error);
    return os::rename_file(part, path);
  }
  TRY_VOID(os::remove_file(part));
  return done;
}

}  // namespace mayfly::app
