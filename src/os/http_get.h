// One GET from an HTTP/1.1 server, or another method with a body, over TCP or TLS; what comes back is handed on in pieces. Blocks: for
// a pool. It goes to the place that it is told and nowhere else: no redirection is followed, no proxy is asked. Of TLS the server's
// certificate must be good for its name, by the machine's own list of authorities (OpenSSL's, SSL_CERT_FILE included).
// Promises: at most `size_max` bytes are taken; it ends within `time_max`, within `stall_max` of silence, and soon after `*stop`.
#pragma once
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/time.h"
#include "base/units.h"

namespace mayfly::os {

struct HttpGet {
  bool tls = false;
  std::string host;                         // a name, or an address without brackets
  std::uint16_t port = 80;
  std::string target;                       // path and query, encoded
  std::string head;                         // lines with their ends, Host among them
  std::string_view method = "GET";          // not HEAD, whose answers end otherwise
  std::string_view body;                    // its length is told with it
  Bytes size_max = 1_GiB;
  Duration stall_max = std::chrono::seconds(30), time_max = std::chrono::minutes(10);
  Instant until = Instant::never();         // it ends by then, too: one end of several
  const std::atomic<bool>* stop = nullptr;  // null: nobody stops it
};

struct HttpGot {
  int status = 0;
  std::string refusal;                      // the body where the status is not 200: its first 4 KiB, no more of it is read
  std::string head;                         // the status line and the headers as they came, at most 64 KiB
  // Of each such header, in any case and in their order; without blanks around them.
  [[nodiscard]] std::vector<std::string> headers(std::string_view name) const;
  [[nodiscard]] std::string header(std::string_view name) const;  // the first; "" where there is none
};

// unavailable: not reached, cut off, too slow; invalid_argument: too large; else what `take` said.
[[nodiscard]] Result<HttpGot> http_get(const HttpGet& get, const std::function<Result<void>(std::span<const std::byte>)>& take);

}  // namespace mayfly::os
