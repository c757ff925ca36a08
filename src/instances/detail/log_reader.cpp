#include "instances/detail/log_reader.h"

#include <unistd.h>

#include <array>

#include "domain/printed.h"

namespace mayfly::instances {
namespace {

constexpr std::size_t kLineMax = domain::kPrintedMax;  // records are shorter, and never cut


}  // namespace

LogReader::LogReader(os::Loop& loop, os::Fd pipe, int lines_per_second, OnLine on_line)
    : loop_(loop), pipe_(std::move(pipe)), lines_max_(lines_per_second), on_line_(std::move(on_line)), left_(lines_per_second) {
  watched_ = loop_.watch(pipe_.get(), os::kReadable, *this).has_value();
}

LogReader::~LogReader() {
  loop_.cancel(refill_);
  if (watched_) loop_.unwatch(pipe_.get());
}

void LogReader::on_events(std::uint32_t) {
  std::array<char, 4096> buffer;
  const ssize_t size = ::read(pipe_.get(), buffer.data(), buffer.size());
  if (size > 0) take({buffer.data(), static_cast<std::size_t>(size)});
  if (size > 0 && left_ > 0) return;
  loop_.unwatch(pipe_.get());  // ended, or enough for this second
  watched_ = false;
  ended_ = size == 0;
}

void LogReader::refill() {
  refill_ = {};
  left_ = lines_max_;
  if (!watched_ && !ended_) watched_ = loop_.watch(pipe_.get(), os::kReadable, *this).has_value();
}

void LogReader::drain() {
  std::array<char, 4096> buffer;
  for (ssize_t size = 0; left_ > 0 && (size = ::read(pipe_.get(), buffer.data(), buffer.size())) > 0;)
    take({buffer.data(), static_cast<std::size_t>(size)});
  if (!line_.empty()) say_line();
}

void LogReader::take(std::string_view bytes) {
  for (const char c : bytes) {
    if (c == '\n' || line_.size() >= kLineMax) say_line();
    if (c != '\n') line_ += c;
  }
}

void LogReader::say_line() {
  say(line_);
  line_.clear();
}

void LogReader::say(std::string_view line) {
  if (left_ == 0 || line.empty()) return;
  if (refill_.number == 0) refill_ = loop_.after(std::chrono::seconds(1), [this] { refill(); });
  --left_;
  on_line_(line.substr(0, kLineMax));
  if (left_ == 0) on_line_("(more than " + std::to_string(lines_max_) + " lines in a second: the rest is dropped)");
}

}  // namespace mayfly::instances
