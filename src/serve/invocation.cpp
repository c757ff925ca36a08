#include "serve/invocation.h"

#include <algorithm>
#include <utility>

#include "os/listener.h"

namespace mayfly::serve {

Result<void> put_body(Invocation& call, std::string body) {
  call.body_size = body.size();
  if (body.size() <= domain::kInlineMax) {
    call.body = std::move(body);
    return {};
  }
  TRY(call.body_memfd, os::make_memfd("mayfly-body", 0));
  TRY_VOID(os::append(call.body_memfd.get(), body));
  return os::seal(call.body_memfd);
}

std::string body_text(const InvocationReply& reply, std::uint64_t size_max) {
  if (!reply.body_memfd) return std::string(reply.body.substr(0, size_max));
  const std::uint64_t size = std::min(reply.body_size, size_max);
  const auto mapped = size > 0 ? os::map_file(reply.body_memfd.get(), size, os::Access::read) : Result<os::Mapping>(os::Mapping());
  return mapped ? std::string(mapped->text()) : std::string();
}

}  // namespace mayfly::serve
