#include "worker/large_body.h"

#include <unistd.h>

#include <array>

#include "domain/link.h"
#include "os/fd.h"

namespace mayfly::worker {

bool send_large_body(int control, std::uint64_t ticket, std::string_view body) {
  auto memfd = os::make_memfd("mayfly-reply", body.size());
  if (!memfd) return false;
  for (std::size_t at = 0; at < body.size();) {
    const ssize_t written = ::pwrite(memfd->get(), body.data() + at, body.size() - at, static_cast<off_t>(at));
    if (written <= 0) return false;
    at += static_cast<std::size_t>(written);
  }
  if (!os::seal(*memfd)) return false;
  const domain::BodyMessage message{.head = {domain::MessageKind::reply_body, 0}, .ticket = ticket, .size = body.size()};
  const std::array fds{memfd->get()};
  return os::send_packet(control, os::bytes_of(message), fds).has_value();
}

}  // namespace mayfly::worker
