#include "worker/detail/own_network.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <string>

#include "worker/detail/check.h"

namespace mayfly::worker {
namespace {

Result<void> raise_device() {
  const os::Fd socket(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  if (!socket) return fail(os::os_error("socket"));
  ifreq loopback{};
  std::memcpy(loopback.ifr_name, "lo", sizeof "lo");
  TRY_VOID(check(::ioctl(socket.get(), SIOCGIFFLAGS, &loopback), "SIOCGIFFLAGS", "lo"));
  loopback.ifr_flags = static_cast<short>(loopback.ifr_flags | IFF_UP);
  return check(::ioctl(socket.get(), SIOCSIFFLAGS, &loopback), "SIOCSIFFLAGS", "lo");
}

// One RTM_NEWADDR, as rtnetlink(7) has it: the address alone, of no net.
Result<void> add_address(const os::Fd& netlink, unsigned device, const std::string& text) {
  struct Request {
    nlmsghdr head;
    ifaddrmsg address;
    std::array<std::uint8_t, 2 * RTA_SPACE(16)> attributes;
  } request{};
  std::array<std::uint8_t, 16> bytes{};
  const bool six = text.find(':') != std::string::npos;
  if (::inet_pton(six ? AF_INET6 : AF_INET, text.c_str(), bytes.data()) != 1)
    return fail(Code::invalid_argument, "'" + text + "' is no address for a sandbox");
  const std::size_t size = six ? 16 : 4;
  std::size_t used = 0;
  for (const std::uint16_t kind : {IFA_LOCAL, IFA_ADDRESS}) {
    const rtattr attribute{.rta_len = static_cast<unsigned short>(RTA_LENGTH(size)), .rta_type = kind};
    std::memcpy(request.attributes.data() + used, &attribute, sizeof attribute);
    std::memcpy(request.attributes.data() + used + RTA_LENGTH(0), bytes.data(), size);
    used += RTA_SPACE(size);
  }
  request.head = {.nlmsg_len = static_cast<std::uint32_t>(NLMSG_LENGTH(sizeof(ifaddrmsg)) + used), .nlmsg_type = RTM_NEWADDR,
                  .nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE | NLM_F_REPLACE, .nlmsg_seq = 0, .nlmsg_pid = 0};
  request.address = {.ifa_family = static_cast<std::uint8_t>(six ? AF_INET6 : AF_INET),
                     .ifa_prefixlen = static_cast<std::uint8_t>(8 * size), .ifa_flags = 0,
                     .ifa_scope = RT_SCOPE_UNIVERSE, .ifa_index = device};
  TRY_VOID(check(::send(netlink.get(), &request, request.head.nlmsg_len, 0), "netlink", text));
  struct Answer {
    nlmsghdr head;
    nlmsgerr error;
    std::array<std::uint8_t, 512> more;
  } answer{};
  TRY_VOID(check(::recv(netlink.get(), &answer, sizeof answer, 0), "netlink", text));
  if (answer.head.nlmsg_type != NLMSG_ERROR || answer.error.error == 0) return {};
  errno = -answer.error.error;
  return fail(os::os_error("RTM_NEWADDR", text));
}

// The network namespace of whoever opens it, not the one in which /proc was mounted.
Result<void> open_low_ports() {
  constexpr const char* kFirst = "/proc/sys/net/ipv4/ip_unprivileged_port_start";
  const os::Fd file(::open(kFirst, O_WRONLY | O_CLOEXEC));
  if (!file) return fail(os::os_error("open", kFirst));
  return check(::write(file.get(), "0", 1), "write", kFirst);
}

}  // namespace

Result<void> raise_loopback(const std::vector<NamedAddress>& hosts) {
  TRY_VOID(raise_device());
  if (hosts.empty()) return {};
  TRY_VOID(open_low_ports());
  const os::Fd netlink(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE));
  if (!netlink) return fail(os::os_error("socket", "netlink"));
  const unsigned device = ::if_nametoindex("lo");
  for (const NamedAddress& host : hosts)
    if (!host.address.starts_with("127.") && host.address != "::1") TRY_VOID(add_address(netlink, device, host.address));
  return {};
}

void leave_abstract_sockets(int log) {
  struct {  // landlock_ruleset_attr as of Linux 6.12, which this machine's headers may not know
    std::uint64_t files = 0, network = 0, scoped = 1 /* LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET */;
  } const wanted;
  constexpr long kCreateRuleset = 444, kRestrictSelf = 446;
  const os::Fd rules(static_cast<int>(::syscall(kCreateRuleset, &wanted, sizeof wanted, 0)));
  if (rules && ::syscall(kRestrictSelf, rules.get(), 0) == 0) return;
  ::dprintf(log, "mayfly: this function shares the machine's abstract unix sockets: the kernel has no Landlock scopes (%s)\n",
            std::strerror(errno));
}

}  // namespace mayfly::worker
