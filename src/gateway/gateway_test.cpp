// The whole gateway over a real socket: requests in every form, and what is answered.
#include <gtest/gtest.h>

#include "domain/json.h"
#include "gateway/inference.h"
#include "gateway/test_gateway.h"

namespace mayfly::gateway {
namespace {

using Json = nlohmann::json;

TEST_F(GatewayTest, LambdasInvoke) {
  const std::string reply = ask("POST /2015-03-31/functions/fraud%3Alive/invocations", "X-Amz-Log-Type: Tail\r\n", "{}");
  EXPECT_EQ(status_of(reply), 200);
  EXPECT_EQ(invoker.last.function, "fraud");
  EXPECT_EQ(invoker.last.qualifier, "live");
  EXPECT_EQ(invoker.last.format, domain::WireFormat::plain_json);
  EXPECT_EQ(header(reply, "X-Amz-Executed-Version"), "3");
  EXPECT_FALSE(header(reply, "x-amzn-RequestId").empty());
  EXPECT_FALSE(header(reply, "X-Amz-Log-Result").empty());
  EXPECT_TRUE(reply.ends_with("{\"output\":[[1]]}"));
  EXPECT_EQ(invoker.closed.size(), 1u);
  EXPECT_EQ(header(ask("POST /2015-03-31/functions/fraud/invocations", "", "{}"), "X-Amz-Log-Result"), "") << "asked for once";

  EXPECT_EQ(status_of(ask("POST /2015-03-31/functions/fraud/invocations", "X-Amz-Invocation-Type: DryRun\r\n", "{}")), 204);
  const std::string event = ask("POST /2015-03-31/functions/fraud/invocations", "X-Amz-Invocation-Type: Event\r\n", "{}");
  EXPECT_EQ(status_of(event), 400);
  EXPECT_EQ(header(event, "x-amzn-ErrorType"), "InvalidParameterValueException");
  EXPECT_EQ(invoker.tickets, 2u) << "neither calls";

  invoker.refusal = Error{Code::not_found, "there is no function 'fraud'"};
  const std::string refused = ask("POST /2015-03-31/functions/fraud/invocations", "", "{}");
  EXPECT_EQ(status_of(refused), 404);
  EXPECT_EQ(header(refused, "x-amzn-ErrorType"), "ResourceNotFoundException");
  EXPECT_NE(refused.find(R"("Message":"there is no function 'fraud'")"), std::string::npos);
  EXPECT_EQ(header(ask("POST /2015-03-31/nothing"), "x-amzn-ErrorType"), "ResourceNotFoundException") << "also what the server refuses";
}

TEST_F(GatewayTest, PlainCalls) {
  const std::string reply = ask("POST /functions/fraud:%24LATEST", "X-Mayfly-Timeout: 250ms\r\nX-Request-Id: abc-1\r\n",
      "{\"input\":[[1]]}");
  EXPECT_EQ(status_of(reply), 200);
  EXPECT_EQ(body_of(reply), "{\"output\":[[1]]}");
  EXPECT_EQ(invoker.last.function, "fraud");
  EXPECT_EQ(invoker.last.qualifier, "$LATEST");
  EXPECT_EQ(invoker.last.body, "{\"input\":[[1]]}");
  EXPECT_EQ(invoker.last.timeout, milliseconds(250));
  EXPECT_EQ(invoker.last.format, domain::WireFormat::plain_json);
  EXPECT_EQ(header(reply, "X-Request-Id"), "abc-1");
  EXPECT_EQ(header(reply, "X-Mayfly-Version"), "3");
  EXPECT_EQ(header(reply, "X-Mayfly-Cold"), "forked");
  EXPECT_EQ(header(reply, "Server-Timing"), "queue;dur=1.234, init;dur=0.000, decode;dur=0.000, run;dur=2.000, encode;dur=0.000");
  EXPECT_EQ(header(reply, "Content-Type"), "application/json");
  EXPECT_EQ(invoker.closed[1], 1);
  EXPECT_EQ(invoker.last_bytes, reply.size());
}

TEST_F(GatewayTest, InferInAllForms) {
  ask("POST /v2/models/fraud/infer", "", "{}");
  EXPECT_EQ(invoker.last.format, domain::WireFormat::v2_json);
  ask("POST /v2/models/fraud/versions/2/infer", "Inference-Header-Content-Length: 2\r\n", "{}abcd");
  EXPECT_EQ(invoker.last.format, domain::WireFormat::v2_binary);
  EXPECT_EQ(invoker.last.json_size, 2);
  EXPECT_EQ(invoker.last.body_size, 6);
  EXPECT_EQ(invoker.last.qualifier, "2");
  ask("POST /v2/models/fraud/infer", "Inference-Header-Content-Length: 0\r\n", "abcd");
  EXPECT_EQ(invoker.last.format, domain::WireFormat::v2_raw);
  for (const char* bad : {"7", "-1", "0x2", "2 2", "99999999999999999999"}) {
    const std::string reply = ask("POST /v2/models/fraud/infer", "Inference-Header-Content-Length: " + std::string(bad) + "\r\n", "{}abcd");
    EXPECT_EQ(status_of(reply), 400) << bad;
    EXPECT_TRUE(Json::parse(body_of(reply))["error"].is_string());
  }
  EXPECT_EQ(invoker.tickets, 3);
  invoker.at_once = false;
  send("POST /v2/models/fraud/infer", "", "{}");
  loop.turn({});
  invoker.reply(Ticket{4}, "{\"outputs\":[]}\1\2\3", 14);
  const std::string reply = receive();
  EXPECT_EQ(header(reply, "Inference-Header-Content-Length"), "14");
  EXPECT_EQ(header(reply, "Content-Type"), "application/octet-stream");
  EXPECT_EQ(body_of(reply), "{\"outputs\":[]}\1\2\3");
}

TEST_F(GatewayTest, RequestIdsAndTraces) {
  const std::string trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
  const std::string reply = ask("POST /functions/fraud", "traceparent: " + trace +
      "\r\nX-Request-Id: 00112233-4455-6677-8899-aabbccddeeff\r\n", "{}");
  const std::string child = header(reply, "traceresponse");
  EXPECT_TRUE(valid_traceparent(child)) << child;
  EXPECT_EQ(child.substr(0, 36), trace.substr(0, 36));
  EXPECT_NE(child.substr(36, 16), trace.substr(36, 16));
  EXPECT_EQ(invoker.last.id_high, 0x0011223344556677);
  EXPECT_EQ(invoker.last.trace, (serve::TraceId{0x0af7651916cd43dd, 0x8448eb211c80319c}));
  ask("POST /functions/fraud", "traceparent: nonsense\r\n", "{}");
  EXPECT_EQ(invoker.last.trace, serve::TraceId());
  const std::string made = header(ask("POST /functions/fraud", "", "{}"), "X-Request-Id");
  EXPECT_EQ(made.size(), 36);
  EXPECT_EQ(made[14], '4');
  EXPECT_NE(made, header(ask("POST /functions/fraud", "", "{}"), "X-Request-Id"));
  EXPECT_EQ(header(ask("POST /functions/fraud", "X-Request-Id: " + std::string(129, 'x') + "\r\n", "{}"), "X-Request-Id").size(), 36);
  for (const std::string bad : {"00-00000000000000000000000000000000-b7ad6b7169203331-01",
      "00-0AF7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
                                "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
                                    "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01", "x"})
    EXPECT_FALSE(valid_traceparent(bad)) << bad;
}

TEST_F(GatewayTest, RefusalsCarryTheirStatusInTheProtocolsForm) {
  const std::pair<Code, int> statuses[] = {{Code::invalid_argument, 400}, {Code::unauthenticated, 401}, {Code::permission_denied, 403},
      {Code::not_found, 404},
      {Code::conflict, 409}, {Code::exhausted, 429}, {Code::cancelled, 499}, {Code::deadline_exceeded, 504}, {Code::unavailable, 503},
      {Code::unimplemented, 501}, {Code::data_loss, 500}, {Code::internal, 500}};
  for (const auto& [code, status] : statuses) {
    invoker.refusal = Error{code, "why \"quoted\""};
    const std::string plain = ask("POST /functions/fraud", "", "{}"), v2 = ask("POST /v2/models/fraud/infer", "", "{}");
    EXPECT_EQ(status_of(plain), status);
    EXPECT_EQ(status_of(v2), status);
    EXPECT_EQ(Json::parse(body_of(plain)), (Json{{"error", {{"code", name(code)}, {"message", "why \"quoted\""}}}}));
    EXPECT_EQ(Json::parse(body_of(v2)), (Json{{"error", "why \"quoted\""}}));
    EXPECT_EQ(!header(v2, "Retry-After").empty(), status == 429 || status == 503);
  }
  EXPECT_EQ(invoker.closed.size(), invoker.tickets) << "refused calls are closed as well";
  EXPECT_EQ(invoker.cancelled.size(), 0);
  invoker.refusal.reset();
  EXPECT_EQ(status_of(ask("POST /functions/fraud", "X-Mayfly-Timeout: soon\r\n", "{}")), 400);
  EXPECT_EQ(status_of(ask("POST /functions/fraud", "Content-Encoding: gzip\r\n", "{}")), 501);
  EXPECT_TRUE(Json::parse(body_of(ask("GET /v2/nothing")))["error"].is_string());
  EXPECT_TRUE(Json::parse(body_of(ask("GET /v3")))["error"].is_object());
}

TEST_F(GatewayTest, AClientThatLeavesCancelsItsCall) {
  invoker.at_once = false;
  send("POST /functions/fraud", "", "{}");
  for (int i = 0; i < 5; ++i) loop.turn(milliseconds(1));
  ASSERT_EQ(invoker.tickets, 1);
  client.reset();
  for (int i = 0; i < 5; ++i) loop.turn(milliseconds(1));
  EXPECT_EQ(invoker.cancelled[1], 1);
  EXPECT_EQ(invoker.closed[1], 0);
}

TEST_F(GatewayTest, BigBodiesUpToTheFunctionsOwnLimit) {
  const std::string fits = ask("POST /functions/fraud", "", std::string(1 << 20, ' '));
  EXPECT_EQ(status_of(fits), 200);
  EXPECT_TRUE(invoker.last.in_memfd);
  EXPECT_EQ(invoker.last.body_size, 1 << 20);
  const std::string unknown = ask("POST /v2/models/nobody/infer", "Expect: 100-continue\r\n", "");
  EXPECT_EQ(status_of(unknown), 200) << "small bodies are the invoker's to refuse";
  std::string request = "POST /v2/models/fraud/infer HTTP/1.1\r\nHost: a\r\nContent-Length: 1048577\r\n\r\n";
  ASSERT_GT(os::send(client.get(), request), 0);
  const std::string refused = receive();
  EXPECT_EQ(status_of(refused), 413);
  EXPECT_TRUE(Json::parse(body_of(refused))["error"].is_string());
}

TEST_F(GatewayTest, MetadataIsTheModels) {
  EXPECT_EQ(Json::parse(body_of(ask("GET /v2"))), (Json{{"name", "mayfly"}, {"version", "9.9"},
      {"extensions", {"binary_tensor_data", "classification", "model_configuration", "statistics"}}}));
  const Json model = Json::parse(body_of(ask("GET /v2/models/fraud")));
  EXPECT_EQ(model, Json::parse(R"({"name":"fraud","versions":["1","2"],"platform":"onnxruntime_onnx",
    "inputs":[{"name":"input","datatype":"FP32","shape":[-1,30]}],"outputs":[{"name":"label","datatype":"BYTES","shape":[-1]}]})"));
  EXPECT_EQ(Json::parse(body_of(ask("GET /v2/models/fraud/versions/1")))["versions"], Json({"1"}));
  EXPECT_EQ(status_of(ask("GET /v2/models/nobody")), 404);
  EXPECT_EQ(status_of(ask("GET /v2/models/fraud/versions/7")), 404);
  EXPECT_EQ(Json::parse(body_of(ask("GET /v2/models/fraud/ready")))["ready"], true);
  EXPECT_EQ(status_of(ask("GET /v2/models/nobody/ready")), 404);
  EXPECT_EQ(status_of(ask("GET /v2/health/live")), 200);
  EXPECT_EQ(status_of(ask("GET /v2/health/ready")), 200);
  EXPECT_EQ(Json::parse(body_of(ask("GET /v2/models/fraud/config"))), Json::parse(R"({
    "name":"fraud","platform":"onnxruntime_onnx","backend":"onnxruntime","max_batch_size":32,
    "input":[{"name":"input","data_type":"TYPE_FP32","dims":[30]}],"output":[{"name":"label","data_type":"TYPE_STRING","dims":[]}]})"));
  EXPECT_EQ(Json::parse(body_of(ask("POST /v2/repository/index", "", "{\"ready\":true}"))),
            Json::parse(R"([{"name":"fraud","version":"1","state":"READY"}])"));
  EXPECT_EQ(Json::parse(body_of(ask("POST /v2/repository/index"))).size(), 2);
  const std::string metrics = body_of(ask("GET /metrics"));
  EXPECT_TRUE(metrics.starts_with("mayfly_up 1\n# HELP mayfly_http_requests_total ")) << metrics;
  const std::string requests = "\nmayfly_http_requests_total " + std::to_string(gateway.server().requests()) + "\n";
  EXPECT_NE(metrics.find(requests), std::string::npos) << metrics;
  EXPECT_NE(metrics.find("\nmayfly_http_refused_connections_total 0\n"), std::string::npos) << metrics;
  EXPECT_NE(metrics.find("\nmayfly_http_connections 1\n"), std::string::npos) << metrics;
  EXPECT_NE(ask("GET /").find("/functions/NAME"), std::string::npos);
}

TEST_F(GatewayTest, StatisticsAreInTritonsForm) {
  const Json versions = Json::parse(body_of(ask("GET /v2/models/fraud/stats")))["model_stats"];
  ASSERT_EQ(versions.size(), 2);
  EXPECT_EQ(versions[0]["last_inference"], 0);
  EXPECT_EQ(versions[1], Json::parse(R"({"name":"fraud","version":"2","last_inference":1700000000123,"inference_count":30,
    "execution_count":10,
    "inference_stats":{"success":{"count":20,"ns":40000000},"fail":{"count":1,"ns":3000000},"queue":{"count":20,"ns":5000000},
      "compute_input":{"count":20,"ns":6000000},"compute_infer":{"count":20,"ns":7000000},"compute_output":{"count":20,"ns":8000000},
      "cache_hit":{"count":0,"ns":0},"cache_miss":{"count":0,"ns":0}},"batch_stats":[]})"));
  EXPECT_EQ(Json::parse(body_of(ask("GET /v2/models/fraud/versions/2/stats")))["model_stats"], Json::array({versions[1]}));
  EXPECT_EQ(Json::parse(body_of(ask("GET /v2/models/stats")))["model_stats"], versions);
  EXPECT_EQ(status_of(ask("GET /v2/models/nobody/stats")), 404);
  EXPECT_EQ(status_of(ask("GET /v2/models/fraud/versions/7/stats")), 404);
}

}  // namespace
}  // namespace mayfly::gateway
