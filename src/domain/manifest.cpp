#include "domain/manifest.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <map>
#include <span>

#include "domain/code_order.h"
#include "domain/detail/image.h"
#include "domain/detail/layers.h"
#include "domain/detail/optimize.h"
#include "domain/detail/text.h"
#include "domain/detail/tree.h"
#include "domain/json.h"
#include "domain/link.h"

namespace mayfly::domain {
namespace {

using namespace std::chrono_literals;

constexpr std::size_t kManifestMax = 64 * 1024;
constexpr std::size_t kLabelMax = 256;
constexpr std::string_view kTasks[] = {"raw", "tabular-classification", "tabular-regression", "image-classification", "object-detection",
                                       "embedding", "text-classification", "token-classification", "speech"};

// Where each value stood, for errors about combinations: "scaling.min" -> 4.
using Lines = std::map<std::string, int, std::less<>>;

struct Field {
  std::string_view key;
  Result<void> (*read)(const Tree& value, Manifest& into, Lines& lines);
};

// Every key of `map` is a field's or an error; the error names the nearest one. `section` is "" at the top.
Result<void> read_section(const Tree& map, std::string_view section, std::span<const Field> fields, std::span<const std::string_view> later,
                          Manifest& into, Lines& lines) {
  const std::string in = section.empty() ? "" : " in " + std::string(section);
  if (map.kind == Tree::Kind::null) return {};
  if (map.kind != Tree::Kind::map)
    return refuse(map.line, (section.empty() ? "a manifest" : std::string(section)) + " is a list of 'key: value', not " +
                                (map.kind == Tree::Kind::list ? "a list" : in_quotes(map.text)));
  for (std::size_t i = 0; i < map.keys.size(); ++i) {
    const std::string& key = map.keys[i];
    if (std::ranges::find(later, key) != later.end())
      return refuse(map.key_lines[i], "'" + key + "'" + in + " is not supported by this release: leave it out");
    const auto field = std::ranges::find(fields, key, &Field::key);
    if (field == fields.end()) {
      std::vector<std::string_view> words;
      for (const Field& f : fields) words.push_back(f.key);
      return refuse(map.key_lines[i], "unknown key " + in_quotes(key) + in + suggestion(key, words));
    }
    const std::string path = section.empty() ? key : std::string(section) + "." + key;
    lines[path] = map.key_lines[i];
    if (map.items[i].kind == Tree::Kind::null) continue;  // "resources:" with nothing behind it: the default
    if (auto read = field->read(map.items[i], into, lines); !read) {
      if (read.error().message.starts_with("line ")) return read;
      return refuse(map.items[i].line, path + ": " + read.error().message);
    }
  }
  return {};
}

Result<std::string> word(const Tree& value) {
  if (value.kind != Tree::Kind::scalar)
    return fail(Code::invalid_argument,
                value.kind == Tree::Kind::list ? "a single value is wanted, not a list" : "a single value is wanted, not a map");
  return value.text;
}

Result<int> integer(const Tree& value, int low, int high) {
  TRY(const std::string text, word(value));
  int number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size() || number < low || number > high)
    return fail(Code::invalid_argument,
                in_quotes(text) + " is not a whole number from " + std::to_string(low) + " to " + std::to_string(high));
  return number;
}

std::string exact(Duration duration) {
  constexpr std::pair<std::int64_t, const char*> kUnits[] = {{1'000'000'000, "s"}, {1'000'000, "ms"}, {1'000, "us"}, {1, "ns"}};
  for (const auto& [factor, unit] : kUnits)
    if (duration.count() % factor == 0) return std::to_string(duration.count() / factor) + unit;
  return {};
}
std::string exact(Bytes bytes) {
  constexpr std::pair<int, const char*> kUnits[] = {{30, "GiB"}, {20, "MiB"}, {10, "KiB"}};
  for (const auto& [shift, unit] : kUnits)
    if (bytes.count != 0 && bytes.count % (1ULL << shift) == 0) return std::to_string(bytes.count >> shift) + unit;
  return std::to_string(bytes.count) + "B";
}

Result<Duration> duration(const Tree& value, Duration low, Duration high) {
  TRY(const std::string text, word(value));
  TRY(const Duration parsed, parse_duration(text));
  if (parsed < low || parsed > high)
    return fail(Code::invalid_argument, in_quotes(text) + " is outside " + exact(low) + " to " + exact(high));
  return parsed;
}

Result<Bytes> bytes(const Tree& value, Bytes low, Bytes high) {
  TRY(const std::string text, word(value));
  TRY(const Bytes parsed, parse_bytes(text));
  if (parsed < low || parsed > high)
    return fail(Code::invalid_argument, in_quotes(text) + " is outside " + exact(low) + " to " + exact(high));
  return parsed;
}

Result<double> cores(const Tree& value) {
  TRY(const std::string text, word(value));
  double number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size() || !(number >= 0.1) || number > 64)
    return fail(Code::invalid_argument, in_quotes(text) + " is not a number of cores from 0.1 to 64");
  return number;
}

Result<void> read_name(const Tree& value, Manifest& into, Lines&) {
  TRY(into.name, word(value));
  if (into.name.empty() || valid_function_name(into.name)) return {};
  return fail(Code::invalid_argument,
              in_quotes(into.name) + " is not a function name: use 1 to 63 of a-z, 0-9, '-', '_' and '.', starting with a letter or digit");
}

Result<void> read_model(const Tree& value, Manifest& into, Lines&) {
  TRY(into.model, word(value));
  return into.model.empty() ? Result<void>() : check_path(into.model);
}

// Of Lambda's names those that run here; "provided": the folder's `bootstrap` speaks the Runtime API itself. Then programs that
// serve HTTP.
constexpr std::string_view kRuntimes[] = {"python3.8",  "python3.9",  "python3.10", "python3.11",   "python3.12",
                                          "python3.13", "python3.14", "nodejs18.x", "nodejs20.x",   "nodejs22.x",
                                          "nodejs24.x", "java17",     "java21",     "provided",     "provided.al2",
                                          "provided.al2023", "http", "azure", "azure-python", "azure-node",
                                          "functions-framework-python", "functions-framework-nodejs",
                                          "functions-framework-go", "functions-framework-java",
                                          "container-http", "container-lambda"};
constexpr std::size_t kEnvironmentMax = 4096;             // of all names and values, as there
Result<void> read_runtime(const Tree& value, Manifest& into, Lines&) {
  TRY(into.runtime, word(value));
  std::string_view known = into.runtime;
  for (const std::string_view whose : {"functions-framework-", "azure-"})  // an interpreter by its name
    if (known.starts_with(std::string(whose) + "python3.")) known.remove_prefix(whose.size());
  if (known.empty() || std::ranges::find(kRuntimes, known) != std::end(kRuntimes)) return {};
  return fail(Code::invalid_argument, in_quotes(into.runtime) + " is not a runtime of this release" + suggestion(into.runtime, kRuntimes));
}

Result<void> read_handler(const Tree& value, Manifest& into, Lines&) {
  TRY(into.handler, word(value));
  if (into.handler.size() <= 512 && is_printable_utf8(into.handler)) return {};
  return fail(Code::invalid_argument, in_quotes(into.handler.substr(0, 128)) + " is not a handler: write file.function, at most 512 bytes");
}

Result<void> read_environment(const Tree& value, Manifest& into, Lines&) {
  TRY(const std::size_t size, read_variables(value, "environment", into.environment));
  for (std::size_t i = 0; i < value.keys.size(); ++i)
    if (const std::string& name = value.keys[i]; name.starts_with("AWS_LAMBDA_") || name.starts_with("LAMBDA_") || name.starts_with("_") ||
        name == "MAYFLY_DEBUG_PORT")
      return refuse(value.key_lines[i], "environment: " + in_quotes(name) + " is set by the runtime: choose another name");
  if (size > kEnvironmentMax)
    return fail(Code::invalid_argument, std::to_string(size) + " bytes of names and values: at most " + std::to_string(kEnvironmentMax));
  return {};
}

Result<void> read_models(const Tree& value, Manifest& into, Lines&) {
  constexpr std::size_t kModelsMax = 64;
  if (value.kind != Tree::Kind::list) return fail(Code::invalid_argument, "a list of names of functions is wanted: [fraud, …]");
  for (const Tree& item : value.items) {
    if (item.kind != Tree::Kind::scalar || !valid_function_name(item.text))
      return refuse(item.line, "models: " + in_quotes(item.text) + " is not a name of a function");
    into.models.push_back(item.text);
  }
  if (into.models.size() > kModelsMax) return fail(Code::invalid_argument, std::to_string(into.models.size()) + " names: at most 64");
  return {};
}

// One of the names, as the enumeration's number.
template <class Choice, std::size_t count>
Result<void> choose(const Tree& value, const std::string_view (&names)[count], Choice& into) {
  TRY(const std::string text, word(value));
  const auto found = std::ranges::find(names, text);
  if (found != std::end(names)) return into = static_cast<Choice>(found - std::begin(names)), Result<void>();
  std::string all;
  for (const std::string_view name : names) all.append(all.empty() ? "" : ", ").append(name);
  return fail(Code::invalid_argument, in_quotes(text) + " is none of " + all + suggestion(text, names));
}

constexpr std::string_view kForks[] = {"auto", "always", "never"}, kBuilds[] = {"auto", "never"};  // by number
Result<void> read_fork(const Tree& value, Manifest& into, Lines&) { return choose(value, kForks, into.fork); }
Result<void> read_build(const Tree& value, Manifest& into, Lines&) { return choose(value, kBuilds, into.build); }
constexpr std::string_view kProtocols[] = {"http1", "h2c"};  // by number
Result<void> read_protocol(const Tree& value, Manifest& into, Lines&) { return choose(value, kProtocols, into.protocol); }

constexpr std::string_view kFormats[] = {"text", "json"};                                // by number
constexpr std::string_view kLevels[] = {"trace", "debug", "info", "warn", "error", "fatal"}, kSystemLevels[] = {"debug", "info", "warn"};

template <std::size_t count>
Result<void> choose_level(const Tree& value, const std::string_view (&names)[count], Level& into) {
  int at = 0;
  TRY_VOID(choose(value, names, at));
  into = read_level(names[at]);
  return {};
}

constexpr std::string_view kReaches[] = {"none", "outbound", "host"};  // by number

Result<void> read_outbound(const Tree& value, Manifest& into, Lines&) {
  if (value.kind != Tree::Kind::list || value.items.empty())
    return fail(Code::invalid_argument, "a list of destinations is wanted: [\"api.example.com:443\", …]");
  bool loopback_named = false, loopback_written = false;  // one address inside, for both
  for (const Tree& item : value.items) {
    const auto to = parse_destination(item.kind == Tree::Kind::scalar ? item.text : std::string());
    if (!to) return refuse(item.line, "network.outbound: " + to.error().message);
    loopback_named = loopback_named || to->name == "localhost";
    loopback_written = loopback_written || (to->kind == Destination::Kind::literal && names_loopback(*to));
    std::string text = to_text(*to);
    if (std::ranges::find(into.network.outbound, text) != into.network.outbound.end())
      return refuse(item.line, "network.outbound: " + in_quotes(text) + " stands there twice: keep one");
    into.network.outbound.push_back(std::move(text));
  }
  if (loopback_named && loopback_written)
    return fail(Code::invalid_argument, "localhost and an address of the loopback are both there: write one kind");
  if (into.network.outbound.size() > kDestinationsMax)
    return fail(Code::invalid_argument, std::to_string(into.network.outbound.size()) + " destinations: at most 64");
  into.network.reach = Reach::outbound;
  return {};
}

constexpr Field kNetwork[] = {{"outbound", read_outbound}};

Result<void> read_network(const Tree& value, Manifest& into, Lines& lines) {
  if (value.kind == Tree::Kind::map) {
    TRY_VOID(read_section(value, "network", kNetwork, {}, into, lines));
    if (into.network.reach == Reach::outbound) return {};
  }
  if (value.kind == Tree::Kind::scalar && value.text == "none") return {};
  if (value.kind != Tree::Kind::scalar || value.text != "host")
    return fail(Code::invalid_argument, "write none, host, or a list of what may be reached: {outbound: [\"api.example.com:443\"]}");
  into.network.reach = Reach::host;
  return {};
}

Result<void> read_task(const Tree& value, Manifest& into, Lines&) {
  TRY(into.task, word(value));
  if (std::ranges::find(kTasks, into.task) != std::end(kTasks)) return {};
  return fail(Code::invalid_argument, in_quotes(into.task) + " is not a task" + suggestion(into.task, kTasks));
}

Result<void> read_labels(const Tree& value, Manifest& into, Lines&) {
  if (value.kind != Tree::Kind::list) return fail(Code::invalid_argument, "a list is wanted: [first, second, …]");
  for (const Tree& item : value.items) {
    if (item.kind != Tree::Kind::scalar) return refuse(item.line, "labels: each is a single word or text; quote it: \"null\", \"a: b\"");
    if (item.text.size() > kLabelMax || !is_printable_utf8(item.text))
      return refuse(item.line, "labels: " + (is_printable_utf8(item.text) ? in_quotes(item.text) : std::string("one")) +
                                   " is not plain UTF-8 text of at most " + std::to_string(kLabelMax) + " bytes");
    into.labels.push_back(item.text);
  }
  return {};
}

Result<void> read_concurrency(const Tree& value, Manifest& into, Lines&) {
  if (value.text == "auto") return {};
  auto number = integer(value, 1, 1024);
  if (!number) return fail(Code::invalid_argument, number.error().message + ", and not 'auto'");
  into.scaling.concurrency = *number;
  return {};
}

Result<void> read_keep_alive(const Tree& value, Manifest& into, Lines&) {
  if (value.text == "auto") return {};
  auto time = duration(value, 0ns, 24h);
  if (!time) return fail(Code::invalid_argument, time.error().message + "; or 'auto'");
  into.scaling.keep_alive = *time;
  return {};
}

Result<void> read_freeze_after(const Tree& value, Manifest& into, Lines&) {
  if (value.text == "auto") return {};
  into.scaling.freeze_after = Duration{};
  if (value.text == "never") return {};
  auto time = duration(value, 1s, 24h);
  if (!time) return fail(Code::invalid_argument, time.error().message + "; or 'auto', or 'never'");
  into.scaling.freeze_after = *time;
  return {};
}

constexpr Field kInstead[] = {
    {"entrypoint", [](const Tree& v, Manifest& m, Lines&) -> Result<void> { return read_words(v, m.image.instead.entrypoint); }},
    {"command", [](const Tree& v, Manifest& m, Lines&) -> Result<void> { return read_words(v, m.image.instead.command); }},
    {"directory", [](const Tree& v, Manifest& m, Lines&) -> Result<void> { return read_directory(v, m.image.instead.directory); }},
};
constexpr Field kImage[] = {
    {"entrypoint", [](const Tree& v, Manifest& m, Lines&) -> Result<void> { return read_words(v, m.image.entrypoint); }},
    {"command", [](const Tree& v, Manifest& m, Lines&) -> Result<void> { return read_words(v, m.image.command); }},
    {"environment", [](const Tree& v, Manifest& m, Lines&) -> Result<void> { return read_image_environment(v, m.image); }},
    {"directory", [](const Tree& v, Manifest& m, Lines&) -> Result<void> { return read_directory(v, m.image.directory); }},
    {"user", [](const Tree& v, Manifest& m, Lines&) -> Result<void> { return read_user(v, m.image); }},
    {"reference", [](const Tree& v, Manifest& m, Lines&) -> Result<void> { return read_reference(v, m.image); }},
    {"digest", [](const Tree& v, Manifest& m, Lines&) -> Result<void> { return read_image_digest(v, m.image); }},
    {"instead", [](const Tree& v, Manifest& m, Lines& l) -> Result<void> { return read_section(v, "image.instead", kInstead, {}, m, l); }},
};
constexpr Field kLogging[] = {
    {"format", [](const Tree& v, Manifest& m, Lines&) -> Result<void> { return choose(v, kFormats, m.logging.format); }},
    {"level", [](const Tree& v, Manifest& m, Lines&) -> Result<void> { return choose_level(v, kLevels, m.logging.level); }},
    {"system_level",
     [](const Tree& v, Manifest& m, Lines&) -> Result<void> { return choose_level(v, kSystemLevels, m.logging.system_level); }},
};
constexpr Field kTarget[] = {
    {"p99", [](const Tree& v, Manifest& m, Lines&) -> Result<void> { TRY(m.scaling.target_p99, duration(v, 1ms, 15min)); return {}; }},
};
constexpr Field kResources[] = {
    {"memory", [](const Tree& v, Manifest& m, Lines&) -> Result<void> { TRY(m.resources.memory, bytes(v, 16_MiB, 1024_GiB)); return {}; }},
    {"cpu", [](const Tree& v, Manifest& m, Lines&) -> Result<void> { TRY(m.resources.cpu, cores(v)); return {}; }},
    {"timeout", [](const Tree& v, Manifest& m, Lines&) -> Result<void> { TRY(m.resources.timeout, duration(v, 1ms, 15min)); return {}; }},
};
constexpr Field kScaling[] = {
    {"min", [](const Tree& v, Manifest& m, Lines&) -> Result<void> { TRY(m.scaling.min, integer(v, 0, 1000)); return {}; }},
    {"max", [](const Tree& v, Manifest& m, Lines&) -> Result<void> { TRY(m.scaling.max, integer(v, 1, 1000)); return {}; }},
    {"reserved", [](const Tree& v, Manifest& m, Lines&) -> Result<void> { TRY(m.scaling.reserved, integer(v, 0, 1000)); return {}; }},
    {"concurrency", read_concurrency},
    {"keep_alive", read_keep_alive},
    {"freeze_after", read_freeze_after},
    {"target", [](const Tree& v, Manifest& m, Lines& l) -> Result<void> { return read_section(v, "scaling.target", kTarget, {}, m, l); }},
};
constexpr Field kBatch[] = {
    {"rows_max", [](const Tree& v, Manifest& m, Lines&) -> Result<void> { TRY(m.batch.rows_max, integer(v, 1, 4096)); return {}; }},
    {"wait_max", [](const Tree& v, Manifest& m, Lines&) -> Result<void> { TRY(m.batch.wait_max, duration(v, 0ns, 10s)); return {}; }},
};
constexpr Field kInput[] = {
    {"bytes_max", [](const Tree& v, Manifest& m, Lines&) -> Result<void> { TRY(m.body_max, bytes(v, {1}, 2_GiB)); return {}; }},
};
constexpr std::string_view kInputLater[] = {"schema"};
constexpr Field kQueue[] = {
    {"max", [](const Tree& v, Manifest& m, Lines&) -> Result<void> { TRY(m.queue_max, integer(v, 1, 1'000'000)); return {}; }},
};
constexpr Field kTop[] = {
    {"name", read_name},
    {"model", read_model},
    {"runtime", read_runtime},
    {"handler", read_handler},
    {"environment", read_environment},
    {"image", [](const Tree& v, Manifest& m, Lines& l) -> Result<void> {
       return v.kind == Tree::Kind::scalar ? read_reference(v, m.image) : read_section(v, "image", kImage, {}, m, l);
     }},
    {"models", read_models},
    {"layers", [](const Tree& v, Manifest& m, Lines&) -> Result<void> { return read_layers(v, m.layers); }},
    {"fork", read_fork},
    {"network", read_network},
    {"build", read_build},
    {"protocol", read_protocol},
    {"logging", [](const Tree& v, Manifest& m, Lines& l) -> Result<void> { return read_section(v, "logging", kLogging, {}, m, l); }},
    {"optimize", [](const Tree& v, Manifest& m, Lines&) -> Result<void> { return read_optimize(v, m.optimize); }},
    {"task", read_task},
    {"labels", read_labels},
    {"resources", [](const Tree& v, Manifest& m, Lines& l) -> Result<void> { return read_section(v, "resources", kResources, {}, m, l); }},
    {"scaling", [](const Tree& v, Manifest& m, Lines& l) -> Result<void> { return read_section(v, "scaling", kScaling, {}, m, l); }},
    {"batch", [](const Tree& v, Manifest& m, Lines& l) -> Result<void> { return read_section(v, "batch", kBatch, {}, m, l); }},
    {"input", [](const Tree& v, Manifest& m, Lines& l) -> Result<void> { return read_section(v, "input", kInput, kInputLater, m, l); }},
    {"queue", [](const Tree& v, Manifest& m, Lines& l) -> Result<void> { return read_section(v, "queue", kQueue, {}, m, l); }},
};
constexpr std::string_view kTopLater[] = {"triggers", "async", "identity"};

// Values that are fine by themselves and impossible together.
Result<void> check_together(const Manifest& m, const Lines& lines) {
  const auto line = [&](std::string_view a, std::string_view b) {
    const auto at_a = lines.find(a), at_b = lines.find(b);
    return std::max({1, at_a == lines.end() ? 1 : at_a->second, at_b == lines.end() ? 1 : at_b->second});
  };
  if (m.is_code() && !m.model.empty())
    return refuse(line("runtime", "model"),
                  "runtime and model are both there: a function is code or a model in this release, leave one out");
  if (!m.is_code() && (!m.handler.empty() || !m.environment.empty() || !m.models.empty()))
    return refuse(std::max(line("handler", "environment"), line("models", "models")),
                  "handler, environment and models are for code: name its runtime, like python3.11");
  if (m.logging != Logging{} && (!m.is_code() || m.serves_http()))
    return refuse(line("runtime", "logging"), "logging is for code by AWS Lambda's contract: its runtime does it; leave it out");
  if (m.logging.format == LogFormat::text && m.logging != Logging{})
    return refuse(line("logging", "logging"), "levels of logging are of the format json: write {format: json, level: warn}");
  if (!m.is_code() && m.network.reach != Reach::none)
    return refuse(line("network", "model"), "network is for code: a model reaches nothing; leave it out");
  if (m.is_code() && m.optimize)
    return refuse(line("runtime", "optimize"), "optimize is for models: code stays as it is; leave it out");
  if (!m.layers.empty() && (!m.is_code() || m.is_container()))
    return refuse(line("layers", "runtime"), "layers are for code in a package: a model has none, a container's image has all it needs");
  if (!m.is_code() && m.build != Build::auto_)
    return refuse(line("build", "build"), "build is for code: name its runtime, like python3.11, or leave build out");
  if (m.protocol != Protocol::http1 && m.runtime != "http" && m.runtime != "container-http")
    return refuse(line("protocol", "runtime"), "protocol is for programs of your own that serve HTTP: runtime http, or container-http");
  if (m.serves_http() && !m.models.empty())
    return refuse(line("runtime", "models"), "models of a program that serves HTTP are not supported by this release: leave them out");
  if (!m.is_container() && m.image != Image{})
    return refuse(line("runtime", "image"), "image is for containers: write runtime: container-http, or container-lambda");
  if (m.is_container()) TRY_VOID(check_container(m, line("runtime", "image")));
  if (m.runtime != "http" && !m.is_container() && m.handler.find(' ') != m.handler.npos)
    return refuse(line("runtime", "handler"),
                  "the handler " + in_quotes(m.handler) + " has a space: a command with arguments is runtime http's");
  if (m.runtime == "http" && m.handler.find_first_not_of(' ') == m.handler.npos)
    return refuse(line("runtime", "handler"), "runtime http runs a command: write handler: ./server, or handler: python3 server.py");
  if (m.runtime.starts_with("functions-framework-")) {
    if (m.handler.empty())
      return refuse(line("runtime", "handler"), "runtime " + m.runtime + " calls a function: write its name as handler (--target)");
    const auto signature = std::ranges::find(m.environment, "FUNCTION_SIGNATURE_TYPE", &std::pair<std::string, std::string>::first);
    if (signature != m.environment.end() &&
        signature->second != "http" && signature->second != "cloudevent" && signature->second != "event")
      return refuse(line("runtime", "environment"), "FUNCTION_SIGNATURE_TYPE " + in_quotes(signature->second) +
                                                        " is no signature: write http, cloudevent or event (--signature)");
  }
  if (!m.runtime.starts_with("python") && m.fork != Forks::auto_)
    return refuse(line("runtime", "fork"), "fork is for code in Python: name its runtime, like python3.11, or leave fork out");
  const bool wants_file = m.runtime.starts_with("python") || m.runtime.starts_with("nodejs");
  if (m.runtime.starts_with("java") && m.handler.empty())
    return refuse(line("runtime", "handler"), "no handler: write handler: package.Class::method");
  if (wants_file && m.handler.find('.') == m.handler.npos)
    return refuse(line("runtime", "handler"), "the handler " + in_quotes(m.handler) + " names no function: write handler: file.function");
  if (!m.is_code() && m.scaling.freeze_after)
    return refuse(line("scaling.freeze_after", "model"), "scaling.freeze_after is for code: a model's idle instances use no CPU, and share "
                                                         "their memory. Leave it out");
  if (m.scaling.min > m.scaling.max)
    return refuse(line("scaling.min", "scaling.max"), "scaling.min " + std::to_string(m.scaling.min) + " is more than scaling.max " +
                                                          std::to_string(m.scaling.max) + ": raise max or lower min");
  if (m.scaling.reserved > m.scaling.max)
    return refuse(line("scaling.reserved", "scaling.max"), "scaling.reserved " + std::to_string(m.scaling.reserved) +
                                                               " is more than scaling.max " + std::to_string(m.scaling.max) +
                                                               ": raise max or lower reserved");
  if (m.batch.wait_max >= m.resources.timeout)
    return refuse(
        line("batch.wait_max", "resources.timeout"),
        "batch.wait_max " + exact(m.batch.wait_max) + " leaves no time to answer within resources.timeout " + exact(m.resources.timeout));
  if (m.scaling.target_p99 && *m.scaling.target_p99 > m.resources.timeout)
    return refuse(line("scaling.target.p99", "resources.timeout"),
                  "scaling.target.p99 " + exact(*m.scaling.target_p99) + " is more than resources.timeout " + exact(m.resources.timeout));
  if (m.scaling.target_p99 && m.batch.wait_max >= *m.scaling.target_p99)
    return refuse(line("scaling.target.p99", "batch.wait_max"), "batch.wait_max " + exact(m.batch.wait_max) +
                                                                    " leaves no time to answer within scaling.target.p99 " +
                                                                    exact(*m.scaling.target_p99));
  std::size_t labels = 0;  // at most, as JSON: each character with a backslash, quotes, a comma
  for (const std::string& label : m.labels) labels += 2 * label.size() + 3;
  if (labels > kManifestMax / 2 && to_json(m).size() > kManifestMax)
    return refuse(line("labels", "labels"), "the labels take more than 64 KiB in all: shorten them");
  return {};
}

Result<Manifest> read(const Result<Tree>& tree) {
  if (!tree) return fail(tree.error());
  Manifest manifest;
  Lines lines;
  TRY_VOID(read_section(*tree, "", kTop, kTopLater, manifest, lines));
  if (manifest.image.is_wanted() && manifest.runtime.empty()) manifest.runtime = kContainerByImage;
  TRY_VOID(check_together(manifest, lines));
  return manifest;
}

}  // namespace

Result<Manifest> parse_manifest(std::string_view yaml) {
  if (yaml.size() > kManifestMax) return refuse(1, "a manifest of " + std::to_string(yaml.size()) + " bytes: at most 64 KiB");
  return read(tree_from_yaml(yaml));
}

Result<Manifest> manifest_from_json(std::string_view json) {
  if (json.size() > kManifestMax) return refuse(1, "a manifest of " + std::to_string(json.size()) + " bytes: at most 64 KiB");
  return read(tree_from_json(json));
}

std::string to_json(const Manifest& m) {
  nlohmann::ordered_json scaling = {{"min", m.scaling.min}, {"max", m.scaling.max}, {"reserved", m.scaling.reserved}};
  scaling["concurrency"] = m.scaling.concurrency ? nlohmann::ordered_json(*m.scaling.concurrency) : nlohmann::ordered_json("auto");
  scaling["keep_alive"] = m.scaling.keep_alive ? exact(*m.scaling.keep_alive) : "auto";
  if (const auto& after = m.scaling.freeze_after) scaling["freeze_after"] = *after == Duration{} ? "never" : exact(*after);
  if (m.scaling.target_p99) scaling["target"] = {{"p99", exact(*m.scaling.target_p99)}};
  auto environment = nlohmann::ordered_json::object();
  for (const auto& [name, value] : m.environment) environment[name] = value;
  nlohmann::ordered_json network = kReaches[static_cast<std::size_t>(m.network.reach)];
  if (m.network.reach == Reach::outbound) network = {{"outbound", m.network.outbound}};
  nlohmann::ordered_json json = {
      {"name", m.name}, {"model", m.model}, {"runtime", m.runtime == kContainerByImage ? "" : m.runtime},
      {"handler", m.handler}, {"environment", environment},
      {"fork", kForks[static_cast<std::size_t>(m.fork)]}, {"build", kBuilds[static_cast<std::size_t>(m.build)]}, {"models", m.models},
      {"network", network},
      {"task", m.task}, {"labels", m.labels},
      {"resources", {{"memory", exact(m.resources.memory)}, {"cpu", m.resources.cpu}, {"timeout", exact(m.resources.timeout)}}},
      {"scaling", scaling},
      {"batch", {{"rows_max", m.batch.rows_max}, {"wait_max", exact(m.batch.wait_max)}}},
      {"input", {{"bytes_max", exact(m.body_max)}}},
      {"queue", {{"max", m.queue_max}}}};
  if (m.is_container()) json["image"] = image_json(m.image);
  if (!m.layers.empty()) json["layers"] = m.layers;
  if (m.optimize) json["optimize"] = nlohmann::ordered_json::parse(to_manifest(*m.optimize));
  if (m.protocol != Protocol::http1) json["protocol"] = kProtocols[static_cast<std::size_t>(m.protocol)];
  if (m.logging.format == LogFormat::json) json["logging"]["format"] = "json";
  for (const auto& [key, level] : {std::pair{"level", m.logging.level}, {"system_level", m.logging.system_level}})
    if (level != Level::none) json["logging"][key] = name(level);
  return json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

}  // namespace mayfly::domain
