// Where a node is: what MAYFLY_URL, --url name. And the socket to it. Only http:// URLs: TLS comes with
// keys, and until then a node listens on loopback addresses only.
#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/time.h"
#include "os/fd.h"

namespace mayfly::app {

struct Address {
  std::string host;  // as in the URL, without brackets
  std::string port;  // digits
  std::string path;  // before every call's path: "" or "/prefix"
  [[nodiscard]] std::string url() const;
  [[nodiscard]] std::string host_header() const;
};

// "http://127.0.0.1:8080", "127.0.0.1:8080", "localhost": the port is 8080 where none is named.
[[nodiscard]] Result<Address> parse_url(std::string_view text);

// A connected socket without delays, non-blocking. Error: Code::unavailable, with what to do.
[[nodiscard]] Result<os::Fd> connect(const Address& address, Duration time_max);

// Percent-encodes what may not stand in one segment of a path.
[[nodiscard]] std::string encode(std::string_view text);

}  // namespace mayfly::app
