// Any bytes as what an instance does to its link: control messages with and without descriptors, frames, and writes of its own to the
// shared memory's indices and data, while the node sends. The node's side must hold what link_*() promise, whatever comes.
// Input: a row of acts, each a letter, a count in two hex digits, and that many bytes.
//   c d D   a control message: bytes as they are; with a sealed memfd of 100 bytes; with an eventfd
//           (a first byte of 0 to 9 makes it one of that kind, from hello on, filled up)
//   f m g   a reply with these bytes; one whose body of so many bytes is in a memfd; these bytes as its head and its body
//   p       a reply's part of the kind that the first byte says, with the bytes behind it
//   i j     up to 8 bytes over `produced` of the replies, or `consumed` of the requests
//   y x z   ready with a socket for direct calls and its program; what its program says there: these bytes; an answer of the kind that
//           the first says, with the bytes behind it
//   r       the node sends a call that its program may have directly
//   w       bytes over the replies' data, from where the next frame is read
//   s       the node sends a body of as many bytes, t a cancel, u that as many were taken, and l lets the loop turn
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstring>

#include "base/assert.h"
#include "instances/detail/process_link.h"
#include "os/process.h"

namespace {

using namespace mayfly;
using namespace mayfly::instances;
using namespace std::chrono_literals;

class Owner final : public LinkOwner {
 public:
  void link_hello(ProcessLink&, int pid, os::Fd) override {
    ASSERT(!over && !hello && pid > 0, "one hello, of somebody");
    hello = true;
  }
  void link_ready(ProcessLink&, const domain::ReadyMessage& ready, std::string_view result) override {
    ASSERT(!over && hello && !settled && ready.credit <= 1024, "ready once, after hello");
    settled = true;
    read(result);
  }
  void link_failed(ProcessLink&, const Error& error, std::string_view) override {
    ASSERT(!over && !settled && error.code >= Code::invalid_argument && error.code <= Code::internal, "failed once, with a code");
    settled = true;
  }
  void link_reply(ProcessLink&, Reply&& reply) override {
    ASSERT(!over && settled, "no reply before it was ready");
    ASSERT(reply.head.part <= domain::ReplyPart::end, "a part of a kind");
    const bool goes_on = !domain::is_last(reply.head.part);
    ASSERT(!goes_on || (reply.head.code == 0 && !reply.body_memfd && !reply.head.last), "the last says how it went");
    ASSERT(reply.head.code <= static_cast<std::uint8_t>(Code::internal) && reply.head.json_size <= reply.head.body_size, "a sound head");
    if (reply.body_memfd) {
      const auto mapped = os::map_file(reply.body_memfd.get(), reply.head.body_size, os::Access::read);
      ASSERT(mapped, "a body can be mapped");
      read(mapped->text());
    } else {
      ASSERT(reply.body.size() == reply.head.body_size, "a body of the size that was said");
      read(reply.body);
    }
  }
  void link_log(ProcessLink&, std::string_view line) override {
    ASSERT(!over, "nothing after the end");
    read(line);
  }
  void link_broken(ProcessLink&, const std::string& how) override {
    ASSERT(!over && !how.empty(), "broken once");
    over = true;
  }
  void link_closed(ProcessLink&) override {
    ASSERT(!over, "closed once");
    over = true;
  }

  bool hello = false, settled = false, over = false;

 private:
  static void read(std::string_view text) {            // every byte, for the sanitizer
    unsigned sum = 0;
    for (const char c : text) sum += static_cast<unsigned char>(c);
    ASSERT(sum != 0xFFFFFFFF, "no text is that large");
  }
};

// The far side, as whoever runs in the sandbox could write it.
struct Stranger {
  explicit Stranger(ProcessLink& near)
      : link(near), control(os::duplicate(near.far_control()).value()), memory(near.ring_descriptors()[0]),
        bell(near.ring_descriptors()[2]), out(os::open_ring(memory, 1, bell).value()) {
    shared = os::map_file(memory, 4096 + 2 * os::kRingSize, os::Access::write).value();
    near.forget_far_control();
    near.expect_direct();
  }

  void act(char what, std::string_view bytes) {
    switch (what) {
      case 'c': say(bytes); break;
      case 'd': {
        const os::Fd body = os::make_memfd("fuzz", 100).value();
        ASSERT(os::seal(body), "a memfd can be sealed");
        say(bytes, body.get());
        break;
      }
      case 'D': say(bytes, os::make_eventfd()->get()); break;
      case 'f': frame({.ticket = 7, .body_size = bytes.size()}, bytes); break;
      case 'p':
        if (bytes.empty()) break;
        frame({.ticket = 7, .body_size = bytes.size() - 1, .part = static_cast<domain::ReplyPart>(bytes[0])}, bytes.substr(1));
        break;
      case 'u': (void)link.taken(Ticket{7}, bytes.size()); break;
      case 'm': frame({.ticket = 7, .body_size = number(bytes), .in_memfd = 1}, {}); break;
      case 'g': any_frame(bytes); break;
      case 'i': index(1).produced.store(number(bytes)); break;
      case 'j': index(0).consumed.store(number(bytes)); break;
      case 'w': data(bytes); break;
      case 'y': {
        auto pair = os::make_packet_pair().value();
        const os::Fd self = os::open_process(::getpid()).value();
        const std::array fds{pair.first.get(), self.get()};
        const domain::ReadyMessage ready{.credit = 1};
        (void)os::send_packet(control.get(), os::bytes_of(ready), fds);
        program = std::move(pair.second);
        break;
      }
      case 'x':
        if (program) (void)os::send_packet_now(program.get(), {}, bytes);
        break;
      case 'z': {
        if (!program || bytes.empty()) break;
        const domain::DirectAnswer head{.ticket = 7, .kind = static_cast<domain::DirectKind>(bytes[0] - '0')};
        (void)os::send_packet_now(program.get(), os::bytes_of(head), bytes.substr(1));
        break;
      }
      case 'r':
        (void)link.send({.ticket = Ticket{7}, .deadline = Instant{10s}, .format = domain::WireFormat::plain_json, .body = bytes,
                         .request_id_low = 1});
        break;
      case 's': (void)link.send({.ticket = Ticket{7}, .body = bytes}); break;
      case 't': link.cancel(Ticket{7}); break;
      default: break;
    }
    os::ring_doorbell(bell);
  }

 private:
  void say(std::string_view bytes, int fd = -1) {
    std::string whole(bytes);
    if (!whole.empty() && whole[0] >= '0' && whole[0] <= '9') {      // a message of that kind, filled up
      whole.resize(std::max<std::size_t>(whole.size(), sizeof(domain::ReadyMessage)));
      domain::Message head{static_cast<domain::MessageKind>(20 + whole[0] - '0'), 0};
      if (head.kind == domain::MessageKind::hello) whole.resize(sizeof head);
      if (head.kind == domain::MessageKind::failed) whole.resize(sizeof(domain::FailedMessage));
      if (head.kind == domain::MessageKind::log) head.size = static_cast<std::uint32_t>(whole.size() - sizeof head);
      if (head.kind == domain::MessageKind::reply_body) whole.resize(sizeof(domain::BodyMessage));
      std::memcpy(whole.data(), &head, sizeof head);
    }
    (void)os::send_packet(control.get(), std::as_bytes(std::span(whole)), fd < 0 ? std::span<const int>() : std::span<const int>(&fd, 1));
  }
  void frame(const domain::ReplyHead& head, std::string_view body) {
    std::byte* at = out.reserve(sizeof head + body.size());
    if (!at) return;
    std::memcpy(at, &head, sizeof head);
    if (!body.empty()) std::memcpy(at + sizeof head, body.data(), body.size());
    out.publish(sizeof head + body.size());
    out.wake();
  }
  void any_frame(std::string_view bytes) {
    domain::ReplyHead head;
    std::memcpy(&head, bytes.data(), std::min(bytes.size(), sizeof head));
    frame(head, bytes);
  }
  static std::uint64_t number(std::string_view bytes) {
    std::uint64_t value = 0;
    std::memcpy(&value, bytes.data(), std::min(bytes.size(), sizeof value));
    return value;
  }
  // As os/ring.cpp lays it out: a page with an index for each direction, then the data of each.
  os::RingIndex& index(std::size_t direction) { return reinterpret_cast<os::RingIndex*>(shared.data())[direction]; }
  void data(std::string_view bytes) {
    const std::size_t at = index(1).consumed.load() % os::kRingSize;
    std::memcpy(shared.data() + 4096 + os::kRingSize + at, bytes.data(), std::min(bytes.size(), os::kRingSize - at));
  }

  ProcessLink& link;
  os::Fd control, program;
  int memory, bell;
  os::Ring out;
  os::Mapping shared;
};

int digit(char c) { return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : 0; }

}  // namespace

extern "C" const char* const* mayfly_fuzz_seeds() {
  static const char* const seeds[] = {
      "c010l00", "c010c012l00", "c010c011l00f05hellol00f00l00", "s05hellol00t00c010c011f05hellol00", "c010c014l00c014l00",
      "c010c011d093.......\7l00", "c010c011d093.......\7m01dl00", "c010c011l00f05hellow08\377\377\377\377\377\377\377\377l00",
      "c010c011l00i08aaaaaaaal00", "c010c011j08aaaaaaaas05hellol00", "c010c011g20aaaaaaaabbbbbbbbccccccccddddddddl00", "D010l00",
      "c010l00y00l00r02{}z030okl00r02{}z032okz031okl00", "c010l00y00l00r02{}l00x03abcl00r02{}", "c010y00l00r02{}f05hellol00z010r02{}",
      "c010y00l00z010l00", "c010y00l00r02{}z019l00",
      "c010c011l00p06\1hellop06\2hellou05aaaaap06\3hellol00", "c010c011l00p03\4hil00p01\2l00", nullptr};
  return seeds;
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static os::Loop loop = os::Loop::create().value();
  Owner owner;
  const auto link = ProcessLink::create(loop, owner).value();
  link->limit_bodies(1000);
  Stranger stranger(*link);
  std::string_view acts(reinterpret_cast<const char*>(data), size);
  while (acts.size() >= 3) {
    const char what = acts[0];
    const auto count = static_cast<std::size_t>(digit(acts[1]) * 16 + digit(acts[2]));
    acts.remove_prefix(3);
    const std::string_view bytes = acts.substr(0, count);
    acts.remove_prefix(bytes.size());
    if (what == 'l') loop.turn({});
    else stranger.act(what, bytes);
  }
  loop.turn({});
  loop.turn({});
  link->drain();
  return 0;
}
