// Connections to other machines: names to addresses, which blocks and is for a pool, and the beginning of a connection, which doesn't.
// Which addresses may be reached is the caller's to say.
#pragma once
#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"
#include "os/fd.h"

namespace mayfly::os {

// Of IPv6, or of IPv4 as ::ffff:a.b.c.d.
using IpBytes = std::array<std::uint8_t, 16>;

// By the machine's own resolver, in the order in which they are to be tried; at most 8. not_found says what the resolver said.
// Asks each server twice, for 2 s.
[[nodiscard]] Result<std::vector<IpBytes>> resolve(const std::string& name);

// A socket that doesn't block and may be connected or not yet: it is writable then. unavailable says why not.
[[nodiscard]] Result<Fd> begin_connect(const IpBytes& address, std::uint16_t port);
// Of such a socket that is writable: why it is not connected.
[[nodiscard]] Result<void> connect_outcome(int socket);

}  // namespace mayfly::os
