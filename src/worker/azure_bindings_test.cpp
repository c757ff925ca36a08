// Expressions, connection strings, signed requests and what a call of an Azure app reads and writes, without a store.
#include "worker/azure_bindings.h"

#include <gtest/gtest.h>

#include <filesystem>

#include "domain/json.h"
#include "os/digest.h"
#include "worker/azure.h"
#include "worker/azure_storage.h"

namespace mayfly::worker {
namespace {

using Json = nlohmann::json;
using Form = AzureApp::Form;

constexpr const char* kAccount = "DefaultEndpointsProtocol=https;AccountName=acc;AccountKey=a2V5;EndpointSuffix=core.windows.net";

// 2026-11-28T15:04:05.678901Z, a Saturday.
AzureMoment moment() {
  return {.now = {std::chrono::microseconds(1'795'878'245'678'901)}, .random = Random(7), .function = "f"};
}

std::string filled(std::string_view text, const Json& data = Json::object()) {
  AzureMoment now = moment();
  const auto out = fill_expressions(text, data, now);
  return out ? *out : "error: " + out.error().message;
}

TEST(AzureExpression, TakesValuesOfTheData) {
  const Json data{{"id", 7}, {"Name", "a/b"}, {"order", {{"Customer", {{"name", "ann"}}}, {"paid", true}, {"total", 1.5}}}, {"none",
      nullptr}};
  EXPECT_EQ(filled("in/{id}.txt", data), "in/7.txt");
  EXPECT_EQ(filled("{ID}-{name}", data), "7-a/b");
  EXPECT_EQ(filled("{order.customer.NAME}/{order.paid}/{order.total}", data), "ann/True/1.5");
  EXPECT_EQ(filled("{{id}} {{{id}}}", data), "{id} {7}");
  EXPECT_EQ(filled("{id:D3}", data), "7");
  EXPECT_EQ(filled("{name}", {{"name", "{id}"}, {"id", 1}}), "{id}") << "a value is no expression";
  for (const char* text : {"{", "}", "{}", "{a{b}}", "{missing}", "{order}", "{none}", "{order.nobody}", "{id.more}", "{rand-guid:X}",
      "{DateTime:d}"})
    EXPECT_TRUE(filled(text, data).starts_with("error: ")) << text << " " << filled(text, data);
  EXPECT_NE(filled("{missing}", data).find("order"), std::string::npos) << "which has what";
  EXPECT_TRUE(filled("{a}{a}", {{"a", std::string(3000, 'x')}}).starts_with("error: "));
}

TEST(AzureExpression, HasTimesAndNumbersOfItsOwn) {
  EXPECT_EQ(filled("{DateTime}"), "2026-11-28T15-04-05Z");
  EXPECT_EQ(filled("{datetime:yyyy/MM/dd HHmmss.fff}"), "2026/11/28 150405.678");
  EXPECT_EQ(filled("{datetime:d M yy dddd MMM hh tt 'at'}"), "28 11 26 Saturday Nov 03 PM at");
  EXPECT_EQ(filled("{sys.utcnow:yyyy}"), "2026");
  EXPECT_EQ(filled("{sys.methodname}"), "f");
  EXPECT_EQ(filled("{datetime}", {{"DateTime", "mine"}}), "mine") << "data comes before what is built in";
  const std::string two = filled("{rand-guid} {rand-guid}"), one = two.substr(0, 36);
  EXPECT_EQ(two.size(), 73u);
  EXPECT_NE(one, two.substr(37)) << "each is another one";
  EXPECT_EQ(one[14], '4');
  EXPECT_EQ(filled("{rand-guid:N}").size(), 32u);
  EXPECT_TRUE(filled("{sys.randguid:B}").starts_with("{"));
}

TEST(AzureExpression, TakesSettings) {
  const AzureSettings settings{{"QUEUE", "orders"}};
  EXPECT_EQ(fill_settings("a-%QUEUE%-b", settings).value(), "a-orders-b");
  EXPECT_EQ(fill_settings("100%", settings).value(), "100%");
  EXPECT_NE(fill_settings("%NOBODY%", settings).error().message.find("%NOBODY%"), std::string::npos);
}

TEST(AzureExpression, FindsAPatternsValuesInAPath) {
  const struct {
    const char *pattern, *path, *seen;
  } kCases[] = {
      {"in/{name}", "in/a/b.png", "name=a/b.png"},
      {"in/{name}.{ext}", "in/a.b.png", "name=a.b ext=png"},
      {"in/{name}.{ext}", "in/a", "no"},
      {"in/{a}/{b}/x", "in/1/2/3/x", "a=1/2 b=3"},
      {"in/{name}", "out/a", "no"},
      {"in/{name}.png", "in/.png", "name="},
      {"in/a", "in/a", ""},
      {"in/a", "in/ab", "no"},
      {"{a}{b}", "xy", "a=xy b="},
      {"in/x{a}x", "in/x", "no"},
      {"in/{a", "in/x", "no"},
      {"in/{{a}}/{b}", "in/{a}/c", "b=c"},
  };
  for (const auto& [pattern, path, seen] : kCases) {
    const auto values = match_pattern(pattern, path);
    std::string text = values ? "" : "no";
    for (const auto& [name, value] : values.value_or(AzureValues())) text += (text.empty() ? "" : " ") + name + "=" + value;
    EXPECT_EQ(text, seen) << pattern << " " << path;
  }
}

TEST(AzureConnection, IsReadAsAzuresClientsDo) {
  const auto account = parse_connection(kAccount);
  ASSERT_TRUE(account) << account.error().message;
  EXPECT_EQ(account->key, "key");
  EXPECT_EQ(account->blob, (AzureEndpoint{.tls = true, .host = "acc.blob.core.windows.net", .port = 443, .prefix = ""}));
  EXPECT_EQ(address_text(account->queue), "acc.queue.core.windows.net:443");
  const auto emulator = parse_connection(" usedevelopmentstorage = TRUE; ");
  ASSERT_TRUE(emulator) << emulator.error().message;
  EXPECT_EQ(emulator->blob, (AzureEndpoint{.tls = false, .host = "127.0.0.1", .port = 10000, .prefix = "/devstoreaccount1"}));
  EXPECT_EQ(emulator->queue.port, 10001);
  EXPECT_EQ(emulator->key.size(), 64u);
  const auto own =
      parse_connection("AccountName=a;AccountKey=a2V5;BlobEndpoint=http://[::1]:10000/a/;TableEndpoint=x;QueueEndpoint=https://q");
  ASSERT_TRUE(own) << own.error().message;
  EXPECT_EQ(own->blob, (AzureEndpoint{.tls = false, .host = "::1", .port = 10000, .prefix = "/a"}));
  EXPECT_EQ(address_text(own->blob), "[::1]:10000");
  const auto signature = parse_connection("BlobEndpoint=https://a.blob.x;SharedAccessSignature=?sv=1&sig=a%2Fb");
  ASSERT_TRUE(signature) << signature.error().message;
  EXPECT_EQ(signature->signature, "sv=1&sig=a%2Fb");
  EXPECT_EQ(signature->queue.host, "");
}

TEST(AzureConnection, WhatIsNoneIsToldWithoutItsKey) {
  for (const char* text : {"", "secret", "AccountName=a", "AccountName=a;AccountKey=sec ret", "AccountKey=c2VjcmV0",
                           "AccountName=a;AccountKey=c2VjcmV0;BlobEndpoint=ftp://x",
                               "AccountName=a;AccountKey=c2VjcmV0;BlobEndpoint=http://x:0",
                           "AccountName=a;AccountKey=c2VjcmV0;BlobEndpoint=http://u@x",
                               "AccountName=a;AccountKey=c2VjcmV0;BlobEndpoint=http://x/../y",
                           "AccountName=a;AccountKey=c2VjcmV0;BlobEndpoint=http://x\r\nA:b", "AccountName=a/b;AccountKey=c2VjcmV0",
                           "AccountName=a;AccountKey=c2VjcmV0;EndpointSuffix=x/y?z", "SharedAccessSignature=a b secret",
                           "AccountName=a;AccountKey=c2VjcmV0;DefaultEndpointsProtocol=ws"}) {
    const auto account = parse_connection(text);
    ASSERT_FALSE(account) << text;
    EXPECT_EQ(account.error().message.find("c2VjcmV0"), std::string::npos) << account.error().message;
    EXPECT_EQ(account.error().message.find("secret"), std::string::npos) << account.error().message;
  }
  EXPECT_FALSE(parse_connection("A=" + std::string(kConnectionMax, 'x')));
}

TEST(AzureStorage, SignsAsTheServiceWantsIt) {
  const AzureAccount account = parse_connection(kAccount).value();
  const WallTime now = moment().now;
  const StorageRequest get = storage_request(account, {.deed = StorageDeed::get_blob, .place = "in", .blob = "a b/c+d"}, now);
  EXPECT_EQ(get.target, "/in/a%20b/c%2Bd");
  EXPECT_EQ(get.method, "GET");
  const std::string text =
      "GET\n\n\n\n\n\n\n\n\n\n\n\nx-ms-date:Sat, 28 Nov 2026 15:04:05 GMT\nx-ms-version:2021-12-02\n/acc/in/a%20b/c%2Bd";
  EXPECT_NE(get.head.find("Authorization: SharedKey acc:" + os::to_base64(os::hmac_sha256("key", text)) + "\r\n"), std::string::npos)
      << get.head;
  EXPECT_NE(get.head.find("Host: acc.blob.core.windows.net\r\n"), std::string::npos) << get.head;
  const StorageRequest make = storage_request(account, {.deed = StorageDeed::create_container, .place = "in", .blob = {}}, now);
  EXPECT_EQ(make.target, "/in?restype=container");
  const StorageRequest put = storage_request(account, {.deed = StorageDeed::put_message, .place = "q", .blob = {}, .size = 9}, now);
  EXPECT_EQ(put.to, account.queue);
  EXPECT_EQ(put.target, "/q/messages");
  const AzureAccount shared = parse_connection("BlobEndpoint=http://h:1/p;SharedAccessSignature=sig=x").value();
  const StorageRequest with = storage_request(shared, {.deed = StorageDeed::create_container, .place = "in", .blob = {}}, now);
  EXPECT_EQ(with.target, "/p/in?restype=container&sig=x");
  EXPECT_EQ(with.head.find("Authorization"), std::string::npos);
}

TEST(AzureStorage, KnowsNamesAndAnswers) {
  for (const char* name : {"abc", "a-b-c", "0aa"}) EXPECT_TRUE(check_queue(name)) << name;
  for (const char* name : {"ab", "Abc", "a--b", "-ab", "ab-", "a/b", "a b", "$web"}) EXPECT_FALSE(check_queue(name)) << name;
  EXPECT_TRUE(check_container("$web"));
  EXPECT_TRUE(check_blob("a/b..c/.d"));
  for (const char* name : {"", "..", "a/../b", "./a", "a/."}) EXPECT_FALSE(check_blob(name)) << name;
  EXPECT_EQ(message_body("a<&\r").value(),
      "<?xml version=\"1.0\" encoding=\"utf-8\"?><QueueMessage><MessageText>a&lt;&amp;&#13;</MessageText></QueueMessage>");
  EXPECT_FALSE(message_body(std::string("a\0b", 3)));
  EXPECT_EQ(storage_error("", "<Error><Code>NoAuth</Code><Message>No.\nTime: 1</Message></Error>"), "NoAuth: No.");
  EXPECT_EQ(storage_error("HTTP/1.1 404 N\r\nx-ms-error-code:  BlobNotFound", ""), "BlobNotFound");
}

// --- an app's calls

AzureApp app_of(const char* functions, AzureSettings settings = {{"AzureWebJobsStorage", kAccount}}, const char* host = "{}",
    bool log = false) {
  auto app = AzureApp::parse(host, "/nowhere", log);
  const auto added = app.value().add_functions(functions);
  EXPECT_TRUE(added) << added.error().message;
  app->use(std::move(settings));
  return *std::move(app);
}

constexpr const char* kCopy = R"([{"name": "copy", "bindings": [{"type": "httpTrigger", "name": "r", "route": "c/{name}"},
    {"type": "blob", "direction": "in", "name": "s", "path": "inbox/{name}", "connection": "AzureWebJobsStorage"},
    {"type": "blob", "direction": "out", "name": "t", "path": "outbox/{name}", "connection": ""},
    {"type": "queue", "direction": "out", "name": "q", "queueName": "%QUEUE%"}]}])";

std::string head(const std::string& line, const std::string& more = "") { return line + " HTTP/1.1\r\nHost: h\r\n" + more + "\r\n"; }

TEST(AzureBindings, ACallIsPlannedBeforeItIsMade) {
  const AzureApp app = app_of(kCopy, {{"AzureWebJobsStorage", kAccount}, {"QUEUE", "Orders"}});
  EXPECT_TRUE(app.stores());
  const std::string request = head("HEAD /api/c/a%20b", "Content-Length: 4\r\n");
  const auto plan = app.plan(request, "body", moment());
  ASSERT_TRUE(plan) << plan.error().message;
  ASSERT_EQ(plan->reads.size(), 1u);
  EXPECT_EQ(plan->reads[0].container + " " + plan->reads[0].blob, "inbox a b");
  ASSERT_EQ(plan->writes.size(), 2u);
  EXPECT_TRUE(plan->writes[1].is_queue() && plan->writes[1].container == "orders");
  const auto sent = app.request(request, "body", *plan, {{.name = "s", .bytes = "BYTES", .head = {}}});
  ASSERT_TRUE(sent) << sent.error().message;
  EXPECT_EQ(sent->bytes, "POST /api/c/a%20b HTTP/1.1\r\nMayfly-Azure-Function: copy\r\nMayfly-Azure-Parameters: name=a%20b\r\n"
                         "Mayfly-Azure-Method: HEAD\r\nMayfly-Azure-Outputs: 1\r\nMayfly-Azure-Inputs: s=bytes:5\r\nHost: h\r\n"
                         "Content-Length: 9\r\n\r\nBYTESbody");
  const auto none = app.request(request, "", *plan, {{.name = "s", .bytes = {}, .head = {}}});
  EXPECT_NE(none->bytes.find("Inputs: s=none:0\r\n"), std::string::npos);
  const auto reply = app.answer(*sent, "HTTP/1.1 200 OK\r\nMayfly-Azure-Outputs: t=bytes:2&q=json:7",
      "\x01\x02[\"a\",2]HTTP/1.1 204 A\r\n\r\nrest", *plan);
  ASSERT_TRUE(reply) << reply.error().message;
  EXPECT_EQ(reply->bytes, "HTTP/1.1 204 A\r\n\r\nrest");
  EXPECT_EQ(reply->bytes.substr(reply->head_size), "rest");
  ASSERT_EQ(reply->writes.size(), 2u);
  EXPECT_EQ(reply->writes[0].bodies, std::vector<std::string>{"\x01\x02"});
  EXPECT_EQ(reply->writes[1].bodies.size(), 2u);
  EXPECT_NE(reply->writes[1].bodies[0].find(">YQ==<"), std::string::npos) << reply->writes[1].bodies[0];
  const auto failed = app.answer(*sent, "HTTP/1.1 500 Answer\r\nContent-Length: 0", "", *plan);
  EXPECT_TRUE(failed && failed->writes.empty() && failed->bytes.starts_with("HTTP/1.1 500 ")) << "what fails gives nothing";
  for (const char* line : {"t=bytes:3", "t=other:1", "t=bytes:", "t", "%0=text:1"})
    EXPECT_FALSE(app.answer(*sent, std::string("HTTP/1.1 200 OK\r\nMayfly-Azure-Outputs: ") + line, "12", *plan)) << line;
}

TEST(AzureBindings, WhereACallLeadsNowhereItIsNotMade) {
  const AzureApp app = app_of(kCopy, {{"AzureWebJobsStorage", kAccount}, {"QUEUE", "q"}});
  const auto short_name = app.plan(head("GET /api/c/x"), "", moment());
  ASSERT_FALSE(short_name);
  EXPECT_NE(short_name.error().message.find("'q'"), std::string::npos) << short_name.error().message;
  const AzureApp settled = app_of(kCopy, {{"AzureWebJobsStorage", kAccount}, {"QUEUE", "orders"}});
  EXPECT_NE(settled.plan(head("GET /api/c/..%2Fother"), "", moment()).error().message.find("'..'"), std::string::npos);
  EXPECT_EQ(app_of(kCopy, {{"AzureWebJobsStorage", "x"}}).plan(head("GET /api/c/x"), "", moment()).error().code, Code::internal);
  const auto refused = app_of(kCopy, {}).plan(head("GET /api/c/x"), "", moment());
  EXPECT_EQ(refused.error().code, Code::unimplemented);
  EXPECT_NE(refused.error().message.find("AzureWebJobsStorage"), std::string::npos) << refused.error().message;
  const AzureApp other = app_of(R"([{"name": "f", "bindings": [{"type": "httpTrigger", "name": "r"},
      {"type": "cosmosDB", "direction": "out", "name": "d", "connection": "AzureWebJobsStorage"}]}])");
  EXPECT_FALSE(other.stores());
  EXPECT_EQ(other.request(head("GET /api/f"), "").error().code, Code::unimplemented);
  const AzureApp logged = app_of(kCopy, {{"AzureWebJobsStorage", kAccount}}, "{}", true);
  EXPECT_TRUE(logged.plan(head("GET /api/c/x"), "", moment())->writes.empty()) << "what goes to the log is not written";
}

TEST(AzureBindings, AConnectionIsFoundAsAzureFindsIt) {
  const AzureBinding binding{.name = "b", .type = "blob", .path = {}, .connection = "Mine", .data_type = {}};
  EXPECT_EQ(connection_of(binding, {{"Mine", "1"}, {"AzureWebJobsMine", "2"}}), "2");
  EXPECT_EQ(connection_of(binding, {{"Mine", "1"}}), "1");
  EXPECT_EQ(connection_of(binding, {{"AzureWebJobsStorage", "1"}, {"Mine", ""}}), std::nullopt);
  EXPECT_EQ(connection_of({.name = "b", .type = "blob"}, {{"AzureWebJobsStorage", "1"}}), "1");
}

TEST(AzureBindings, ABlobsTriggerByHandReadsIt) {
  const char* functions = R"([{"name": "b", "bindings": [{"type": "blobTrigger", "name": "blob", "path": "inbox/{name}.{ext}"},
      {"type": "blob", "direction": "out", "name": "t", "path": "outbox/{name}-{ext}"}]}])";
  const AzureApp app = app_of(functions);
  const std::string request = head("POST /admin/functions/b"), body = R"({"input": "inbox/a.b.png"})";
  const auto plan = app.plan(request, body, moment());
  ASSERT_TRUE(plan && plan->reads_trigger) << plan.error().message;
  EXPECT_EQ(plan->reads[0].blob, "a.b.png");
  EXPECT_EQ(plan->writes[0].blob, "a.b-png");
  const auto sent = app.request(request, body, *plan, {{.name = "blob", .bytes = "xyz",
      .head = "HTTP/1.1 200 OK\r\nETag: e\r\nx-ms-meta-owner: ann"}});
  ASSERT_TRUE(sent) << sent.error().message;
  const std::string content = sent->bytes.substr(sent->bytes.find("\r\n\r\n") + 4);
  ASSERT_TRUE(content.starts_with("xyz"));
  const Json metadata = Json::parse(content.substr(3))["metadata"];
  EXPECT_EQ(metadata["BlobTrigger"], "inbox/a.b.png");
  EXPECT_EQ(metadata["ext"], "png");
  EXPECT_EQ(metadata["Metadata"], Json({{"owner", "ann"}}));
  EXPECT_EQ(metadata["Properties"]["ContentLength"], 3);
  EXPECT_EQ(metadata["Uri"], "https://acc.blob.core.windows.net:443/inbox/a.b.png");
  EXPECT_EQ(app.request(request, body, *plan, {{.name = "blob", .bytes = {}, .head = {}}}).error().code, Code::not_found);
  EXPECT_EQ(app.plan(request, R"({"input": "other/a.png"})", moment()).error().code, Code::invalid_argument);
  const auto given = app.plan(request, R"({"input": "eHl6", "encoding": "base64", "metadata": {"BlobTrigger": "inbox/c.d"}})", moment());
  ASSERT_TRUE(given && given->reads.empty()) << given.error().message;
  EXPECT_EQ(given->writes[0].blob, "c-d");
  const AzureApp bare = app_of(functions, {});
  EXPECT_FALSE(bare.stores()) << "where there is no store, the input is the content";
}

TEST(AzureBindings, OutputsAreWrittenWholeOrNotAtAll) {
  AzureMoment now = moment();
  const AzureSettings settings{{"AzureWebJobsStorage", kAccount}};
  const auto queue = place_of({.name = "q", .type = "queue", .path = "orders", .connection = {}, .data_type = {}}, settings,
      Json::object(), now);
  ASSERT_TRUE(queue) << queue.error().message;
  const auto writes = [&](AzureOutput::Form form, std::string value, bool base64 = true) {
    return writes_of({*queue}, {{.name = "q", .form = form, .value = std::move(value)}}, base64);
  };
  using enum AzureOutput::Form;
  EXPECT_EQ(writes(text, R"(["a", {"b": 1}])")->at(0).bodies.size(), 2u) << "a list in a text is one, too";
  EXPECT_NE(writes(text, R"({"a": 1})", false)->at(0).bodies[0].find(R"(>{"a": 1}<)"), std::string::npos)
      << "an object's text is the message";
  EXPECT_NE(writes(json, R"("a")", false)->at(0).bodies[0].find(">a<"), std::string::npos);
  EXPECT_EQ(writes(bytes, "[1]")->at(0).bodies.size(), 1u);
  EXPECT_TRUE(writes(text, std::string(49152, 'x')));
  EXPECT_NE(writes(text, std::string(49153, 'x')).error().message.find("'q'"), std::string::npos);
  EXPECT_TRUE(writes(text, std::string(65536, 'x'), false));
  EXPECT_FALSE(writes(text, std::string(65537, 'x'), false));
  EXPECT_FALSE(writes(text, "a\x01", false)) << "which XML can't hold";
  EXPECT_FALSE(writes(json, Json(std::vector<int>(kMessagesMax + 1, 1)).dump()));
  EXPECT_TRUE(writes_of({*queue}, {{.name = "other", .value = "x"}}, true)->empty());
}

}  // namespace
}  // namespace mayfly::worker
