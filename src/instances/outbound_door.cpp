#include "instances/outbound_door.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <utility>

#include "base/units.h"

namespace mayfly::instances {
namespace {

using namespace std::chrono_literals;

constexpr Duration kConnectMax = 10s, kConnectMaxOfMany = 3s;  // one address, where it is the last, and where others follow
constexpr int kAsksAtOnce = 32;                                // before others have their turn

std::string text_of(const os::IpBytes& address) { return domain::to_text(domain::Ip{address}); }

}  // namespace

struct OutboundDoor::Attempt final : os::Watcher {
  Attempt(OutboundDoor& d, std::uint64_t n, const domain::Destination& t) : door(d), number(n), to(t) {}
  void on_events(std::uint32_t) override {
    if (const auto connected = os::connect_outcome(socket.get()); !connected) return fail_with(connected.error().message);
    door.finish(*this, true);
  }
  void fail_with(const std::string& text) {
    why = text + " (" + text_of(addresses.at(next - 1)) + ")";
    drop();
    door.try_next(*this);
  }
  void drop() {
    door.loop_.cancel(limit);
    if (socket) door.loop_.unwatch(socket.get());
    socket.reset();
  }

  OutboundDoor& door;
  const std::uint64_t number;
  const domain::Destination& to;
  std::vector<os::IpBytes> addresses;
  std::size_t next = 0;
  std::string why;                                 // the last one did not do
  os::Fd socket;
  os::Loop::TimerId limit{};
};

Result<std::unique_ptr<OutboundDoor>> OutboundDoor::create(os::Loop& loop, Setup setup) {
  TRY(auto pair, os::make_packet_pair());
  std::unique_ptr<OutboundDoor> door(new OutboundDoor(loop, std::move(setup)));
  door->near_ = std::move(pair.first);
  door->far_ = std::move(pair.second);
  TRY_VOID(loop.watch(door->near_.get(), os::kReadable, *door));
  return door;
}

OutboundDoor::OutboundDoor(os::Loop& loop, Setup setup) : loop_(loop), setup_(std::move(setup)) {}

OutboundDoor::~OutboundDoor() {
  loop_.cancel(burying_);
  for (const auto& [number, attempt] : attempts_) attempt->drop();
  if (near_) loop_.unwatch(near_.get());
}

void OutboundDoor::on_events(std::uint32_t) {
  for (int i = 0; i < kAsksAtOnce; ++i) {
    std::array<std::byte, sizeof(domain::OutboundAsk) + 1> bytes;
    auto packet = os::receive_packet(near_.get(), bytes);
    if (!packet && packet.error().code == Code::exhausted) return;
    if (!packet || packet->size != sizeof(domain::OutboundAsk)) {  // gone, or nothing that a host says
      loop_.unwatch(near_.get());
      near_.reset();
      return;
    }
    domain::OutboundAsk ask;
    std::memcpy(&ask, bytes.data(), sizeof ask);
    take(ask);
    if (!near_) return;
  }
}

void OutboundDoor::take(const domain::OutboundAsk& ask) {
  if (ask.destination >= setup_.destinations.size() || attempts_.contains(ask.number)) return answer(ask.number, nullptr);
  const domain::Destination& to = setup_.destinations[ask.destination];
  if (attempts_.size() >= kAsksMax) {
    say_no(to, "64 connections are being made already: make fewer at a time");
    return answer(ask.number, nullptr);
  }
  Attempt& attempt = *attempts_.emplace(ask.number, std::make_unique<Attempt>(*this, ask.number, to)).first->second;
  if (to.kind == domain::Destination::Kind::literal) {
    // What the list names literally is what was wanted; of the loopback the node has said that it may be there.
    attempt.addresses = {to.ip.bytes};
    if (domain::names_loopback(to) && !setup_.rules.loopback) attempt.why = closed_because(to.ip.bytes, to.port), attempt.addresses.clear();
    return try_next(attempt);
  }
  auto found = std::make_shared<Result<std::vector<os::IpBytes>>>();
  const bool taken = setup_.resolvers.run([found, name = to.name, resolve = setup_.resolve] { *found = resolve(name); },
                                    [this, found, number = ask.number, alive = std::weak_ptr(alive_)] {
                                      if (!alive.expired()) resolved(number, *found);
                                    });
  if (taken) return;
  attempt.why = "too many names wait to be looked up: try later";
  try_next(attempt);
}

void OutboundDoor::resolved(std::uint64_t number, const Result<std::vector<os::IpBytes>>& addresses) {
  const auto found = attempts_.find(number);
  if (found == attempts_.end()) return;
  Attempt& attempt = *found->second;
  if (!addresses) attempt.why = "this machine's resolver does not know it: " + addresses.error().message;
  else if (addresses->empty()) attempt.why = "this machine's resolver has no address of it";
  else
    for (const os::IpBytes& address : *addresses) {
      const std::string why = closed_because(address, attempt.to.port);
      if (why.empty()) attempt.addresses.push_back(address);
      else attempt.why = why;
    }
  try_next(attempt);
}

std::string OutboundDoor::closed_because(const os::IpBytes& address, std::uint16_t port) const {
  const std::string text = text_of(address);
  switch (domain::closed_to_names(domain::Ip{address})) {
    case domain::Closed::no: return {};
    case domain::Closed::loopback:
      if (!setup_.rules.loopback)
        return "it is " + text + ", the loopback of the node's machine: allow that in the node's configuration "
                                "(code: {network_loopback: true})";
      if (port == setup_.rules.node_port) return "it is " + text + " at the node's own port: list the address itself, if that is wanted";
      return {};
    case domain::Closed::link_local: return "it is " + text + ", a link-local address: list the address itself, if that is wanted";
    case domain::Closed::metadata:
      return "it is " + text + ", where clouds give out credentials: list the address itself, if that is wanted";
    case domain::Closed::unspecified: return "it is " + text + ", which is no machine's address";
  }
  return "it is " + text;
}

void OutboundDoor::try_next(Attempt& attempt) {
  while (attempt.next < attempt.addresses.size()) {
    const os::IpBytes& address = attempt.addresses[attempt.next++];
    auto socket = os::begin_connect(address, attempt.to.port);
    if (!socket || !loop_.watch(socket->get(), os::kWritable, attempt)) {
      attempt.why = (socket ? std::string("it can't be watched") : socket.error().message) + " (" + text_of(address) + ")";
      continue;
    }
    attempt.socket = *std::move(socket);
    const Duration most = attempt.next < attempt.addresses.size() ? kConnectMaxOfMany : kConnectMax;
    attempt.limit = loop_.after(most, [&attempt, most] { attempt.fail_with("it did not answer within " + to_text(most)); });
    return;
  }
  say_no(attempt.to, attempt.why);
  finish(attempt, false);
}

void OutboundDoor::finish(Attempt& attempt, bool granted) {
  if (granted) loop_.unwatch(attempt.socket.get());
  answer(attempt.number, granted ? &attempt.socket : nullptr);
  if (!granted) attempt.drop();
  loop_.cancel(attempt.limit);
  attempt.socket.reset();
  auto node = attempts_.extract(attempt.number);
  done_.push_back(std::move(node.mapped()));
  loop_.cancel(burying_);
  burying_ = loop_.after({}, [this] { done_.clear(); });
}

// A host that does not read what it asked for gets nothing more.
void OutboundDoor::answer(std::uint64_t number, const os::Fd* socket) {
  if (!near_) return;
  const domain::OutboundAnswer answer{.number = number, .granted = socket != nullptr};
  const std::array fds{socket ? socket->get() : -1};
  if (os::send_packet(near_.get(), os::bytes_of(answer), std::span(fds).first(socket ? 1 : 0))) return;
  loop_.unwatch(near_.get());
  near_.reset();
}

void OutboundDoor::say_no(const domain::Destination& to, const std::string& why) {
  setup_.log("mayfly: no connection to " + domain::to_text(to) + ": " + why);
}

}  // namespace mayfly::instances
