#include "worker/code_output.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>

#include "os/clock.h"
#include "worker/log_line.h"

namespace mayfly::worker {

using domain::Stream;

Result<std::unique_ptr<CodeOutput>> CodeOutput::create(os::Loop& loop, int log, Of of, Also also) {
  std::unique_ptr<CodeOutput> output(new CodeOutput(loop, log, of, std::move(also)));  // the constructor is private: make_unique can't
  TRY_VOID(output->out_.open());
  if (of == Of::program) TRY_VOID(output->err_.open());
  return output;
}

Result<void> CodeOutput::Pipe::open() {
  int fds[2];
  if (::pipe2(fds, O_CLOEXEC) != 0) return fail(os::os_error("pipe2"));
  near = os::Fd(fds[0]);
  far = os::Fd(fds[1]);               // blocks, as programs expect of what they print to
  if (::fcntl(near.get(), F_SETFL, O_NONBLOCK) != 0) return fail(os::os_error("O_NONBLOCK"));
  TRY_VOID(output.loop_.watch(near.get(), os::kReadable | os::kFirst, *this));
  watched = true;
  return {};
}

CodeOutput::Pipe::~Pipe() {
  if (watched) output.loop_.unwatch(near.get());
}

void CodeOutput::Pipe::on_events(std::uint32_t) {
  if (output.before_) output.before_();
  if (output.move(*this) != 0) return;
  output.end_line(*this);
  output.write_out();
  output.loop_.unwatch(near.get());
  watched = false;
}

void CodeOutput::forget_far() {
  out_.far.reset();
  err_.far.reset();
}

void CodeOutput::drain() {
  constexpr int kAtOnce = 8;          // a pipe holds less; but a process that is left of the program may go on for ever
  for (Pipe* pipe : {&out_, &err_})
    for (int i = 0; i < kAtOnce && pipe->near && move(*pipe) > 0; ++i) {}
}

void CodeOutput::begin_call(std::uint64_t id_high, std::uint64_t id_low) {
  end_call();
  last_.clear();
  id_high_ = id_high;
  id_low_ = id_low;
}

void CodeOutput::end_call() {
  end_line(out_);
  end_line(err_);
  write_out();
  id_high_ = id_low_ = 0;
}

long CodeOutput::move(Pipe& from) {
  std::array<char, 65536> bytes;
  const ssize_t size = ::read(from.near.get(), bytes.data(), bytes.size());
  if (size <= 0) return size;
  const std::string_view read(bytes.data(), static_cast<std::size_t>(size));
  take(from, read);
  write_out();
  if (also_) also_(read);
  return size;
}

void CodeOutput::take(Pipe& from, std::string_view bytes) {
  while (!bytes.empty()) {
    const std::size_t end = std::min({bytes.find('\n'), bytes.size(), kLineMax - from.begun.size()});
    const bool whole = end < bytes.size() && bytes[end] == '\n';
    if (whole && from.begun.empty()) {
      if (end > 0) say(from.stream, bytes.substr(0, end));
    } else {
      from.begun.append(bytes.substr(0, end));
      if (whole || from.begun.size() >= kLineMax) end_line(from);
    }
    bytes.remove_prefix(whole ? end + 1 : end);
  }
}

void CodeOutput::end_line(Pipe& from) {
  if (from.begun.empty()) return;
  say(from.stream, from.begun);
  from.begun.clear();
}

void CodeOutput::say(Stream stream, std::string_view line) {
  last_.append(line).push_back('\n');
  if (last_.size() > 4 * domain::kLastLinesMax) last_.erase(0, last_.size() - 2 * domain::kLastLinesMax);
  const LineFacts facts = read_line(line);
  domain::Printed printed{.stream = stream, .level = facts.level, .request_high = id_high_, .request_low = id_low_,
                          .time = facts.time == WallTime{} ? os::wall_now() : facts.time, .pid = pid_};
  if (id_high_ == 0 && id_low_ == 0) {  // of none that is known: maybe it says itself
    printed.request_high = facts.request_high;
    printed.request_low = facts.request_low;
  }
  while (!line.empty()) {
    printed.text = line.substr(0, domain::kPrintedText);
    line.remove_prefix(printed.text.size());
    if (records_.size() + domain::kPrintedHead + printed.text.size() + 1 > domain::kPrintedMax) write_out();
    domain::append_printed(records_, printed);
  }
}

// Whole lines, as much as a pipe takes in one piece or not at all: other hosts of the sandbox write to it, too.
void CodeOutput::write_out() {
  if (records_.empty()) return;
  if (dropped_ > 0) {
    const std::string told = "(" + std::to_string(dropped_) + " bytes were dropped: more than the log takes)";
    std::string record;
    domain::append_printed(record, {.text = told, .time = os::wall_now(), .pid = pid_});
    if (::write(log_, record.data(), record.size()) == static_cast<ssize_t>(record.size())) dropped_ = 0;
  }
  if (dropped_ > 0 || ::write(log_, records_.data(), records_.size()) < 0) dropped_ += records_.size();
  records_.clear();
}

}  // namespace mayfly::worker
