#include "domain/manifest.h"

#include <gtest/gtest.h>

#include <fstream>
#include <set>
#include <sstream>

#include "base/random.h"

namespace mayfly::domain {
namespace {

using namespace std::chrono_literals;

std::string refusal(std::string_view yaml) {
  const auto parsed = parse_manifest(yaml);
  if (parsed) return "accepted";
  EXPECT_EQ(parsed.error().code, Code::invalid_argument);
  return parsed.error().message;
}

TEST(Path, StaysInsideTheFolder) {
  for (const char* inside : {"model.onnx", "weights/part 1.bin", "..data/x", "a/..b", "a../b", "ünï/cøde", "..."})
    EXPECT_TRUE(check_path(inside)) << inside;
  EXPECT_TRUE(check_path(std::string(239, 'x')));
  for (const std::string& bad : {std::string(), std::string(240, 'x'), std::string("/etc/passwd"), std::string(".."), std::string("../x"),
                                 std::string("a/.."), std::string("a/../../x"), std::string("a\0b", 3), std::string("a\nb"),
                                 std::string("\xff")}) {
    ASSERT_FALSE(check_path(bad)) << bad;
    EXPECT_EQ(check_path(bad).error().code, Code::invalid_argument);
  }
}

TEST(Manifest, NothingNeedsToBeSaid) {
  for (const char* empty : {"", "\n", "# only a comment\n", "{}", "---\n", "resources:\n"}) {
    const auto parsed = parse_manifest(empty);
    ASSERT_TRUE(parsed) << empty << parsed.error().message;
    EXPECT_EQ(*parsed, Manifest{});
  }
}

TEST(Manifest, EveryKey) {
  const auto parsed = parse_manifest(R"(name: fraud
model: models/fraud.onnx
task: tabular-classification
labels: [genuine, "fraud: yes", Ünïcode, 7]
resources: {memory: 512MiB, cpu: 1.5, timeout: 30s}
scaling:
  min: 1
  max: 30
  reserved: 2
  concurrency: 8
  keep_alive: 5m
  target: {p99: 50ms}
batch: {rows_max: 64, wait_max: 2ms}
input: {bytes_max: 1MiB}
queue: {max: 50}
)");
  ASSERT_TRUE(parsed) << parsed.error().message;
  EXPECT_EQ(parsed->name, "fraud");
  EXPECT_EQ(parsed->model, "models/fraud.onnx");
  EXPECT_EQ(parsed->task, "tabular-classification");
  EXPECT_EQ(parsed->labels, (std::vector<std::string>{"genuine", "fraud: yes", "Ünïcode", "7"}));
  EXPECT_EQ(parsed->resources, (Resources{.memory = 512_MiB, .cpu = 1.5, .timeout = 30s}));
  EXPECT_EQ(parsed->scaling, (Scaling{.min = 1, .max = 30, .reserved = 2, .concurrency = 8, .keep_alive = 300s, .target_p99 = 50ms}));
  EXPECT_EQ(parsed->batch, (Batch{.rows_max = 64, .wait_max = 2ms}));
  EXPECT_EQ(parsed->body_max, 1_MiB);
  EXPECT_EQ(parsed->queue_max, 50);
}

TEST(Manifest, AutoIsTheDefault) { EXPECT_EQ(*parse_manifest("scaling: {concurrency: auto, keep_alive: auto}"), Manifest{}); }

TEST(Manifest, ErrorsNameTheLineAndTheNearestWord) {
  EXPECT_EQ(refusal("name: a\nmodel: m.onnx\nresources:\n  memroy: 1GiB\n"),
            "line 4: unknown key 'memroy' in resources; did you mean 'memory'?");
  EXPECT_EQ(refusal("scalling: {}"), "line 1: unknown key 'scalling'; did you mean 'scaling'?");
  EXPECT_EQ(refusal("batch: {zebra: 1}"), "line 1: unknown key 'zebra' in batch; valid: rows_max, wait_max");
  EXPECT_EQ(refusal("scaling:\n  target:\n    p95: 5ms"), "line 3: unknown key 'p95' in scaling.target; did you mean 'p99'?");
  EXPECT_EQ(refusal("\ntask: tabular-clasification"),
            "line 2: task: 'tabular-clasification' is not a task; did you mean 'tabular-classification'?");
  EXPECT_EQ(refusal("resources:\n  timeout: 30"),
            "line 2: resources.timeout: '30' is not a duration: write a number with one of ns, us, ms, s, m, h, d, for example 250ms");
  EXPECT_EQ(refusal("resources: {timeout: 16m}"), "line 1: resources.timeout: '16m' is outside 1ms to 900s");
  EXPECT_EQ(refusal("resources: {memory: 1MiB}"), "line 1: resources.memory: '1MiB' is outside 16MiB to 1024GiB");
  EXPECT_EQ(refusal("resources: {cpu: nan}"), "line 1: resources.cpu: 'nan' is not a number of cores from 0.1 to 64");
  EXPECT_EQ(refusal("scaling: {max: 0}"), "line 1: scaling.max: '0' is not a whole number from 1 to 1000");
  EXPECT_EQ(refusal("scaling: {max: 2.5}"), "line 1: scaling.max: '2.5' is not a whole number from 1 to 1000");
  EXPECT_EQ(refusal("scaling: {concurrency: many}"),
            "line 1: scaling.concurrency: 'many' is not a whole number from 1 to 1024, and not 'auto'");
  EXPECT_EQ(refusal("labels: cat"), "line 1: labels: a list is wanted: [first, second, …]");
  EXPECT_EQ(refusal("resources: 5"), "line 1: resources is a list of 'key: value', not '5'");
  EXPECT_EQ(refusal("- a"), "line 1: a manifest is a list of 'key: value', not a list");
}

// Every key by its full name, as the errors about an unknown one list them.
void collect_keys(const std::string& section, std::set<std::string>& into) {
  const std::string unknown = "zzzzzzzzzz: 1";
  std::string yaml = unknown;
  for (std::string rest = section; !rest.empty(); rest = rest.substr(0, rest.rfind('.') == rest.npos ? 0 : rest.rfind('.')))
    yaml = rest.substr(rest.rfind('.') + 1) + ": {" + yaml + "}";
  const std::string message = refusal(yaml);
  const std::size_t at = message.find("; valid: ");
  if (at == message.npos) {
    into.insert(section);
    return;
  }
  std::istringstream names(message.substr(at + 9));
  for (std::string name; std::getline(names >> std::ws, name, ',');) collect_keys(section.empty() ? name : section + "." + name, into);
}

TEST(Manifest, ThePageListsEveryKey) {
  std::ifstream in(MAYFLY_SOURCE_DIR "/docs/manifest.md");
  std::set<std::string> listed, known;
  for (std::string line; std::getline(in, line);)
    if (line.starts_with("| `") && line.find("` |") != std::string::npos) listed.insert(line.substr(3, line.find("` |") - 3));
  collect_keys("", known);
  EXPECT_EQ(listed, known);
  EXPECT_TRUE(known.contains("scaling.target.p99"));
}

TEST(Manifest, ImpossibleTogether) {
  EXPECT_EQ(refusal("scaling:\n  min: 30"), "line 2: scaling.min 30 is more than scaling.max 20: raise max or lower min");
  EXPECT_EQ(refusal("scaling: {max: 2, reserved: 3}"),
            "line 1: scaling.reserved 3 is more than scaling.max 2: raise max or lower reserved");
  EXPECT_EQ(refusal("batch: {wait_max: 5s}\nresources: {timeout: 5s}"),
            "line 2: batch.wait_max 5s leaves no time to answer within resources.timeout 5s");
  EXPECT_EQ(refusal("scaling: {target: {p99: 40s}}"), "line 1: scaling.target.p99 40s is more than resources.timeout 30s");
}

TEST(Manifest, WhatLaterReleasesKnowIsRefusedByName) {
  for (const char* key : {"triggers", "async", "identity"})
    EXPECT_EQ(refusal(std::string(key) + ": x"), "line 1: '" + std::string(key) + "' is not supported by this release: leave it out");
  EXPECT_EQ(refusal("input: {schema: a.json}"), "line 1: 'schema' in input is not supported by this release: leave it out");
}

TEST(Manifest, Containers) {
  const char* text = "name: c\nruntime: container-http\nimage:\n  entrypoint: [python3, \"-c\"]\n  command: [a b]\n"
                     "  environment: {PATH: /bin, LAMBDA_TASK_ROOT: /x}\n  directory: /app\n";
  const auto read = parse_manifest(text);
  ASSERT_TRUE(read) << read.error().message;
  EXPECT_TRUE(read->is_code() && read->is_container() && read->serves_http());
  const Image image{.entrypoint = {"python3", "-c"}, .command = {"a b"}, .environment = {{"LAMBDA_TASK_ROOT", "/x"}, {"PATH", "/bin"}},
                    .directory = "/app"};
  EXPECT_EQ(read->image, image);
  EXPECT_EQ(*manifest_from_json(to_json(*read)), *read);
  const auto lambda = parse_manifest("runtime: container-lambda\nhandler: app.main x");
  ASSERT_TRUE(lambda) << lambda.error().message;
  EXPECT_FALSE(lambda->serves_http());
  EXPECT_NE(refusal("runtime: container-http").find("names no program"), std::string::npos);
  EXPECT_NE(refusal("runtime: python3.11\nhandler: a.b\nimage: {directory: /app}").find("image is for containers"), std::string::npos);
  EXPECT_NE(refusal("runtime: container-http\nhandler: x\nimage: {directory: app}").find("absolute path"), std::string::npos);
  EXPECT_NE(refusal("runtime: container-http\nhandler: x\nimage: {environment: {a-b: x}}").find("'a-b'"), std::string::npos);
  const std::string long_word(40'000, 'x');
  EXPECT_NE(refusal("runtime: container-http\nimage: {entrypoint: [" + long_word + "]}").find("32 KiB"), std::string::npos);
  EXPECT_NE(refusal("image: oci:./x.tar"), "");
}

TEST(Manifest, AnImageThatIsToBePulled) {
  const auto wanted = parse_manifest("image: docker://a.b:5000/shop/cart:1\nhandler: x y\n");
  ASSERT_TRUE(wanted) << wanted.error().message;
  EXPECT_EQ(wanted->image, (Image{.reference = "a.b:5000/shop/cart:1"}));
  EXPECT_TRUE(wanted->image.is_wanted() && wanted->is_container() && wanted->runtime == kContainerByImage);
  const auto again = parse_manifest(to_json(*wanted));
  ASSERT_TRUE(again) << again.error().message;
  EXPECT_EQ(*again, *wanted);
  const std::string digest(64, 'a');
  const auto pulled = parse_manifest("runtime: container-lambda\nimage: {reference: \"docker://a.b/c\", digest: " + digest +
                                     ", entrypoint: [e], command: [c], instead: {command: [d, f], directory: /x}}");
  ASSERT_TRUE(pulled) << pulled.error().message;
  EXPECT_FALSE(pulled->image.is_wanted());
  EXPECT_EQ(pulled->image.as_started().command, (std::vector<std::string>{"d", "f"}));
  EXPECT_EQ(pulled->image.as_started().entrypoint, (std::vector<std::string>{"e"}));
  EXPECT_EQ(pulled->image.as_started().directory + pulled->image.directory, "/x/");
  EXPECT_EQ(*parse_manifest(to_json(*pulled)), *pulled);
  EXPECT_NE(refusal("image: docker://cart:1").find("names no registry"), std::string::npos);
  EXPECT_NE(refusal("image: {reference: a.b/c}").find("docker://"), std::string::npos);
  EXPECT_NE(refusal("image: {reference: docker://a.b/c, command: [x]}").find("instead"), std::string::npos);
  EXPECT_NE(refusal("runtime: container-http\nimage: {command: [x], digest: " + digest + "}").find("reference"), std::string::npos);
  EXPECT_NE(refusal("runtime: container-http\nimage: {command: [x], digest: abc}").find("SHA-256"), std::string::npos);
  EXPECT_NE(refusal("runtime: python3.11\nhandler: a.b\nimage: docker://a.b/c").find("image is for containers"), std::string::npos);
  EXPECT_NE(refusal("runtime: container-by-image\nimage: docker://a.b/c").find("not a runtime"), std::string::npos);
}

TEST(Manifest, AContainersUser) {
  for (const char* user : {"1000", "app", "app:staff", "1000:50", "a.b-c_d"}) {
    const auto read = parse_manifest("runtime: container-http\nhandler: x\nimage: {user: \"" + std::string(user) + "\"}");
    ASSERT_TRUE(read) << read.error().message;
    EXPECT_EQ(read->image.user, user);
    EXPECT_EQ(manifest_from_json(to_json(*read)), *read);
  }
  for (const std::string& user : {std::string("a b"), std::string("a/b"), std::string("a\\tb"), std::string(201, 'a')})
    EXPECT_NE(refusal("runtime: container-http\nhandler: x\nimage: {user: \"" + user + "\"}").find("is no user of an image"),
              std::string::npos)
        << user;
  EXPECT_NE(refusal("runtime: container-http\nhandler: x\nimage: {user: [app]}").find("a single name or number"), std::string::npos);
}

TEST(Manifest, ProtocolIsOfProgramsThatServeHttp) {
  for (const char* runtime : {"http", "container-http"}) {
    const auto read = parse_manifest(std::string("runtime: ") + runtime + "\nhandler: x\nprotocol: h2c");
    ASSERT_TRUE(read) << read.error().message;
    EXPECT_EQ(read->protocol, Protocol::h2c);
    EXPECT_EQ(manifest_from_json(to_json(*read)), *read);
    EXPECT_EQ(parse_manifest(std::string("runtime: ") + runtime + "\nhandler: x\nprotocol: http1")->protocol, Protocol::http1);
  }
  EXPECT_EQ(refusal("runtime: http\nhandler: x\nprotocol: h2"), "line 3: protocol: 'h2' is none of http1, h2c; did you mean 'h2c'?");
  for (const char* other : {"runtime: azure", "runtime: container-lambda\nhandler: x", "runtime: provided", "model: m.onnx",
                            "runtime: functions-framework-go\nhandler: x"})
    EXPECT_NE(refusal(std::string(other) + "\nprotocol: h2c").find("runtime http, or container-http"), std::string::npos) << other;
}

TEST(Manifest, Code) {
  const auto code = parse_manifest("name: f\nruntime: python3.11\nhandler: src/app.main\nenvironment: {B: \"2\", A_1: x y}\n");
  ASSERT_TRUE(code) << code.error().message;
  EXPECT_TRUE(code->is_code());
  EXPECT_EQ(code->handler, "src/app.main");
  EXPECT_EQ(code->environment, (std::vector<std::pair<std::string, std::string>>{{"A_1", "x y"}, {"B", "2"}}));
  EXPECT_EQ(manifest_from_json(to_json(*code)), *code);
  EXPECT_EQ(code->fork, Forks::auto_);
  const auto always = parse_manifest("runtime: python3.11\nhandler: a.b\nfork: always");
  ASSERT_TRUE(always) << always.error().message;
  EXPECT_EQ(always->fork, Forks::always);
  EXPECT_EQ(manifest_from_json(to_json(*always)), *always);
  EXPECT_EQ(refusal("runtime: python3.11\nhandler: a.b\nfork: nver"),
            "line 3: fork: 'nver' is none of auto, always, never; did you mean 'never'?");
  EXPECT_EQ(code->scaling.freeze_after, std::nullopt);
  for (const auto& [text, after] : {std::pair{"never", Duration{}}, {"90s", Duration(std::chrono::seconds(90))}}) {
    const auto frozen = parse_manifest("runtime: provided\nscaling: {freeze_after: " + std::string(text) + "}");
    ASSERT_TRUE(frozen) << frozen.error().message;
    EXPECT_EQ(frozen->scaling.freeze_after, after);
    EXPECT_EQ(manifest_from_json(to_json(*frozen)), *frozen);
  }
  EXPECT_NE(refusal("runtime: provided\nscaling: {freeze_after: 1ms}").find("or 'auto', or 'never'"), std::string::npos);
  EXPECT_TRUE(refusal("model: m.onnx\nscaling: {freeze_after: 5s}").starts_with("line 2: scaling.freeze_after is for code"));
  EXPECT_EQ(code->build, Build::auto_);
  EXPECT_EQ(parse_manifest("runtime: nodejs20.x\nhandler: a.b\nbuild: never")->build, Build::never);
  EXPECT_EQ(refusal("runtime: provided\nbuild: nver"), "line 2: build: 'nver' is none of auto, never; did you mean 'never'?");
  EXPECT_EQ(refusal("model: m.onnx\nbuild: never"), "line 2: build is for code: name its runtime, like python3.11, or leave build out");
  EXPECT_EQ(refusal("runtime: provided\nfork: never"),
            "line 2: fork is for code in Python: name its runtime, like python3.11, or leave fork out");
  EXPECT_TRUE(parse_manifest("runtime: provided.al2023"));
  EXPECT_EQ(refusal("runtime: pyhton3.11"), "line 1: runtime: 'pyhton3.11' is not a runtime of this release; did you mean 'python3.11'?");
  EXPECT_EQ(refusal("runtime: python3.11"), "line 1: the handler '' names no function: write handler: file.function");
  EXPECT_EQ(refusal("runtime: nodejs20.x\nhandler: app"),
            "line 2: the handler 'app' names no function: write handler: file.function");
  EXPECT_EQ(refusal("runtime: java17"), "line 1: no handler: write handler: package.Class::method");
  EXPECT_TRUE(parse_manifest("{runtime: java21, handler: Fraud::score}"));
  EXPECT_EQ(refusal("runtime: provided\nmodel: a.onnx"),
            "line 2: runtime and model are both there: a function is code or a model in this release, leave one out");
  EXPECT_EQ(refusal("handler: a.b"), "line 1: handler, environment and models are for code: name its runtime, like python3.11");
  EXPECT_EQ(refusal("runtime: provided\nenvironment:\n  LAMBDA_TASK_ROOT: /x"),
            "line 3: environment: 'LAMBDA_TASK_ROOT' is set by the runtime: choose another name");
  EXPECT_EQ(refusal("runtime: provided\nenvironment: {a-b: c}"),
            "line 2: environment: 'a-b' is not a name: use letters, digits and '_'");
  EXPECT_EQ(refusal("runtime: provided\nenvironment: {A: [1]}"), "line 2: environment: A is a single text; quote it: \"null\", \"a: b\"");
  EXPECT_EQ(refusal("runtime: provided\nenvironment: {A: " + std::string(4096, 'x') + "}"),
            "line 2: environment: 4097 bytes of names and values: at most 4096");
}

TEST(Manifest, LoggingOfLambdasContract) {
  const std::string code = "runtime: provided\n";
  EXPECT_EQ(parse_manifest(code)->logging, Logging{});
  const auto said = parse_manifest(code + "logging: {format: json, level: warn, system_level: debug}");
  ASSERT_TRUE(said) << said.error().message;
  EXPECT_EQ(said->logging, (Logging{.format = LogFormat::json, .level = Level::warn, .system_level = Level::debug}));
  EXPECT_EQ(*manifest_from_json(to_json(*said)), *said);
  EXPECT_EQ(*parse_manifest(code + "logging: {format: text}"), *parse_manifest(code));
  EXPECT_EQ(refusal(code + "logging: {format: json, level: wrn}"),
            "line 2: logging.level: 'wrn' is none of trace, debug, info, warn, error, fatal; did you mean 'warn'?");
  EXPECT_EQ(refusal(code + "logging: {level: warn}"),
            "line 2: levels of logging are of the format json: write {format: json, level: warn}");
  EXPECT_EQ(refusal("runtime: http\nhandler: x\nlogging: {format: json}"),
            "line 3: logging is for code by AWS Lambda's contract: its runtime does it; leave it out");
}

TEST(Manifest, ModelsThatCodeMayCall) {
  const auto code = parse_manifest("runtime: provided\nmodels: [fraud, photos-2]\n");
  ASSERT_TRUE(code) << code.error().message;
  EXPECT_EQ(code->models, (std::vector<std::string>{"fraud", "photos-2"}));
  EXPECT_EQ(manifest_from_json(to_json(*code)), *code);
  EXPECT_EQ(refusal("models: [fraud]"), "line 1: handler, environment and models are for code: name its runtime, like python3.11");
  EXPECT_EQ(refusal("runtime: provided\nmodels: fraud"), "line 2: models: a list of names of functions is wanted: [fraud, …]");
  EXPECT_EQ(refusal("runtime: provided\nmodels: [\"*\"]"), "line 2: models: '*' is not a name of a function");
  std::string many;
  for (int i = 0; i < 65; ++i) many += (i ? ", m" : "m") + std::to_string(i);
  EXPECT_EQ(refusal("runtime: provided\nmodels: [" + many + "]"), "line 2: models: 65 names: at most 64");
}

TEST(Manifest, WhatMakesYamlDangerousIsRefused) {
  EXPECT_EQ(refusal("name: a\nname: b"), "line 2: key 'name' is there twice, first in line 1");
  EXPECT_EQ(refusal("name: &x a"), "line 1: anchors (&name) are not supported: write the value out");
  EXPECT_EQ(refusal("name: !!python/object a").substr(0, 12), "line 1: tags");
  EXPECT_EQ(refusal("name: a\n---\nname: b"), "line 3: a second document begins (---): write one");
  EXPECT_EQ(refusal(std::string(30000, '[')).substr(0, 7), "line 1:");
  EXPECT_EQ(refusal(std::string(30000, '{')).substr(0, 6), "line 1");
  std::string dashes;
  for (int i = 0; i < 20000; ++i) dashes += "- ";
  EXPECT_EQ(refusal(dashes), "line 1: nested too deep: at most 6 levels");
  EXPECT_EQ(refusal(std::string(65537, ' ')), "line 1: a manifest of 65537 bytes: at most 64 KiB");
  EXPECT_EQ(refusal("name: [").substr(0, 17), "line 1: not YAML:");
  EXPECT_EQ(refusal("? [a]\n: b"), "line 1: a key must be a word, not a list or a map");
}

TEST(Manifest, NamesAndPaths) {
  for (const char* good : {"a", "7", "fraud-2.1_b"}) EXPECT_TRUE(valid_function_name(good));
  for (const char* bad : {"", "-a", ".a", "A", "a b", "a/b", "ä", "$LATEST"}) EXPECT_FALSE(valid_function_name(bad)) << bad;
  EXPECT_TRUE(valid_function_name(std::string(63, 'a')));
  EXPECT_FALSE(valid_function_name(std::string(64, 'a')));
  for (const char* bad : {"/etc/passwd", "..", "../m", "a/../../m", "a/.."})
    EXPECT_NE(refusal("model: " + std::string(bad)).find("leads out of the folder"), std::string::npos) << bad;
  EXPECT_EQ(refusal("model: a..b"), "accepted");
}

Manifest random_manifest(Random& random) {
  Manifest m;
  const auto text = [&](std::string_view letters, int most) {
    std::string out;
    for (int n = random.between(0, most); n > 0; --n)
      out += letters[static_cast<std::size_t>(random.between(0, static_cast<int>(letters.size()) - 1))];
    return out;
  };
  if (random.chance(0.8)) m.name = "a" + text("abc-._9", 20);
  m.model = text("ab/ .:#'\"{}[]!&*%@`\\,|>-?", 30);
  if (m.model.find("..") != std::string::npos || m.model.starts_with('/')) m.model = "model.onnx";
  if (random.chance(0.5)) m.task = "embedding";
  static constexpr const char* kLabels[] = {"",   "null", "~", "yes", "1e3", "- x", "# no", "a: b", "é", "日本", "\xf0\x9f\x98\x80",
                                            "\"", "\\",   "/", " x ", "&a",  "*a",  "!t",   "%"};
  for (int n = random.between(0, 12); n > 0; --n)
    m.labels.push_back(kLabels[random.between(0, std::size(kLabels) - 1)] + text("x\"\\: ", 3));
  m.resources.memory = {static_cast<std::uint64_t>(random.between(16 << 20, 2'000'000'000)) * (random.chance(0.3) ? 512 : 1)};
  m.resources.cpu = 0.1 + static_cast<double>(random.next() % 1000000) / 1e6 * 60;
  m.resources.timeout = 20ms + Duration(static_cast<std::int64_t>(random.next() % 899'000'000'000));
  m.scaling.max = random.between(1, 1000);
  m.scaling.min = random.between(0, m.scaling.max);
  m.scaling.reserved = random.between(0, m.scaling.max);
  if (random.chance(0.5)) m.scaling.concurrency = random.between(1, 1024);
  if (random.chance(0.5)) m.scaling.keep_alive = Duration(static_cast<std::int64_t>(random.next() % 86'400'000'000'000));
  if (random.chance(0.5)) m.scaling.target_p99 = std::chrono::milliseconds(random.between(11, 20));
  m.batch.rows_max = random.between(1, 4096);
  m.batch.wait_max = std::chrono::microseconds(random.between(0, 10000));
  m.body_max = {static_cast<std::uint64_t>(random.between(1, 2'000'000'000))};
  m.queue_max = random.between(1, 1'000'000);
  return m;
}

TEST(Manifest, JsonReadsBackEqual) {
  Random random(7);
  for (int i = 0; i < 500; ++i) {
    const Manifest m = random_manifest(random);
    const std::string json = to_json(m);
    const auto back = parse_manifest(json);
    ASSERT_TRUE(back) << json << back.error().message;
    ASSERT_EQ(*back, m) << json;
    const auto quick = manifest_from_json(json);
    ASSERT_TRUE(quick) << json << quick.error().message;
    ASSERT_EQ(*quick, m) << json;
  }
}

TEST(Manifest, LabelsThatWouldNotReadBackAreRefused) {
  std::string yaml = "labels: [";
  for (int i = 0; i < 20000; ++i) yaml += "a, ";
  EXPECT_EQ(refusal(yaml + "a]"), "line 1: the labels take more than 64 KiB in all: shorten them");
  EXPECT_NE(refusal("labels: [\"a\\x01\"]").find("is not plain UTF-8 text"), std::string::npos);
}

}  // namespace
}  // namespace mayfly::domain
