#include "app/commands.h"

#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>

namespace mayfly::app {
namespace {

constexpr std::size_t kDataMax = std::size_t{64} << 20;

// Zeros of a shape whose variable dimensions are 1. Nested lists, as the plain form wants them.
Json zeros(const Json& shape, std::size_t at, const Json& zero) {
  if (at >= shape.size()) return zero;
  const auto size = std::max<std::int64_t>(1, shape[at].get<std::int64_t>());
  Json list = Json::array();
  for (std::int64_t i = 0; i < size; ++i) list.push_back(zeros(shape, at + 1, zero));
  return list;
}

Json zero_of(const std::string& datatype) {
  if (datatype == "BYTES") return "";
  if (datatype == "BOOL") return false;
  return 0;
}

std::string us_text(const Json& line, const char* key) { return to_text(Duration(line.value(key, std::int64_t{0}) * 1000)); }

}  // namespace

void print(std::string_view text) { std::fwrite(text.data(), 1, text.size(), stdout); }

void print_json(const Json& json) {
  print(json.dump(::isatty(STDOUT_FILENO) == 1 ? 2 : -1, ' ', false, Json::error_handler_t::replace) + "\n");
}

Result<std::string> read_data(const std::string& data) {
  if (!data.starts_with('@')) return data;
  const std::string location = data.substr(1);
  os::Fd file;
  if (location == "-") {
    file = os::Fd(::dup(STDIN_FILENO));
  } else {
    TRY(file, open_file(location));
  }
  std::string text;
  std::string buffer(64 * 1024, '\0');
  while (true) {
    const ssize_t count = ::read(file.get(), buffer.data(), buffer.size());
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return fail(Code::internal, "'" + location + "' can't be read: " + std::strerror(errno));
    if (count == 0) break;
    if (text.size() + static_cast<std::size_t>(count) > kDataMax)
      return fail(Code::internal, "'" + location + "' has more than " + to_text(Bytes{kDataMax}) + ": that is the most a call takes");
    text.append(buffer, 0, static_cast<std::size_t>(count));
  }
  return text;
}

std::string weights_text(const Json& weights) {
  if (weights.size() == 1) return "version " + std::to_string(weights[0].value("version", 0));
  std::string text;
  for (const Json& weight : weights)
    text += (text.empty() ? "" : ", ") + std::to_string(weight.value("version", 0)) + " " + percent(weight.value("share", 1.0));
  return text;
}

std::string tensors_text(const Json& tensors) {
  std::string text;
  for (const Json& tensor : tensors) {
    text += (text.empty() ? "" : ", ") + printable(tensor.value("name", "")) + " " + tensor.value("datatype", "") + "[";
    std::string dimensions;
    for (const Json& size : tensor.value("shape", Json::array()))
      dimensions +=
          (dimensions.empty() ? "" : ",") + (size.get<std::int64_t>() < 0 ? std::string("?") : std::to_string(size.get<std::int64_t>()));
    text += dimensions + "]";
  }
  return text;
}

Result<std::string> sample_body(const Json& signature, const std::string& format) {
  Json plain = Json::object(), v2 = Json::array();
  for (const Json& input : signature.value("inputs", Json::array())) {
    Json shape = input.value("shape", Json::array());
    std::int64_t count = 1;
    for (Json& size : shape) {
      size = std::max<std::int64_t>(1, size.get<std::int64_t>());
      count *= std::min<std::int64_t>(size.get<std::int64_t>(), 4'000'001);
      if (count > 4'000'000)
        return fail(Code::invalid_argument, "the input '" + input.value("name", "") + "' is too large to be made up: pass --data");
    }
    const Json data = zeros(shape, 0, zero_of(input.value("datatype", "")));
    plain[input.value("name", "")] = data;
    v2.push_back({{"name", input.value("name", "")}, {"shape", shape}, {"datatype", input.value("datatype", "")}, {"data", data}});
  }
  if (format == "plain") return plain.dump();
  Json body = Json::object();
  body["inputs"] = std::move(v2);
  return body.dump();
}

std::string log_text(const Terminal& terminal, const std::string& line) {
  const Json json = Json::parse(line, nullptr, false);
  if (!json.is_object()) return printable(line);
  const std::string time = json.value("time", ""), level = json.value("level", "info");
  std::string text = terminal.paint(Tone::faint, clock_of(time) + (time.size() > 23 ? time.substr(19, 4) : "")) + "  " +
                     (json.contains("function") ? json.value("function", "") + ":" + std::to_string(json.value("version", 0)) : "-") + "  ";
  if (json.contains("outcome")) {
    const std::string outcome = json.value("outcome", "");
    text += terminal.paint(outcome == "ok" ? Tone::good : Tone::bad, outcome) + "  " + us_text(json, "total_us") + " (queue " +
            us_text(json, "queue_us") + ", run " + us_text(json, "run_us") + ")  " + plural(json.value("rows", std::uint64_t{0}), "row") +
            "  " + json.value("start", "");
  } else {
    text += terminal.paint(level == "error" ? Tone::bad : level == "warn" ? Tone::warn : Tone::plain, level);
  }
  if (json.contains("message")) text += "  " + printable(json.value("message", ""));
  return text;
}

Result<void> invoke(const Context& context, const InvokeOptions& options) {
  TRY(std::string body, read_data(options.data));
  Call call{.method = "POST",
            .path = "/functions/" + encode(options.function),
            .body = std::move(body),
            .headers = {"Content-Type: application/json"},
            .wait_max = std::chrono::minutes(16)};
  if (!options.timeout.empty()) {
    TRY(const Duration timeout, parse_duration(options.timeout));
    call.headers.push_back("X-Mayfly-Timeout: " + options.timeout);
    call.wait_max = timeout + std::chrono::seconds(5);
  }
  TRY(const HttpReply reply, context.client.call(call));
  TRY_VOID(check(reply));
  print(reply.body);
  if (!reply.body.ends_with('\n')) print("\n");
  if (options.times) {
    std::fflush(stdout);  // the answer first, where both go to one place
    std::string text;
    for (const char* name : {"X-Mayfly-Version", "X-Mayfly-Cold", "Server-Timing", "X-Request-Id"})
      if (const auto value = reply.head.header(name); !value.empty()) text += std::string(name) + ": " + printable(value) + "\n";
    std::fputs(text.c_str(), stderr);
  }
  return {};
}

Result<void> logs(const Context& context, const LogsOptions& options) {
  const std::string base = options.function.empty() ? "/api/logs" : "/api/functions/" + encode(options.function) + "/logs";
  const std::string path = base + "?count=" + std::to_string(options.count) + (options.follow ? "&follow=1" : "");
  TRY(const HttpReply reply, context.client.follow(path, [&](std::string_view line) {
    if (line.empty()) return true;
    print((context.json ? std::string(line) : log_text(context.terminal, std::string(line))) + "\n");
    std::fflush(stdout);
    return true;
  }));
  return check(reply);
}

}  // namespace mayfly::app
