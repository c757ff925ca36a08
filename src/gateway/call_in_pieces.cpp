#include "gateway/call_in_pieces.h"

#include <utility>

namespace mayfly::gateway {

// What is held is framed once it is written: many small pieces stay as small as they are.
void CallInPieces::write(serve::Invoker& invoker, std::string_view bytes) {
  if (to.unsent() > 0) held.append(bytes);
  else write_now(invoker, bytes);
}

void CallInPieces::write_now(serve::Invoker& invoker, std::string_view bytes) {
  const std::uint64_t before = use;
  put(bytes);
  if (use != before) return;                           // it closed
  untaken += bytes.size();
  if (to.unsent() == 0) drained(invoker);
}

void CallInPieces::drained(serve::Invoker& invoker) {
  if (const std::uint64_t bytes = std::exchange(untaken, 0); bytes > 0 && ticket) invoker.taken(ticket, bytes);
  if (!held.empty()) write_now(invoker, std::exchange(held, {}));
}

}  // namespace mayfly::gateway
