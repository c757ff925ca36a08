#include "app/load.h"

#include <netinet/in.h>

#include <algorithm>
#include <cerrno>
#include <cmath>

#include "os/clock.h"

namespace mayfly::app {
namespace {

constexpr Duration kTick = std::chrono::milliseconds(100);
constexpr Duration kSecond = std::chrono::seconds(1);
constexpr Duration kConnectMax = std::chrono::seconds(2);
constexpr std::size_t kFirstErrorMax = 400;

}  // namespace

class Load::Connection final : public os::Watcher {
 public:
  explicit Connection(Load& owner) : load(owner) {}
  void on_events(std::uint32_t) override { load.on_events(*this); }

  Load& load;
  os::Fd socket;
  HttpReader reader;
  std::size_t written = 0;  // of the request
  bool busy = false;
  bool waits_to_write = false;
  Instant due;  // of the request in flight
  Instant sent;
  std::string body;  // the beginning of an answer that is not 2xx, while no error was kept
};

std::uint64_t LoadReport::errors_count() const {
  std::uint64_t all = 0;
  for (const auto& [why, count] : errors) all += count;
  return all;
}

double LoadReport::rate() const { return measured > Duration{} ? static_cast<double>(latency.count()) / to_seconds(measured) : 0; }

Load::Load(os::Loop& loop, LoadPlan plan, std::function<void(const LoadReport&, Duration)> each_second)
    : loop_(loop), plan_(std::move(plan)), each_second_(std::move(each_second)), buffer_(256 * 1024, '\0') {}

Load::~Load() {
  for (const auto& connection : connections_) close(*connection);
}

Instant Load::due_at(std::uint64_t number) const { return begun_ + from_seconds(static_cast<double>(number) / plan_.rate); }

bool Load::may_send(Instant due) const { return due < end_ && (plan_.requests_max == 0 || report_.sent < plan_.requests_max); }

Result<void> Load::open(Connection& connection) {
  TRY(connection.socket, connect(plan_.address, kConnectMax));
  connection.waits_to_write = false;
  return loop_.watch(connection.socket.get(), os::kReadable, connection);
}

void Load::close(Connection& connection) {
  if (connection.socket) loop_.unwatch(connection.socket.get());
  connection.socket.reset();
}

Result<LoadReport> Load::run() {
  for (int i = 0; i < plan_.connections; ++i) {
    connections_.push_back(std::make_unique<Connection>(*this));
    TRY_VOID(open(*connections_.back()));
  }
  begun_ = told_ = loop_.refresh_now();
  warm_ = last_answer_ = begun_ + plan_.warmup;
  end_ = begun_ + plan_.duration;
  if (plan_.rate > 0) {
    for (const auto& connection : connections_) idle_.push_back(connection.get());
    pump();
  } else {
    for (const auto& connection : connections_) next(*connection);
  }
  loop_.after(kTick, [this] { tick(); });
  const Instant last = end_ + plan_.timeout + kSecond;
  while (loop_.turn(kTick)) {
    const bool over = loop_.now() >= end_ || (plan_.requests_max > 0 && report_.sent >= plan_.requests_max);
    if ((over && busy_ == 0) || loop_.now() >= last) break;
  }
  if (plan_.rate > 0) {
    auto due = static_cast<std::uint64_t>(std::floor(to_seconds(plan_.duration) * plan_.rate));
    if (plan_.requests_max > 0) due = std::min(due, plan_.requests_max);
    report_.unsent = due > issued_ ? due - issued_ : 0;
  }
  report_.measured = std::max(Duration{}, last_answer_ - warm_);
  return report_;
}

void Load::tick() {
  const Instant now = loop_.now();
  for (const auto& connection : connections_) {
    if (connection->busy && now - connection->sent > plan_.timeout) fail_request(*connection, "timeout");
    if (!connection->socket && may_send(now) && open(*connection)) next(*connection);
  }
  if (now - told_ >= kSecond) {
    told_ = now;
    report_.measured = std::max(Duration{}, last_answer_ - warm_);
    each_second_(report_, now - begun_);
  }
  loop_.after(kTick, [this] { tick(); });
}

void Load::next(Connection& connection) {
  if (plan_.rate > 0) {
    idle_.push_back(&connection);
    pump();
  } else if (const Instant now = loop_.now(); may_send(now)) {
    begin_request(connection, now);
  }
}

void Load::pump() {
  while (!idle_.empty()) {
    const Instant due = due_at(issued_);
    if (!may_send(due) || loop_.now() >= end_) return;
    if (due > loop_.now()) {
      // One timer is enough, but more do no harm: each finds nothing due.
      if (idle_.size() == connections_.size() || due - loop_.now() < kTick) loop_.at(due, [this] { pump(); });
      return;
    }
    Connection* connection = idle_.back();
    idle_.pop_back();
    ++issued_;
    begin_request(*connection, due);
  }
}

void Load::begin_request(Connection& connection, Instant due) {
  connection.busy = true;
  connection.due = due;
  connection.sent = loop_.now();
  connection.written = 0;
  connection.reader.begin();
  connection.body.clear();
  ++busy_;
  ++report_.sent;
  write(connection);
}

void Load::write(Connection& connection) {
  while (connection.written < plan_.request.size()) {
    const ssize_t count =
        ::send(connection.socket.get(), plan_.request.data() + connection.written, plan_.request.size() - connection.written, MSG_NOSIGNAL);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0 && errno != EAGAIN) return;  // reading will tell: an answer before the end of the body, or the close
    if (count < 0) break;
    connection.written += static_cast<std::size_t>(count);
  }
  const bool waits = connection.written < plan_.request.size();
  if (waits != connection.waits_to_write && loop_.watch(connection.socket.get(), os::kReadable | (waits ? os::kWritable : 0), connection))
    connection.waits_to_write = waits;
}

void Load::on_events(Connection& connection) {
  if (connection.busy && connection.waits_to_write) write(connection);
  read(connection);
}

void Load::read(Connection& connection) {
  const ssize_t count = ::recv(connection.socket.get(), buffer_.data(), buffer_.size(), 0);
  if (count < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (count <= 0) {
    if (count == 0 && connection.busy && connection.reader.closed()) return answered(connection);
    if (connection.busy)
      return fail_request(connection, connection.reader.untouched() ? "connection closed without an answer" : "answer cut off");
    return close(connection);  // between requests: tick() opens it again
  }
  if (!connection.busy) return close(connection);
  const auto keep = [&](std::string_view bytes) {
    if (connection.reader.status() >= 300 && report_.first_error.empty() && connection.body.size() < kFirstErrorMax)
      connection.body += bytes.substr(0, kFirstErrorMax - connection.body.size());
  };
  const auto fed = connection.reader.feed({buffer_.data(), static_cast<std::size_t>(count)}, keep);
  if (!fed) return fail_request(connection, "not HTTP");
  if (connection.reader.done()) answered(connection);
}

void Load::answered(Connection& connection) {
  const HttpReader& reader = connection.reader;
  const Instant now = loop_.now();
  connection.busy = false;
  --busy_;
  ++report_.answered;
  last_answer_ = std::max(last_answer_, now);
  if (reader.status() >= 300) {
    ++report_.errors["status " + std::to_string(reader.status())];
    if (report_.first_error.empty()) report_.first_error = connection.body;
  } else {
    if (connection.due >= warm_) report_.latency.add(now - connection.due);
    if (const auto cold = reader.header("x-mayfly-cold"); !cold.empty() && cold != "warm") ++report_.cold[std::string(cold.substr(0, 32))];
  }
  if (!reader.keep_alive()) {
    close(connection);
    if (!may_send(now) || !open(connection)) return;
  }
  next(connection);
}

void Load::fail_request(Connection& connection, const std::string& why) {
  ++report_.errors[why];
  connection.busy = false;
  --busy_;
  close(connection);
  // At once where that may work; else tick() tries again, ten times a second.
  if (may_send(loop_.now()) && open(connection)) next(connection);
}

}  // namespace mayfly::app
