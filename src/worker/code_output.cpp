#include "worker/code_output.h"

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <string>

namespace mayfly::worker {

Result<std::unique_ptr<CodeOutput>> CodeOutput::create(os::Loop& loop, int log, Also also) {
  std::unique_ptr<CodeOutput> output(new CodeOutput(loop, log, std::move(also)));  // the constructor is private: make_unique can't
  int fds[2];
  if (::pipe2(fds, O_CLOEXEC) != 0) return fail(os::os_error("pipe2"));
  output->near_ = os::Fd(fds[0]);
  output->far_ = os::Fd(fds[1]);      // blocks, as programs expect of what they print to
  if (::fcntl(output->near_.get(), F_SETFL, O_NONBLOCK) != 0) return fail(os::os_error("O_NONBLOCK"));
  TRY_VOID(loop.watch(output->near_.get(), os::kReadable, *output));
  output->watched_ = true;
  return output;
}

CodeOutput::~CodeOutput() {
  if (watched_) loop_.unwatch(near_.get());
}

void CodeOutput::on_events(std::uint32_t) {
  if (move() != 0) return;
  loop_.unwatch(near_.get());
  watched_ = false;
}

void CodeOutput::drain() {
  constexpr int kAtOnce = 1024;       // a process that is left of it may go on for ever
  for (int i = 0; i < kAtOnce && move() > 0; ++i) {}
}

long CodeOutput::move() {
  std::array<char, 65536> bytes;
  const ssize_t size = ::read(near_.get(), bytes.data(), bytes.size());
  if (size <= 0) return size;
  const std::string_view read(bytes.data(), static_cast<std::size_t>(size));
  say(read);
  if (also_) also_(read);
  return size;
}

void CodeOutput::say(std::string_view bytes) {
  if (dropped_ > 0) {
    const std::string told = "\n(" + std::to_string(dropped_) + " bytes were dropped: more than the log takes)\n";
    if (::write(log_, told.data(), told.size()) != static_cast<ssize_t>(told.size())) {
      dropped_ += bytes.size();
      return;
    }
    dropped_ = 0;
  }
  while (!bytes.empty()) {
    const ssize_t written = ::write(log_, bytes.data(), bytes.size());
    if (written <= 0) break;
    bytes.remove_prefix(static_cast<std::size_t>(written));
  }
  dropped_ += bytes.size();
}

}  // namespace mayfly::worker
