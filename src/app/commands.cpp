#include "app/commands.h"

#include <poll.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>

#include "domain/json.h"
#include "gateway/lambda_forms.h"

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

// "ValueError: no such thing", of what the code told.
std::string function_error_text(const std::string& body) {
  const Json told = domain::parse_json<Json>(body);
  if (!told.is_object()) return "the answer says how";
  return printable(told.value("errorType", "Error") + ": " + told.value("errorMessage", ""));
}

std::string us_text(const Json& line, const char* key) { return to_text(Duration(line.value(key, std::int64_t{0}) * 1000)); }

}  // namespace

Result<std::vector<Json>> log_lines(const Context& context, const std::string& function, std::uint64_t after, int count,
                                    const std::string& more) {
  TRY(const HttpReply reply, context.client.call({.path = "/api/functions/" + encode(function) + "/logs?after=" + std::to_string(after) +
                                                          "&count=" + std::to_string(count) + more}));
  TRY_VOID(check(reply));
  std::vector<Json> lines;
  for (std::size_t at = 0; at < reply.body.size();) {
    const std::size_t end = std::min(reply.body.find('\n', at), reply.body.size());
    if (Json line = domain::parse_json<Json>(reply.body.substr(at, end - at)); line.is_object()) lines.push_back(std::move(line));
    at = end + 1;
  }
  return lines;
}

void pause(Duration wait) { ::poll(nullptr, 0, static_cast<int>(wait / std::chrono::milliseconds(1))); }

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
  const Json json = domain::parse_json<Json>(line);
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
    text += terminal.paint(level == "error" || level == "fatal" ? Tone::bad : level == "warn" ? Tone::warn : Tone::plain, level);
    if (json.contains("request_id")) text += "  " + terminal.paint(Tone::faint, printable(json.value("request_id", "").substr(0, 8)));
  }
  if (json.contains("message")) text += "  " + printable(json.value("message", ""));
  return text;
}

namespace {

// What the code printed last in this call, or why nothing started; "" where the node doesn't say.
std::string lines_of(const HttpReply& reply) {
  const auto told = gateway::lambda::from_base64(reply.head.header("X-Mayfly-Log"), "X-Mayfly-Log");
  if (told && !told->empty()) return *told;
  std::string text;
  const Json json = reply.ok() ? Json() : domain::parse_json<Json>(reply.body);
  const Json::json_pointer where("/error/details/log");
  if (!json.is_object() || !json.contains(where) || !json.at(where).is_array()) return text;
  for (const Json& line : json.at(where))
    if (line.is_string()) text += line.get<std::string>() + "\n";
  return text;
}

std::string printable_lines(const std::string& text, const std::string& before) {
  std::string out;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = std::min(text.find('\n', at), text.size());
    out += before + printable(text.substr(at, end - at)) + "\n";
    at = end + 1;
  }
  return out;
}

// Of one call, on stderr: between START and END what it printed. Its record is written when its answer has left.
void print_tail(const Context& context, const std::string& function, const HttpReply& reply) {
  constexpr int kLooks = 20;
  constexpr std::size_t kAlmostAll = 3500;  // of the 4 KiB that come with an answer
  const std::string id(reply.head.header("X-Request-Id"));
  Json record;
  std::string lines = lines_of(reply), written;
  for (int look = 0; look < kLooks && !record.is_object(); ++look) {
    const auto now = log_lines(context, function, 0, 10'000, "&request=" + encode(id));
    if (!now) break;
    written.clear();
    for (const Json& line : *now) {
      if (line.contains("outcome")) record = line;
      else written += line.value("message", "") + "\n";
    }
    if (!record.is_object()) pause(std::chrono::milliseconds(50));
  }
  if (lines.empty()) lines = written;       // of a program that serves HTTP
  std::string text = "START RequestId: " + printable(id) + "\n";
  if (lines.size() > kAlmostAll)
    text += "(the last lines; all that are kept: mayfly logs " + printable(function) + " --request " + printable(id) + ")\n";
  text += printable_lines(lines, "") + "END RequestId: " + printable(id) + "\n";
  if (record.is_object())
    text += "REPORT RequestId: " + printable(id) + "  " + record.value("outcome", "") + ", run " + us_text(record, "run_us") + ", total " +
            us_text(record, "total_us") + ", billed " + us_text(record, "billed_us") + "\n";
  std::fputs(text.c_str(), stderr);
}

}  // namespace

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
  if (options.event) {
    call.headers.push_back("Prefer: respond-async");
    TRY(const HttpReply kept, context.client.call(call));
    TRY_VOID(check(kept));
    print("kept as event " + printable(std::string(kept.head.header("X-Request-Id"))) + ": it runs until it has an outcome\n");
    return {};
  }
  const std::string function = options.function.substr(0, options.function.find(':'));
  if (options.tail) call.headers.push_back("X-Mayfly-Log: tail");
  TRY(const HttpReply reply, context.client.call(call));
  const bool own_error = !reply.head.header("X-Mayfly-Function-Error").empty();  // what the code raised is its answer
  if (reply.ok() || own_error) print(reply.body + (reply.body.ends_with('\n') ? "" : "\n"));
  if (options.tail) {
    std::fflush(stdout);  // the answer first, where both go to one place
    print_tail(context, function, reply);
  } else if (const std::string lines = own_error ? std::string() : lines_of(reply); !lines.empty()) {
    std::fputs(("what it printed last:\n" + printable_lines(lines, "  ")).c_str(), stderr);
  }
  if (own_error) return fail(Code::internal, "'" + options.function + "' failed: " + function_error_text(reply.body));
  TRY_VOID(check(reply));
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
  std::string path = base + "?count=" + std::to_string(options.count) + (options.follow ? "&follow=1" : "");
  for (const auto& [name, value] : {std::pair{"request", &options.request}, {"level", &options.level}, {"since", &options.since}})
    if (!value->empty()) path += std::string("&") + name + "=" + encode(*value);
  if (options.version > 0) path += "&version=" + std::to_string(options.version);
  TRY(const HttpReply reply, context.client.follow(path, [&](std::string_view line) {
    if (line.empty()) return true;
    print((context.json ? std::string(line) : log_text(context.terminal, std::string(line))) + "\n");
    std::fflush(stdout);
    return true;
  }));
  return check(reply);
}

}  // namespace mayfly::app
