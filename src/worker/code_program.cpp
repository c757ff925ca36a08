#include "worker/code_program.h"

#include <poll.h>
#include <signal.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <span>
#include <vector>

#include "base/hex.h"
#include "base/time.h"
#include "os/listener.h"
#include "worker/azure_runtimes.h"
#include "worker/code_environment.h"
#include "worker/node_runtime.h"
#include "worker/python_runtime.h"

namespace mayfly::worker {
namespace {

constexpr Duration kForkMax = std::chrono::seconds(10), kEndMax = std::chrono::seconds(10);
constexpr const char* kDirectArgument = "direct";  // to our runtime: there is a second socket
constexpr Duration kStatusMax = std::chrono::milliseconds(200);  // from its end to what its template says of it

bool readable(int fd, Duration within) {
  pollfd wait{.fd = fd, .events = POLLIN, .revents = 0};
  return ::poll(&wait, 1, static_cast<int>(to_ms(within))) > 0;
}

}  // namespace

bool takes_connection(const domain::CodeOrder& order) {
  return std::ranges::any_of(order.arguments, [](const std::string& argument) {
    return argument == domain::kPythonRuntime || argument == domain::kNodeRuntime;
  });
}

bool takes_direct_calls(const domain::CodeOrder& order) {
  return order.debug_port == 0 && std::ranges::find(order.arguments, domain::kPythonRuntime) != order.arguments.end();
}

std::string argument_text(const std::string& argument) {
  if (argument == domain::kPythonRuntime) return std::string(kPythonRuntimeText);
  if (argument == domain::kNodeRuntime) return std::string(kNodeRuntimeText);
  if (argument == domain::kAzurePython) return std::string(kAzurePythonText);
  if (argument == domain::kAzureNode) return std::string(kAzureNodeText);
  return argument;
}

os::Command command_of(const domain::CodeOrder& order, std::string_view api) {
  os::Command command{.program = order.arguments.at(0),
                      .environment = code_environment(order, api, hex_text(os::random_seed(), os::random_seed()))};
  for (std::size_t i = 1; i < order.arguments.size(); ++i) command.arguments.push_back(argument_text(order.arguments[i]));
  return command;
}

Result<CodeProgram> CodeProgram::fork(int template_socket) {
  TRY(auto pair, os::make_packet_pair());
  TRY_VOID(os::pass_credentials(pair.first.get()));
  const std::array far{pair.second.get()};
  TRY_VOID(os::send_packet(template_socket, std::as_bytes(std::span("fork", 4)), far));
  pair.second.reset();
  std::string said(512, '\0');
  if (!readable(pair.first.get(), kForkMax)) return fail(Code::deadline_exceeded, "the template did not fork within 10 s");
  TRY(const os::Packet packet, os::receive_packet(pair.first.get(), std::as_writable_bytes(std::span(said))));
  said.resize(packet.size);
  if (said != "here") return fail(Code::unavailable, "the template did not fork: " + (said.empty() ? "it has ended" : said));
  CodeProgram program;
  program.child_.pid = packet.pid;
  TRY(program.child_.pidfd, os::open_process(packet.pid));
  program.socket_ = std::move(pair.first);
  return program;
}

Result<void> CodeProgram::start(const domain::CodeOrder& order, std::string_view api, const os::Descriptors& output) {
  os::Command command = command_of(order, api);
  if (!socket_) {
    if (output.fourth) command.arguments.emplace_back(kDirectArgument);
    TRY(child_, os::spawn_in_group(command, order.folder, output));
    return {};
  }
  std::string environment;  // ended by zeros, as in /proc/self/environ; at most a CodeOrder's, which fits a packet
  for (const std::string& entry : command.environment) environment.append(entry).push_back('\0');
  std::vector<int> descriptors{output.out.get(), output.err.get()};
  for (const os::Fd* socket : {output.third, output.fourth})
    if (socket) descriptors.push_back(socket->get());
  return os::send_packet(socket_.get(), std::as_bytes(std::span(environment)), descriptors);
}

std::optional<int> CodeProgram::end() {
  if (!socket_) return os::end_group(child_);
  ::kill(-child_.pid, SIGKILL);  // its template has not taken its status: until then the number means this group
  os::signal_process(child_.pidfd, SIGKILL);
  std::optional<int> status;
  std::array<char, 32> said;
  // What it may have said itself comes before; of no interest.
  if (readable(child_.pidfd.get(), kEndMax) && readable(socket_.get(), kStatusMax)) {
    const auto packet = os::receive_packet(socket_.get(), std::as_writable_bytes(std::span(said)));
    int number = 0;
    if (packet && std::from_chars(said.data(), said.data() + packet->size, number).ec == std::errc{}) status = number;
  }
  socket_.reset();
  child_ = {};
  return status;
}

}  // namespace mayfly::worker
