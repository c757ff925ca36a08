#include "domain/network.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#include <algorithm>
#include <charconv>
#include <map>
#include <optional>

namespace mayfly::domain {
namespace {

constexpr std::array<std::uint8_t, 12> kMapped{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
constexpr std::array<std::uint8_t, 12> kNat64{0, 0x64, 0xff, 0x9b};  // 64:ff9b::/96, RFC 6052: an address of IPv4 behind a translator
// Where clouds answer with a machine's credentials, beside 169.254.169.254: Amazon's and Google's by IPv6, Alibaba's, Oracle's.
constexpr const char* kMetadata[] = {"fd00:ec2::254", "fd20:ce::254", "100.100.100.200", "192.0.0.192"};

bool starts_with(const Ip& ip, const std::array<std::uint8_t, 12>& prefix) {
  return std::equal(prefix.begin(), prefix.end(), ip.bytes.begin());
}

Ip v4(std::uint8_t a, std::uint8_t b, std::uint8_t c, std::uint8_t d) {
  Ip ip;
  std::ranges::copy(kMapped, ip.bytes.begin());
  ip.bytes[12] = a, ip.bytes[13] = b, ip.bytes[14] = c, ip.bytes[15] = d;
  return ip;
}

std::unexpected<Error> wrong(std::string_view text, const std::string& why) {
  return fail(Code::invalid_argument, "'" + std::string(text.substr(0, 128)) + "' is no destination: " + why);
}

// Letters, digits, '-' and '_' in parts of 1 to 63; not all digits in the last, which would be an address written in another way.
bool valid_name(std::string_view name) {
  if (name.empty() || name.size() > 253) return false;
  std::string_view part;
  for (std::string_view rest = name;;) {
    const std::size_t end = std::min(rest.find('.'), rest.size());
    part = rest.substr(0, end);
    const auto fits = [](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_'; };
    if (part.empty() || part.size() > 63 || part.front() == '-' || part.back() == '-' || !std::ranges::all_of(part, fits)) return false;
    if (end == rest.size()) break;
    rest.remove_prefix(end + 1);
  }
  return !std::ranges::all_of(part, [](char c) { return c >= '0' && c <= '9'; }) && !part.starts_with("0x");
}

}  // namespace

bool Ip::is_v4() const { return starts_with(*this, kMapped); }

Result<Ip> parse_ip(std::string_view text) {
  const std::string whole(text);
  Ip ip;
  if (in_addr four{}; ::inet_pton(AF_INET, whole.c_str(), &four) == 1) {
    const std::uint32_t number = ntohl(four.s_addr);
    return v4(static_cast<std::uint8_t>(number >> 24), static_cast<std::uint8_t>(number >> 16), static_cast<std::uint8_t>(number >> 8),
              static_cast<std::uint8_t>(number));
  }
  if (::inet_pton(AF_INET6, whole.c_str(), ip.bytes.data()) == 1) return ip;
  return fail(Code::invalid_argument, "'" + whole.substr(0, 64) + "' is no IP address");
}

std::string to_text(const Ip& ip) {
  std::array<char, INET6_ADDRSTRLEN> text{};
  const bool four = ip.is_v4();
  ::inet_ntop(four ? AF_INET : AF_INET6, ip.bytes.data() + (four ? kMapped.size() : 0), text.data(), text.size());
  return text.data();
}

Result<Destination> parse_destination(std::string_view text) {
  const std::size_t colon = text.rfind(':');
  std::string_view host = text.substr(0, colon), digits = colon == text.npos ? std::string_view() : text.substr(colon + 1);
  Destination to;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), to.port);
  if (digits.empty() || error != std::errc() || end != digits.data() + digits.size() || to.port == 0)
    return wrong(text, "write host:port, like api.example.com:443, 10.1.2.3:5432 or [2001:db8::1]:443");
  const bool bracketed = host.size() > 2 && host.front() == '[' && host.back() == ']';
  if (bracketed) host = host.substr(1, host.size() - 2);
  if (const auto ip = parse_ip(host)) {
    to.kind = Destination::Kind::literal;
    to.ip = *ip;
    if (closed_to_names(*ip) == Closed::unspecified) return wrong(text, "that is no address of a machine");
    if (bracketed || ip->is_v4()) return to;
    return wrong(text, "an address of IPv6 stands in brackets, like [2001:db8::1]:443");
  }
  to.name = host;
  std::ranges::transform(to.name, to.name.begin(), [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + ('a' - 'A')) : c; });
  if (to.name.starts_with("*.")) return wrong(text, "wildcards are not supported by this release: list the names");
  if (bracketed || !valid_name(to.name)) return wrong(text, "the host is neither a name nor an address");
  return to;
}

Result<std::vector<Destination>> parse_destinations(const std::vector<std::string>& texts) {
  std::vector<Destination> all;
  for (const std::string& text : texts) {
    TRY(Destination one, parse_destination(text));
    all.push_back(std::move(one));
  }
  return all;
}

std::string to_text(const Destination& to) {
  const bool six = to.kind == Destination::Kind::literal && !to.ip.is_v4();
  const std::string host = to.kind == Destination::Kind::name ? to.name : to_text(to.ip);
  return (six ? "[" + host + "]" : host) + ":" + std::to_string(to.port);
}

bool names_loopback(const Destination& to) {
  return to.kind == Destination::Kind::name ? to.name == "localhost" : closed_to_names(to.ip) == Closed::loopback;
}

std::vector<Ip> addresses_inside(const std::vector<Destination>& destinations) {
  std::vector<Ip> all;
  std::map<std::string, Ip> made_up;
  for (const Destination& to : destinations) {
    if (to.kind == Destination::Kind::literal) all.push_back(to.ip);
    else if (to.name == "localhost") all.push_back(v4(127, 0, 0, 1));
    else all.push_back(made_up.try_emplace(to.name, v4(198, 18, 1, static_cast<std::uint8_t>(made_up.size() + 1))).first->second);
  }
  return all;
}

Result<void> check_network(const Network& network, const NetworkRules& rules) {
  if (network.reach == Reach::host && !rules.host)
    return fail(Code::permission_denied, "network: host is not allowed on this node: it would see the machine's network, the node's own "
                                         "API included. List what it reaches under network.outbound, or allow it in the node's "
                                         "configuration (code: {network_host: true})");
  for (const std::string& text : network.outbound) {
    TRY(const Destination to, parse_destination(text));
    if (names_loopback(to) && !rules.loopback)
      return fail(Code::permission_denied, "network.outbound lists " + text + ", the loopback of the node's machine, which is not "
                                           "allowed on this node: allow it in its configuration (code: {network_loopback: true})");
  }
  return {};
}

Closed closed_to_names(const Ip& ip) {
  static_assert(kDestinationsMax < 255);
  for (const char* text : kMetadata)
    if (const auto known = parse_ip(text); known && ip == *known) return Closed::metadata;
  const auto* b = ip.bytes.data();
  if (starts_with(ip, kMapped) || starts_with(ip, kNat64)) {
    if (b[12] == 0 || b[12] >= 224) return Closed::unspecified;  // "this" network, multicast, broadcast
    if (b[12] == 127) return Closed::loopback;
    return b[12] == 169 && b[13] == 254 ? Closed::link_local : Closed::no;
  }
  if (std::all_of(b, b + 12, [](std::uint8_t byte) { return byte == 0; }))  // ::, ::1, and the deprecated ::a.b.c.d
    return b[12] == 0 && b[13] == 0 && b[14] == 0 && b[15] == 1 ? Closed::loopback : Closed::unspecified;
  if (b[0] == 0xff) return Closed::unspecified;
  return b[0] == 0xfe && (b[1] & 0xc0) == 0x80 ? Closed::link_local : Closed::no;
}

}  // namespace mayfly::domain
