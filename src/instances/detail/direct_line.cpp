#include "instances/detail/direct_line.h"

#include <array>
#include <cstring>
#include <string_view>
#include <utility>

#include "os/process.h"

namespace mayfly::instances {
namespace {

using domain::DirectKind;

constexpr std::size_t kPacketMax = sizeof(domain::DirectAnswer) + domain::kInlineMax;

std::uint64_t ns(Duration d) { return static_cast<std::uint64_t>(d.count()); }

// A large answer travels on as one of a host does.
Result<os::Fd> in_memory(std::string_view body) {
  TRY(os::Fd memory, os::make_memfd("mayfly-reply", body.size()));
  {
    TRY(os::Mapping mapped, os::map_file(memory.get(), body.size(), os::Access::write));
    std::memcpy(mapped.data(), body.data(), body.size());
  }
  TRY_VOID(os::seal(memory));
  return memory;
}

}  // namespace

void put_id(const Request& request, std::uint8_t (&to)[16]) {
  for (std::size_t i = 0; i < 8; ++i) {
    to[i] = static_cast<std::uint8_t>(request.request_id_high >> (56 - 8 * i));
    to[8 + i] = static_cast<std::uint8_t>(request.request_id_low >> (56 - 8 * i));
  }
}

Result<std::unique_ptr<DirectLine>> DirectLine::open(os::Loop& loop, os::Fd socket, const os::Fd& program, User user) {
  if (!os::is_packet_socket(socket.get())) return fail(Code::invalid_argument, "a socket for calls that is of another kind");
  const int pid = os::pid_of(program);
  if (pid == 0) return fail(Code::unavailable, "a program that is none, or has ended");
  std::unique_ptr<DirectLine> line(new DirectLine(loop, std::move(socket), pid, std::move(user)));
  TRY_VOID(loop.watch(line->socket_.get(), os::kReadable | os::kEdge, *line));
  return line;
}

DirectLine::~DirectLine() { close(); }

void DirectLine::close() {
  if (std::exchange(open_, false)) loop_.unwatch(socket_.get());
}

bool DirectLine::takes(const Request& request) const {
  return open_ && ticket_ == 0 && request.format == domain::WireFormat::plain_json && request.body_memfd < 0 && !request.wants_log &&
         !domain::is_of_url(request.reply_form) && (request.request_id_high != 0 || request.request_id_low != 0) &&
         request.context_size <= domain::kDirectSaidMax;
}

bool DirectLine::send(const Request& request) {
  const Duration left = request.deadline - loop_.now();
  domain::DirectCall head{.ticket = request.ticket.number, .time_left_ns = left > Duration{} ? ns(left) : 0,
                          .event_size = static_cast<std::uint32_t>(request.body.size() - request.context_size)};
  put_id(request, head.request_id);
  if (!std::exchange(cpu_known_, true)) cpu_told_ = os::process_cpu(pid_);
  if (os::send_packet_now(socket_.get(), os::bytes_of(head), request.body) <= 0) return false;
  ticket_ = request.ticket.number;
  begun_ = loop_.now();
  return true;
}

bool DirectLine::give_up(std::uint64_t ticket) {
  if (ticket == answered_) return false;
  if (ticket != ticket_) return true;
  read();
  if (ticket != ticket_) return false;
  answered_ = std::exchange(ticket_, 0);
  close();  // whatever its program still says is about that call
  return true;
}

// An edge tells of all that came until then, and what an honest program says ends with an answer: no look for more behind it.
void DirectLine::read() {
  std::array<char, kPacketMax + 1> bytes;
  while (open_) {
    const std::int64_t size = os::receive_packet_now(socket_.get(), bytes);
    if (size == os::kNoPacket) return;
    if (size == 0) return close();
    if (!take({bytes.data(), static_cast<std::size_t>(size)})) return;
  }
}

bool DirectLine::take(std::string_view packet) {
  domain::DirectAnswer head;
  const auto broken = [this](const std::string& how) {
    close();
    user_.broken(how);
    return false;
  };
  if (packet.size() < sizeof head || packet.size() > kPacketMax) return broken("its program sent a packet that is no answer");
  std::memcpy(&head, packet.data(), sizeof head);
  packet.remove_prefix(sizeof head);
  if (ticket_ == 0 || head.ticket != ticket_) return broken("its program answered a call that it doesn't have");
  if (head.kind > DirectKind::piece) return broken("its program sent an answer of no kind");
  const std::uint64_t most = head.kind == DirectKind::error ? domain::kInlineMax : domain::kDirectAnswerMax;
  if (body_.size() + packet.size() > most) return broken("its program sent an answer of more than " + std::to_string(most) + " bytes");
  if (head.kind == DirectKind::piece) {
    body_.append(packet);
    return true;
  }
  if (body_.empty()) answer(head.kind == DirectKind::error, packet);
  else {
    body_.append(packet);
    answer(head.kind == DirectKind::error, std::exchange(body_, {}));
  }
  return false;
}

void DirectLine::answer(bool failed, std::string_view body) {
  const Duration cpu = os::process_cpu(pid_), spent = cpu > cpu_told_ ? cpu - cpu_told_ : Duration{};
  cpu_told_ = std::max(cpu_told_, cpu);
  Reply reply{.head = {.ticket = ticket_, .body_size = body.size(), .begun_ns = ns(begun_.since_boot), .run_ns = ns(loop_.now() - begun_),
                       .cpu_ns = ns(spent), .rows = 1, .batch_rows = 1,
                       .code = static_cast<std::uint8_t>(failed ? Code::internal : Code{}), .function_error = failed}};
  answered_ = std::exchange(ticket_, 0);
  if (body.size() <= domain::kInlineMax) {
    reply.body = body;
  } else if (auto memory = in_memory(body)) {
    reply.body_memfd = *std::move(memory);
    reply.head.in_memfd = 1;
  } else {
    reply.head.code = static_cast<std::uint8_t>(Code::unavailable);
    reply.body = "the node has no memory for an answer of this size now: try again later";
    reply.head.body_size = reply.body.size();
  }
  user_.answered(std::move(reply));
}

}  // namespace mayfly::instances
