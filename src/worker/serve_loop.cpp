#include "worker/serve_loop.h"

#include <poll.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <new>
#include <ranges>
#include <tuple>

#include "domain/link.h"
#include "os/clock.h"
#include "os/machine.h"

namespace mayfly::worker {
namespace {

using domain::ReplyHead;
using domain::RequestHead;
using domain::WireFormat;
using namespace std::chrono_literals;

constexpr Duration kSpin = 20us;            // a wake-up across cores costs 36 to 48 µs (docs/measurements.md)
constexpr std::size_t kSpareMax = 64;

std::uint64_t ns(Duration d) { return static_cast<std::uint64_t>(d.count()); }

constexpr const char* kNoMemory =
    "the request needs more memory than this instance may use: send less at a time, or raise resources.memory";

constexpr const char* kStopped = "stopped while it ran: whoever asked had left, or its time was over";

// A request that asks for more memory than there is fails alone.
template <class Call>
auto within_memory(const Call& call) -> decltype(call()) {
  try {
    return call();
  } catch (const std::bad_alloc&) {
    return fail(Code::exhausted, kNoMemory);
  }
}

// Why a run failed, for whoever sent the input: the model was loaded and checked before.
Error explain_run_failure(const Error& error) {
  if (error.code == Code::exhausted) return {Code::exhausted, kNoMemory};  // the engine's own text tells which of its allocators failed
  return {error.code == Code::unimplemented ? error.code : Code::invalid_argument, "the model did not run on this input: " + error.message};
}

// Strings and JSON of a batch's parts can't be cut out of joined bytes.
bool joinable(const domain::Signature& signature) {
  const auto fixed = [](const domain::TensorSpec& spec) { return spec.datatype != domain::Datatype::bytes; };
  return signature.batches && std::ranges::all_of(signature.inputs, fixed) && std::ranges::all_of(signature.outputs, fixed);
}

}  // namespace

ServeLoop::ServeLoop(Model& model, int control, os::Ring in, os::Ring out, ServeOptions options)
    : model_(model), control_(control), in_(std::move(in)), out_(std::move(out)), options_(std::move(options)),
      batches_(options_.batches && joinable(model.signature())), version_text_(std::to_string(options_.version_number)),
      decoder_(model.signature()), watch_(model), may_spin_(os::usable_cores() > 1) {
  joined_.resize(model.signature().inputs.size());
  joined_inputs_.resize(model.signature().inputs.size());
  part_.resize(model.signature().outputs.size());
  cpu_told_ = os::process_cpu_now();
}

// Twice a batch: one runs, the next waits in the ring, so the engine is never idle for a round trip.
std::uint32_t ServeLoop::credit() const {
  return batches_ ? std::clamp(2 * static_cast<std::uint32_t>(options_.rows_max), 2U, kCreditMax) : 2;
}

bool ServeLoop::run() {
  for (;;) {
    if (!intake()) return false;
    if (!waiting_.empty()) {
      run_batch();
      out_.wake();
      continue;
    }
    if (control_.stopping()) return true;
    if (spin()) continue;
    if (in_.prepare_sleep()) {
      const bool node_there = wait(1h);
      in_.cancel_sleep();
      if (!node_there) return false;
    }
  }
}

// Brief polling where it has paid off lately: another core then saves the wake-up. Never while idle.
bool ServeLoop::spin() {
  if (!may_spin_) return false;
  if (spin_pause_ > 0) {
    --spin_pause_;
    return false;
  }
  const Instant end = os::monotonic_now() + kSpin;
  do {
    for (int i = 0; i < 32; ++i) {
      if (!in_.empty()) {
        spin_misses_ = 0;
        return true;
      }
      __builtin_ia32_pause();
    }
  } while (os::monotonic_now() < end);
  if (++spin_misses_ >= 4) {
    spin_misses_ = 0;
    spin_pause_ = 64;
  }
  return false;
}

bool ServeLoop::wait(Duration at_most) {
  std::array<pollfd, 2> fds{{{in_.doorbell(), POLLIN, 0}, {control_.socket(), POLLIN, 0}}};
  const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(at_most);
  const timespec timeout{.tv_sec = seconds.count(), .tv_nsec = (at_most - seconds).count()};
  ::ppoll(fds.data(), fds.size(), &timeout, nullptr);
  if (fds[0].revents) os::clear_doorbell(in_.doorbell());
  return !fds[1].revents || control_.read();
}

bool ServeLoop::intake() {
  bool sound = true;
  while (const auto frame = sound ? in_.front() : std::nullopt) {
    sound = accept(*frame);
    in_.pop();
  }
  out_.wake();  // what was refused on the way in has its reply already: nobody waits for a batch to fill or to end
  return sound && !in_.broken() && !gone_;
}

bool ServeLoop::accept(std::span<const std::byte> frame) {
  if (frame.size() < sizeof(RequestHead)) return false;
  RequestHead head;
  std::memcpy(&head, frame.data(), sizeof head);
  if (head.cancelled) {
    const auto at = std::ranges::find(waiting_, head.ticket, [](const Work& w) { return w.head.ticket; });
    if (at != waiting_.end()) {
      refuse(*at, {Code::cancelled, "cancelled before it began"});
      waiting_.erase(at);
    }
    return true;
  }
  Work work;
  if (!spare_.empty()) {
    work = std::move(spare_.back());
    spare_.pop_back();
  }
  work.head = head;
  work.begun = os::monotonic_now();
  work.decode = {};
  if (work.head.in_memfd) {
    if (!take_large_body(work)) return false;
  } else {
    const auto body = frame.subspan(sizeof(RequestHead));
    work.body.resize(body.size() + os::kPadding);
    if (!body.empty()) std::memcpy(work.body.data(), body.data(), body.size());
  }
  if (Instant{Duration(static_cast<Duration::rep>(work.head.deadline_ns))} <= work.begun) {
    refuse(work, {Code::deadline_exceeded, "its time was over before it began"});
    return true;
  }
  std::span<const std::byte> body = work.large
      ? std::span<const std::byte>(work.large.data(), work.head.body_size)
      : std::as_bytes(std::span(work.body)).first(work.body.size() - os::kPadding);
  if (head.format == domain::WireFormat::plain_json) body = body.first(std::min<std::size_t>(head.json_size, body.size()));
  const auto decoded = within_memory([&] { return decoder_.decode(head.format, body, head.json_size, work.memory, work.request); });
  if (!decoded) {
    refuse(work, decoded.error());
    return true;
  }
  work.decode = os::monotonic_now() - work.begun;
  // Views into the body stay good: with its padding a body is too long for a string's inner buffer, so moving it moves no bytes.
  waiting_.push_back(std::move(work));
  return true;
}

bool ServeLoop::take_large_body(Work& work) {
  const auto memfd = control_.take_body(work.head.ticket);
  if (!memfd) return false;
  // Parsers read a little beyond the end. What lies behind the file's last page is not readable, so the body is
  // copied in the one case where it ends within kPadding of a page's end.
  auto mapped = os::map_file(memfd->get(), work.head.body_size, os::Access::read);
  if (!mapped || !*mapped) return false;  // never empty: that would go inline
  constexpr std::size_t kPage = 4096;
  const std::size_t tail = kPage - (work.head.body_size - 1) % kPage - 1;
  if (tail >= os::kPadding) {
    work.large = std::move(*mapped);
    return true;
  }
  work.body.resize(work.head.body_size + os::kPadding);
  std::memcpy(work.body.data(), mapped->data(), work.head.body_size);
  return true;
}

std::uint64_t ServeLoop::cpu_since_last() {
  const Duration now = os::process_cpu_now();
  const Duration since = now - cpu_told_;
  cpu_told_ = now;
  return ns(since);
}

bool ServeLoop::same_shapes(const Work& a, const Work& b) const {
  for (std::size_t i = 0; i < a.request.inputs.size(); ++i)
    if (!std::ranges::equal(a.request.inputs[i].shape | std::views::drop(1), b.request.inputs[i].shape | std::views::drop(1))) return false;
  return true;
}

// How many of those that wait, from the first, run as one.
std::size_t ServeLoop::choose_batch() {
  if (!batches_) return 1;
  const auto fitting = [this] {
    std::int64_t rows = 0;
    std::size_t count = 0;
    for (const Work& work : waiting_) {
      if (count > 0 && (rows + work.request.rows > options_.rows_max || !same_shapes(waiting_.front(), work)))
        return std::pair(count, true);
      rows += work.request.rows;
      ++count;
    }
    return std::pair(count, rows >= options_.rows_max);
  };
  auto [count, full] = fitting();
  const Instant until = waiting_.front().begun + options_.batch_wait;
  while (!full && !control_.stopping() && options_.batch_wait > Duration{}) {
    const Duration left = until - os::monotonic_now();
    if (left <= Duration{}) break;
    if (in_.prepare_sleep() && !wait(left)) gone_ = true;
    in_.cancel_sleep();
    if (!intake()) break;
    if (waiting_.empty()) return 0;  // all of it was cancelled meanwhile
    std::tie(count, full) = fitting();
  }
  return count;
}

// Those that waited too long behind others: nobody waits for their answers any more.
void ServeLoop::drop_overdue() {
  const Duration now = os::monotonic_now().since_boot;
  std::erase_if(waiting_, [&](const Work& work) {
    if (static_cast<Duration::rep>(work.head.deadline_ns) > now.count()) return false;
    refuse(work, {Code::deadline_exceeded, "its time was over before it began"});
    return true;
  });
}

void ServeLoop::run_batch() {
  drop_overdue();
  if (waiting_.empty()) return;
  const std::size_t count = choose_batch();
  if (count == 0) return;
  if (count == 1) run_alone(waiting_.front());
  else run_together(count);
  for (std::size_t i = 0; i < count; ++i) {
    Work& done = waiting_.front();
    if (!done.head.in_memfd && spare_.size() < kSpareMax) spare_.push_back(std::move(done));
    waiting_.pop_front();
  }
}

void ServeLoop::run_alone(Work& work) {
  const Instant begun = os::monotonic_now();
  watch_.add(work.head.ticket);
  watch_.begin();
  const auto outputs = within_memory([&] { return model_.run(work.request.inputs); });
  const bool stopped = watch_.end();
  const Duration run = os::monotonic_now() - begun;
  cpu_batch_ = cpu_since_last();
  if (!outputs && stopped) return refuse(work, {Code::cancelled, kStopped}, cpu_batch_);
  if (!outputs) return refuse(work, explain_run_failure(outputs.error()), cpu_batch_);
  answer(work, *outputs, run, work.request.rows, 0);
}

Result<std::span<const TensorView>> ServeLoop::run_joined(std::size_t count, std::int64_t rows) {
  for (std::size_t i = 0; i < joined_.size(); ++i) {
    std::vector<std::byte>& bytes = joined_[i];
    bytes.clear();
    for (std::size_t at = 0; at < count; ++at) {
      const auto data = waiting_[at].request.inputs[i].data;
      bytes.insert(bytes.end(), data.begin(), data.end());
    }
    joined_inputs_[i].shape = waiting_.front().request.inputs[i].shape;
    joined_inputs_[i].shape[0] = rows;
    joined_inputs_[i].data = bytes;
  }
  TRY(const auto outputs, model_.run(joined_inputs_));
  for (const TensorView& output : outputs)
    if (output.shape.empty() || output.shape[0] != rows) {
      batches_ = false;  // the check saw it otherwise, on made-up input; each request runs alone from here on
      return fail(Code::internal, "an output's rows are not the inputs'");
    }
  return outputs;
}

void ServeLoop::run_together(std::size_t count) {
  std::int64_t rows = 0;
  for (std::size_t i = 0; i < count; ++i) {
    rows += waiting_[i].request.rows;
    watch_.add(waiting_[i].head.ticket);
  }
  const Instant begun = os::monotonic_now();
  watch_.begin();
  const auto outputs = within_memory([&] { return run_joined(count, rows); });
  const bool stopped = watch_.end();
  const Duration run = os::monotonic_now() - begun;
  if (!outputs && stopped) {
    for (std::size_t i = 0; i < count; ++i) refuse(waiting_[i], {Code::cancelled, kStopped}, cpu_since_last());
    return;
  }
  if (!outputs) {  // one of them may be to blame: each on its own
    for (std::size_t i = 0; i < count; ++i) run_alone(waiting_[i]);
    return;
  }
  cpu_batch_ = cpu_since_last();
  std::int64_t first = 0;
  for (std::size_t i = 0; i < count; ++i) {
    answer(waiting_[i], *outputs, run, rows, first);
    first += waiting_[i].request.rows;
  }
}

// The rows of one request out of a batch's.
std::span<const TensorView> ServeLoop::cut(std::span<const TensorView> outputs, std::int64_t batch_rows, std::int64_t first_row,
                                           std::int64_t rows) {
  if (rows == batch_rows) return outputs;
  for (std::size_t i = 0; i < outputs.size(); ++i) {
    const std::size_t row = outputs[i].data.size() / static_cast<std::size_t>(batch_rows);
    part_[i].shape.assign(outputs[i].shape.begin(), outputs[i].shape.end());
    part_[i].shape[0] = rows;
    part_[i].data = outputs[i].data.subspan(row * static_cast<std::size_t>(first_row), row * static_cast<std::size_t>(rows));
  }
  return part_;
}

Result<void> ServeLoop::write_reply(const Work& work, std::span<const TensorView> outputs) {
  encoded_.body.clear();
  encoded_.json_size = 0;
  return within_memory([&] {
    return encode(work.head.format, work.request, outputs, model_.signature(),
                  {.model = options_.model_name, .version = version_text_, .labels = &options_.labels}, encoded_);
  });
}

void ServeLoop::answer(Work& work, std::span<const TensorView> outputs, Duration run, std::int64_t batch_rows, std::int64_t first_row) {
  const Instant begun = os::monotonic_now();
  const std::int64_t rows = work.request.rows;
  // The difference of two prefixes: the parts of a batch add up to its whole.
  const auto told_before = [&](std::int64_t row) {
    return cpu_batch_ * static_cast<std::uint64_t>(row) / static_cast<std::uint64_t>(std::max<std::int64_t>(batch_rows, 1));
  };
  const std::uint64_t cpu = rows == batch_rows ? cpu_batch_ : told_before(first_row + rows) - told_before(first_row);
  if (const auto written = write_reply(work, cut(outputs, batch_rows, first_row, rows)); !written)
    return refuse(work, written.error(), cpu);
  reply({.ticket = work.head.ticket,
         .body_size = encoded_.body.size(),
         .json_size = encoded_.json_size,
         .begun_ns = ns(work.begun.since_boot),
         .decode_ns = ns(work.decode),
         .run_ns = ns(run),
         .encode_ns = ns(os::monotonic_now() - begun),
         .cpu_ns = cpu,
         .rows = static_cast<std::uint32_t>(rows),
         .batch_rows = static_cast<std::uint32_t>(batch_rows)},
        encoded_.body);
}

// CPU that is not told here is told by the next reply.
void ServeLoop::refuse(const Work& work, const Error& error, std::uint64_t cpu) {
  const std::string_view text = std::string_view(error.message).substr(0, 4096);
  reply({.ticket = work.head.ticket,
         .body_size = text.size(),
         .begun_ns = ns(work.begun.since_boot),
         .decode_ns = ns(work.decode),
         .cpu_ns = cpu,
         .code = static_cast<std::uint8_t>(error.code)},
        text);
}

void ServeLoop::reply(ReplyHead head, std::string_view body) {
  if (body.size() > domain::kInlineMax) {
    if (!control_.send_body(head.ticket, body)) {
      constexpr std::string_view kNoRoom = "the reply is too large for this instance's memory";
      head.code = static_cast<std::uint8_t>(Code::exhausted);
      head.body_size = kNoRoom.size();
      head.json_size = 0;
      return reply(head, kNoRoom);
    }
    head.in_memfd = 1;
    body = {};
  }
  std::byte* at = nullptr;
  while (!(at = out_.reserve(sizeof head + body.size()))) {
    // The node is slower than this: it drains the ring at its next turn.
    out_.wake();
    if (out_.broken() || !wait(1ms)) {
      gone_ = true;
      return;
    }
  }
  std::memcpy(at, &head, sizeof head);
  if (!body.empty()) std::memcpy(at + sizeof head, body.data(), body.size());
  out_.publish(sizeof head + body.size());
}

}  // namespace mayfly::worker
