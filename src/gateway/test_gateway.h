// For tests of the gateway: all of it over a real socket, with a scripted Invoker and Control behind it.
#pragma once
#include <fcntl.h>
#include <gtest/gtest.h>

#include <map>
#include <optional>
#include <string>

#include "gateway/gateway.h"
#include "gateway/test_control.h"

namespace mayfly::gateway {

using std::chrono::milliseconds;

struct ScriptedInvoker final : serve::Invoker {
  struct Seen {
    std::string function, qualifier, body;
    domain::WireFormat format{};
    std::uint64_t json_size = 0, body_size = 0, id_high = 0;
    bool in_memfd = false;
    Duration timeout{};
    serve::TraceId trace;
    domain::ReplyForm reply_form{};
    serve::ReplySink* sink = nullptr;
  };
  Ticket invoke(serve::Invocation&& call, serve::ReplySink& sink) override {
    const Ticket ticket{++tickets};
    last = {.function = std::string(call.function), .qualifier = std::string(call.qualifier), .body = call.body, .format = call.format,
            .json_size = call.json_size, .body_size = call.body_size, .id_high = call.request_id_high,
            .in_memfd = static_cast<bool>(call.body_memfd), .timeout = call.timeout, .trace = call.trace,
            .reply_form = call.reply_form, .sink = &sink};
    if (refusal) sink.on_reply(ticket, {.error = *refusal});
    else if (at_once) reply(ticket, "{\"output\":[[1]]}");
    return ticket;
  }
  void cancel(Ticket ticket) override { ++cancelled[ticket.number]; }
  void sent(Ticket ticket, Instant, std::uint64_t bytes) override { ++closed[ticket.number]; last_bytes = bytes; }
  void taken(Ticket, std::uint64_t bytes) override { taken_bytes += bytes; }
  void reply(Ticket ticket, std::string_view body, std::uint64_t json_size = 0) {
    last.sink->on_reply(ticket, {.ok = true, .body = body, .json_size = json_size, .version = 3,
                                 .phases = {.queue = std::chrono::microseconds(1234), .run = milliseconds(2), .cold = 1}});
  }

  std::uint64_t tickets = 0, last_bytes = 0, taken_bytes = 0;
  std::optional<Error> refusal;
  bool at_once = true;
  Seen last;
  std::map<std::uint64_t, int> cancelled, closed;
};

struct ScriptedControl final : ControlWithoutLayers {
  bool has_artifact(std::string_view) override { return false; }
  Result<std::uint64_t> begin_upload() override { return fail(Code::unimplemented, "not here"); }
  void append_upload(std::uint64_t, std::string, control::Done<void>) override {}
  void finish_upload(std::uint64_t, control::Done<domain::FileRef>) override {}
  void abort_upload(std::uint64_t) override {}
  void deploy(control::DeployOrder, control::Done<control::VersionView>) override {}
  std::vector<control::FunctionView> list() override { return {view()}; }
  Result<control::FunctionView> describe(std::string_view) override { return view(); }
  void remove(std::string_view, control::Done<void>) override {}
  void remove_version(std::string_view, int, control::Done<void>) override {}
  void set_alias(std::string_view, std::string_view, std::vector<domain::Weight>, control::Done<domain::Alias>) override {}
  void remove_alias(std::string_view, std::string_view, control::Done<void>) override {}
  void rollback(std::string_view, std::string_view, control::Done<domain::Alias>) override {}
  void set_settings(std::string_view, std::vector<domain::Setting>, control::Done<void> done) override { done({}); }
  void record(std::string_view, std::optional<domain::RecordingPolicy>, control::Done<void> done) override { done({}); }
  void recorded(std::string_view, control::Done<std::string> done) override { done(std::string()); }
  void optimize(std::string_view, int version, domain::OptimizationOrder, control::Done<int> done) override { done(version); }
  void stop_optimization(std::string_view, int, control::Done<void> done) override { done({}); }
  std::vector<control::OptimizationView> optimizations() override { return {}; }
  void append_made(std::uint64_t, std::function<Result<std::string>()>, control::Done<void>) override {}
  void fetch_object(control::ObjectName, control::Done<domain::FileRef>) override {}
  void publish_layer(control::LayerOrder, control::Done<domain::LayerVersion>) override {}
  std::vector<domain::LayerVersion> layers(std::string_view) override { return {}; }
  void remove_layer(std::string_view, int, control::Done<void>) override {}
  void set_layer_statement(std::string_view, int, domain::LayerStatement, control::Done<void>) override {}
  Result<void> scale(std::string_view, int, bool) override { return {}; }
  std::vector<control::BuildView> builds() override { return {}; }
  std::vector<control::InstanceView> instances() override { return {}; }
  control::NodeView node() override { return {.version = "9.9"}; }
  void usage(std::string_view, WallTime, WallTime, control::Done<control::UsageReport>) override {}
  Result<std::vector<control::LogLine>> logs(std::string_view, const control::LogQuery&) override { return {}; }
  Result<domain::Version> resolve(std::string_view function, std::string_view qualifier) override {
    if (function != "fraud") return fail(Code::not_found, "no function '" + std::string(function) + "'");
    if (qualifier != "" && qualifier != "1" && qualifier != "2")
      return fail(Code::not_found, "no version '" + std::string(qualifier) + "'");
    return version(qualifier == "1" ? 1 : 2);
  }
  Result<std::vector<control::VersionStats>> stats(std::string_view function) override {
    if (function != "" && function != "fraud") return fail(Code::not_found, "no function '" + std::string(function) + "'");
    return std::vector<control::VersionStats>{
        {.function = "fraud", .version = 1},
        {.function = "fraud", .version = 2, .last = {std::chrono::milliseconds(1'700'000'000'123)}, .inferences = 30, .executions = 10,
         .success = {20, milliseconds(40)}, .fail = {1, milliseconds(3)}, .queue = {20, milliseconds(5)},
         .compute_input = {20, milliseconds(6)}, .compute_infer = {20, milliseconds(7)}, .compute_output = {20, milliseconds(8)}}};
  }
  std::string metrics() override { return "mayfly_up 1\n"; }

  static domain::Version version(int number) {
    domain::Version version{.number = number};
    version.manifest.body_max = 1_MiB;
    version.signature = {.inputs = {{"input", domain::Datatype::fp32, {-1, 30}}}, .outputs = {{"label", domain::Datatype::bytes, {-1}}},
        .batches = true};
    return version;
  }
  static control::FunctionView view() {
    control::FunctionView view;
    view.function.name = "fraud";
    view.function.versions = {version(1), version(2)};
    view.stages = {control::Stage::ready, control::Stage::failed};
    return view;
  }
};

class GatewayTest : public testing::Test {
 protected:
  void SetUp() override {
    ASSERT_TRUE(gateway.start());
    client = *os::connect_to(gateway.address());
    ::fcntl(client.get(), F_SETFL, O_NONBLOCK);
  }
  // Turns the loop until a whole reply is there.
  std::string receive() {
    std::string reply;
    for (int i = 0; i < 500; ++i) {
      loop.turn(milliseconds(1));
      char buffer[65536];
      for (os::Moved got = 0; (got = os::receive(client.get(), buffer)) > 0;) reply.append(buffer, static_cast<std::size_t>(got));
      const std::size_t head = reply.find("\r\n\r\n");
      if (head == std::string::npos) continue;
      const std::string length = header(reply, "Content-Length");
      if (reply.size() >= head + 4 + std::stoul(length.empty() ? "0" : length)) break;
    }
    return reply;
  }
  std::string ask(const std::string& method_and_path, const std::string& headers = "", const std::string& body = "") {
    send(method_and_path, headers, body);
    return receive();
  }
  void send(const std::string& method_and_path, const std::string& headers, const std::string& body) {
    std::string request = method_and_path + " HTTP/1.1\r\nHost: a\r\n" + headers;
    if (method_and_path.starts_with("POST")) request += "Content-Length: " + std::to_string(body.size()) + "\r\n";
    request += "\r\n" + body;
    for (std::string_view rest = request; !rest.empty();) {
      const os::Moved moved = os::send(client.get(), rest);
      ASSERT_NE(moved, os::kPeerGone);
      if (moved > 0) rest.remove_prefix(static_cast<std::size_t>(moved));
      loop.turn({});
    }
  }
  static std::string header(const std::string& reply, const std::string& name) {
    const std::size_t at = reply.find("\r\n" + name + ": ");
    if (at == std::string::npos) return "";
    const std::size_t value = at + name.size() + 4;
    return reply.substr(value, reply.find("\r\n", value) - value);
  }
  static std::string body_of(const std::string& reply) { return reply.substr(reply.find("\r\n\r\n") + 4); }
  static int status_of(const std::string& reply) { return std::stoi(reply.substr(9, 3)); }

  os::Loop loop = *os::Loop::create();
  Turn turn;
  ScriptedInvoker invoker;
  ScriptedControl control;
  Gateway gateway{loop, turn, invoker, control, {.listen = "127.0.0.1:0"}};
  os::Fd client;
};

}  // namespace mayfly::gateway
