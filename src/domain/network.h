// Which network a function's code sees, as its manifest says under `network`, and what the parts that enforce it say to each other.
// Pure: nothing here resolves a name or opens a socket.
//
// none: the loopback of its own sandbox. host: the machine's network. outbound: its own loopback, on which each destination of a list
// has an address: made up for a name, its own for a literal one. The host process in the sandbox listens there (worker/outbound.h) and
// asks the node for a connection by the destination's place in the list (instances/outbound_door.h).
#pragma once
#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace mayfly::domain {

enum class Reach : unsigned char { none, outbound, host };

struct Network {
  Reach reach = Reach::none;
  std::vector<std::string> outbound;     // as to_text() writes destinations
  friend bool operator==(const Network&, const Network&) = default;
};

// An address of IPv6; one of IPv4 as ::ffff:a.b.c.d.
struct Ip {
  std::array<std::uint8_t, 16> bytes{};
  bool is_v4() const;
  friend bool operator==(const Ip&, const Ip&) = default;
};
[[nodiscard]] Result<Ip> parse_ip(std::string_view text);
[[nodiscard]] std::string to_text(const Ip& ip);

struct Destination {
  enum class Kind : unsigned char { name, literal };
  Kind kind{};
  std::string name;                      // in lower case
  Ip ip;
  std::uint16_t port = 0;
  friend bool operator==(const Destination&, const Destination&) = default;
};
constexpr std::size_t kDestinationsMax = 64;

// "api.example.com:443", "10.1.2.3:5432", "[2001:db8::1]:443". invalid_argument says what to write.
[[nodiscard]] Result<Destination> parse_destination(std::string_view text);
[[nodiscard]] Result<std::vector<Destination>> parse_destinations(const std::vector<std::string>& texts);
[[nodiscard]] std::string to_text(const Destination& destination);
// The machine's own loopback, by its address or as "localhost".
[[nodiscard]] bool names_loopback(const Destination& destination);

// Where each destination is reached inside the sandbox, by its place in the list. A name has one address for all its ports, out of
// 198.18.0.0/15 (RFC 2544: nobody's); loopback and literal addresses are where they say.
[[nodiscard]] std::vector<Ip> addresses_inside(const std::vector<Destination>& destinations);

// What no name may lead to, whatever a resolver answers.
enum class Closed : unsigned char { no, loopback, link_local, unspecified, metadata };
[[nodiscard]] Closed closed_to_names(const Ip& ip);

// What the node's configuration says about the network of code.
struct NetworkRules {
  bool host = false;                     // code may have the machine's network, where its manifest says so
  bool loopback = false;                 // … may reach the machine's own loopback, where its list says so
  std::uint16_t node_port = 0;           // of the node itself on that loopback: no name leads there
};
// permission_denied: names the key that allows it.
[[nodiscard]] Result<void> check_network(const Network& network, const NetworkRules& rules);

// --- between the host process and the node, one packet each; beside a granted answer: a connected socket

struct OutboundAsk {
  std::uint64_t number = 0;              // the host's, for the answer
  std::uint32_t destination = 0;         // its place in the version's list
  std::uint32_t reserved = 0;
};
struct OutboundAnswer {
  std::uint64_t number = 0;
  std::uint32_t granted = 0;
  std::uint32_t reserved = 0;
};

}  // namespace mayfly::domain
