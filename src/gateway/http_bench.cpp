// What the gateway's server costs by itself: handlers that answer at once, for a load from outside (wrk).
//
//   http_bench [PORT]     GET / (100 bytes), POST /echo
//   http_bench --parse    nanoseconds for a typical head
#include <csignal>
#include <chrono>
#include <cstdio>
#include <cstring>

#include "base/http_parser.h"
#include "gateway/http_server.h"
#include "os/clock.h"

using namespace mayfly;

namespace {

int measure_parser() {
  const std::string_view head = "POST /v2/models/fraud/infer HTTP/1.1\r\nHost: 127.0.0.1:8080\r\nUser-Agent: python-requests/2.32\r\n"
                                "Accept: */*\r\nContent-Type: application/json\r\nContent-Length: 312\r\n\r\n";
  std::array<HttpHeader, kHeadersMax> storage;
  HttpRequestHead read;
  std::uint64_t sum = 0;
  constexpr int kRounds = 2'000'000;
  const Duration begun = os::process_cpu_now();
  for (int i = 0; i < kRounds; ++i) sum += parse_head(head, storage, read).used;
  const Duration took = os::process_cpu_now() - begun;
  std::printf("%zu bytes: %.0f ns a head\n", head.size(), static_cast<double>(took.count()) / kRounds);
  return sum == head.size() * kRounds ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc > 1 && !std::strcmp(argv[1], "--parse")) return measure_parser();
  std::signal(SIGPIPE, SIG_IGN);
  auto loop = os::Loop::create();
  gateway::Router router;
  const std::string body(100, 'x');
  gateway::HttpServer* door = nullptr;
  router.add(gateway::Method::get, "/", [&](gateway::HttpRequest&, gateway::Responder to) {
    door->reply(to, {.content_type = "application/json", .body = body});
  });
  router.add({.method = gateway::Method::post, .pattern = "/functions/{name}",
              .handler = [&](gateway::HttpRequest& request, gateway::Responder to) {
                door->reply(to, {.content_type = "application/json", .body = request.body});
              }, .body_max = 64 << 20, .body_as_text = false});
  gateway::HttpServer server(*loop, router);
  door = &server;
  if (const auto listening = server.listen(std::string("127.0.0.1:") + (argc > 1 ? argv[1] : "0")); !listening) {
    std::fprintf(stderr, "%s\n", listening.error().message.c_str());
    return 1;
  }
  std::printf("%s\n", server.address().c_str());
  std::fflush(stdout);
  // CPU a request, once a second while there are any.
  std::uint64_t requests = 0;
  Duration cpu = os::process_cpu_now();
  for (;;) {
    const Instant next = loop->refresh_now() + std::chrono::seconds(1);
    while (loop->now() < next) loop->turn(std::chrono::milliseconds(100));
    const Duration spent = os::process_cpu_now() - cpu;
    if (const std::uint64_t count = server.requests() - requests; count > 1000)
      std::printf("%llu requests/s, %.2f us CPU each, %zu connections\n", static_cast<unsigned long long>(count),
                  static_cast<double>(spent.count()) / 1000.0 / static_cast<double>(count), server.connections());
    std::fflush(stdout);
    requests = server.requests();
    cpu += spent;
  }
}
