#include "app/config.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <set>
#include <sstream>

namespace mayfly::app {
namespace {

using namespace std::chrono_literals;

std::string error_of(const std::string& yaml) {
  Config config;
  const auto read = parse_config(yaml, "node.yaml", config);
  return read ? "none" : read.error().message;
}

TEST(Config, EveryKeyArrives) {
  Config c;
  const auto read = parse_config(R"(listen: "[::1]:9000"
data: /var/lib/mayfly
engine: /opt/libonnxruntime.so.1
memory_budget: 6GiB
cores: 6
pool: 8
template_keep: 5m
keep_alive: 30s
drain_max: 10s
http:
  connections_max: 500
  head_max: 5s
  idle_max: 60s
  body_stall_max: 20s
  body_max: 5m
  upload_max: 1h
  answer_max: 16m
  write_stall_max: 15s
  bodies_max: 512MiB
  untaken_max: 2MiB
  unsent_max: 16MiB
code:
  network_host: true
  network_loopback: true
lambda:
  keys: one:0123456789abcdef two:fedcba:9876543210
objects:
  endpoint: https://s3.example.com
  region: eu-central-1
  path_style: false
  key: id:0123456789abcdef
  buckets: one two
  size_max: 2GiB
prices:
  currency: EUR
  per_gb_second: 0.00002
  per_million_requests: 0.5
  always_on_per_gb_hour: 0.01
)", "node.yaml", c);
  ASSERT_TRUE(read) << read.error().message;
  EXPECT_EQ(c.listen, "[::1]:9000");
  EXPECT_EQ(c.data, "/var/lib/mayfly");
  EXPECT_EQ(c.engine, "/opt/libonnxruntime.so.1");
  EXPECT_EQ(c.memory_budget, 6_GiB);
  EXPECT_EQ(c.cores, 6);
  EXPECT_TRUE(c.code_network_host);
  EXPECT_TRUE(c.code_network_loopback);
  EXPECT_EQ(c.pool, 8);
  EXPECT_EQ(c.template_keep, 5min);
  EXPECT_EQ(c.keep_alive, 30s);
  EXPECT_EQ(c.drain_max, 10s);
  EXPECT_EQ(c.http.connections_max, 500u);
  EXPECT_EQ(c.http.head_max, 5s);
  EXPECT_EQ(c.http.idle_max, 60s);
  EXPECT_EQ(c.http.body_stall_max, 20s);
  EXPECT_EQ(c.http.body_max, 5min);
  EXPECT_EQ(c.http.upload_max, 1h);
  EXPECT_EQ(c.http.answer_max, 16min);
  EXPECT_EQ(c.http.write_stall_max, 15s);
  EXPECT_EQ(c.http.bodies_max, std::uint64_t{512} << 20);
  EXPECT_EQ(c.http.untaken_max, std::uint64_t{2} << 20);
  EXPECT_EQ(c.http.unsent_max, std::uint64_t{16} << 20);
  EXPECT_EQ(c.lambda_keys, (gateway::sigv4::Keys{{"one", "0123456789abcdef"}, {"two", "fedcba:9876543210"}}));
  EXPECT_EQ(c.objects.endpoint + " " + c.objects.region, "https://s3.example.com eu-central-1");
  EXPECT_FALSE(c.objects.path_style);
  EXPECT_EQ(c.objects.key_id + " " + c.objects.secret, "id 0123456789abcdef");
  EXPECT_EQ(c.objects.buckets, (std::vector<std::string>{"one", "two"}));
  EXPECT_EQ(c.objects.size_max, 2_GiB);
  EXPECT_EQ(c.currency, "EUR");
  EXPECT_DOUBLE_EQ(c.price_per_gb_second, 0.00002);
  EXPECT_DOUBLE_EQ(c.price_per_million_requests, 0.5);
  EXPECT_DOUBLE_EQ(c.price_always_on_per_gb_hour, 0.01);
}

TEST(Config, WhatIsNotSaidStaysAsItWas) {
  for (const char* yaml : {"", "# nothing yet\n", "http:\n", "prices: {}\n"}) EXPECT_EQ(error_of(yaml), "none") << yaml;
  Config c{.pool = 7};
  ASSERT_TRUE(parse_config("http: {idle_max: 5s}\n", "node.yaml", c));
  EXPECT_EQ(c.pool, 7);
  EXPECT_EQ(c.http.idle_max, 5s);
  EXPECT_EQ(c.http.head_max, gateway::HttpLimits{}.head_max);
}

TEST(Config, ErrorsNameLineKeyValueAndWhatToDo) {
  const std::pair<const char*, std::vector<const char*>> table[] = {
      {"\n\npoll: 3\n", {"node.yaml, line 3: ", "unknown key 'poll'", "did you mean 'pool'?"}},
      {"http:\n  idle: 3s\n", {"line 2: ", "'http.idle'", "did you mean 'http.idle_max'?"}},
      {"something: 3\n", {"unknown key 'something'", "known are build.memory, build.time_max,"}},
      {"something: {else: 3}\n", {"unknown key 'something'"}},
      {"cores: 2.5\n", {"line 1: cores: '2.5' does not fit: write a whole number from 0 to 1024"}},
      {"cores: -1\n", {"'-1'", "from 0 to 1024"}},
      {"cores: many\n", {"'many'"}},
      {"pool: 65\n", {"'65'", "from 0 to 64"}},
      {"keep_alive: 60\n", {"keep_alive: '60' is not a duration", "for example 250ms"}},
      {"keep_alive: 25h\n", {"'25h' is outside 0", "24.0 h"}},
      {"memory_budget: 10MiB\n", {"'10MiB' is outside"}},
      {"memory_budget: 6\n", {"'6' is not a size", "for example 512MiB"}},
      {"http: {connections_max: 0}\n", {"http.connections_max: '0' does not fit", "from 1 to 1000000"}},
      {"http: {head_max: 1ms}\n", {"http.head_max: '1ms' is outside 100 ms to"}},
      {"http: {unsent_max: 1KiB}\n", {"http.unsent_max: '1KiB' is outside"}},
      {"http: 5\n", {"'http' holds further keys"}},
      {"prices: [1]\n", {"'prices' holds further keys"}},
      {"prices: {per_gb_second: nan}\n", {"'nan' does not fit"}},
      {"prices: {per_gb_second: -0.1}\n", {"'-0.1' does not fit: write a number from 0 to"}},
      {"listen: ''\n", {"listen: it is empty"}},
      {"pool:\n", {"'pool' takes one value"}},
      {"pool: [1, 2]\n", {"'pool' takes one value"}},
      {"pool: 1\ncores: 1\npool: 2\n", {"line 3: ", "'pool' stands there twice"}},
      {"http: {idle_max: 5s}\nhttp: {head_max: 5s}\n", {"'http' stands there twice"}},
      {"- a\n- b\n", {"lines of 'key: value'"}},
      {"a: [\n", {"node.yaml, line "}},
      {"? [a]\n: b\n", {"node.yaml, line "}},
  };
  for (const auto& [yaml, parts] : table)
    for (const char* part : parts) EXPECT_NE(error_of(yaml).find(part), std::string::npos) << yaml << "→ " << error_of(yaml);
}

TEST(Config, FilesAreReadOrSaidToBeMissing) {
  const auto folder = std::filesystem::temp_directory_path() / "mayfly-config-test";
  std::filesystem::create_directories(folder);
  Config c;
  std::ofstream(folder / "empty.yaml");
  EXPECT_TRUE(read_config((folder / "empty.yaml").string(), c));
  std::ofstream(folder / "node.yaml") << "pool: 2\n";
  EXPECT_TRUE(read_config((folder / "node.yaml").string(), c));
  EXPECT_EQ(c.pool, 2);
  for (const auto& path : {folder / "none.yaml", folder}) {
    const auto read = read_config(path.string(), c);
    ASSERT_FALSE(read);
    EXPECT_EQ(read.error().code, Code::not_found);
    EXPECT_NE(read.error().message.find(path.string()), std::string::npos);
  }
  std::filesystem::remove_all(folder);
}

TEST(Config, RegistriesByTheirNames) {
  Config c;
  const auto read = parse_config("registries:\n  Registry.Example:5000:\n  \"123.dkr.ecr.eu-central-1.amazonaws.com\":\n"
                                 "    endpoint: http://127.0.0.1:5000\n    login: \"AWS:se:cret\"\n    repositories: shop/* cart\n"
                                 "    tokens: https://auth.example\n    redirects: https://a.example http://b.example:9000\n"
                                 "    size_max: 1GiB\n",
                                 "f", c);
  ASSERT_TRUE(read) << read.error().message;
  ASSERT_EQ(c.registries.size(), 2u);
  EXPECT_EQ(c.registries.at("registry.example:5000").endpoint, "");
  const store::Registry& ecr = c.registries.at("123.dkr.ecr.eu-central-1.amazonaws.com");
  EXPECT_EQ(ecr.endpoint + " " + ecr.user + " " + ecr.password + " " + ecr.tokens,
            "http://127.0.0.1:5000 AWS se:cret https://auth.example");
  EXPECT_EQ(ecr.repositories, (std::vector<std::string>{"shop/*", "cart"}));
  EXPECT_EQ(ecr.redirects, (std::vector<std::string>{"https://a.example", "http://b.example:9000"}));
  EXPECT_EQ(ecr.size_max, 1_GiB);
  for (const char* wrong : {"registries: 7\n", "registries: [a.b]\n", "registries: {shop: {}}\n", "registries: {\"http://a.b\": {}}\n",
                            "registries: {a.b: 7}\n", "registries: {a.b: {endpoint: a.b}}\n", "registries: {a.b: {login: secretword}}\n",
                            "registries: {a.b: {redirects: \"https://x y\"}}\n", "registries: {a.b: {}, A.B: {}}\n",
                            "registries: {a.b: {size_max: 1}}\n", "registry: {a.b: {}}\n", "pull: {time_max: 1ms}\n"})
    EXPECT_NE(error_of(wrong), "") << wrong;
  EXPECT_EQ(error_of("registries: {a.b: {login: secretword}}\n").find("secretword"), std::string::npos);
  EXPECT_NE(error_of("registry: {a.b: {}}\n").find("registries"), std::string::npos);
}

// The page lists every key, and none that is not there.
TEST(Config, ThePageListsEveryKey) {
  std::ifstream in(MAYFLY_SOURCE_DIR "/docs/configuration.md");
  std::set<std::string> listed;
  for (std::string line; std::getline(in, line);)
    if (line.starts_with("| `") && line.find("` |") != std::string::npos) listed.insert(line.substr(3, line.find("` |") - 3));
  const std::string message = error_of("zzzzzzzz: 1\n");
  const std::size_t at = message.find("known are ");
  ASSERT_NE(at, std::string::npos);
  std::set<std::string> known;
  std::istringstream names(message.substr(at + 10));
  for (std::string name; std::getline(names >> std::ws, name, ',');) known.insert(name);
  const std::string of_registries = error_of("registries: {a.b: {zzzzzzzz: 1}}\n");
  std::istringstream further(of_registries.substr(of_registries.find("known are ") + 10));
  for (std::string name; std::getline(further >> std::ws, name, ',');) known.insert("registries.HOST." + name);
  EXPECT_EQ(listed, known);
}

}  // namespace
}  // namespace mayfly::app
