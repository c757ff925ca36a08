#include "worker/lambda_stream.h"

#include <algorithm>
#include <utility>

#include "base/http.h"
#include "domain/json.h"

namespace mayfly::worker {
namespace {

using Json = nlohmann::json;

constexpr std::string_view kIntegration = "application/vnd.awslambda.http-integration-response";
constexpr std::size_t kPreludeMax = ReplyStream::kHeadMax / 2;
const std::string kPreludeEnd(8, '\0');

std::unexpected<Error> wrong(const std::string& what) { return fail(Code::invalid_argument, "the response's prelude: " + what); }

Result<void> add_header(std::string& head, std::string_view name, const Json& value) {
  const std::string text = value.is_string() ? value.get<std::string>() : value.dump();
  if (value.is_structured() || !is_header_name(name) || !is_header_value(text))
    return wrong("header '" + std::string(name.substr(0, 40)) + "' can't be sent");
  head.append(name).append(": ").append(text).append("\r\n");
  return {};
}

}  // namespace

Result<std::string> head_of_prelude(std::string_view text) {
  const Json json = domain::parse_json<Json>(text);
  if (!json.is_object()) return wrong("it is no JSON object");
  int status = 200;
  if (const auto at = json.find("statusCode"); at != json.end()) {
    if (!at->is_number_integer() || *at < 200 || *at > 599)
      return wrong("its statusCode is " + at->dump().substr(0, 40) + ", and not of 200 to 599");
    status = at->get<int>();
  }
  std::string head = "HTTP/1.1 " + std::to_string(status) + " \r\n";
  bool has_type = false;
  if (const auto at = json.find("headers"); at != json.end()) {
    if (!at->is_object()) return wrong("its headers are no object");
    for (const auto& [name, value] : at->items()) {
      has_type = has_type || same_word(name, "content-type");
      if (same_word(name, "content-length")) continue;  // what is streamed is of no length that anybody checked
      TRY_VOID(add_header(head, name, value));
    }
  }
  if (const auto at = json.find("cookies"); at != json.end()) {
    if (!at->is_array()) return wrong("its cookies are no list");
    for (const Json& cookie : *at) TRY_VOID(add_header(head, "Set-Cookie", cookie));
  }
  if (!has_type) head.append("Content-Type: application/octet-stream\r\n");
  return head + "\r\n";
}

LambdaStream::LambdaStream(os::Loop& loop, FrameLink& link, Options options, std::function<void()> resumed)
    : loop_(loop), link_(link), options_(std::move(options)), resumed_(std::move(resumed)) {
  if (!options_.http) begin("");
  if (!options_.http || options_.content_type == kIntegration) return;
  const bool sound = !options_.content_type.empty() && is_header_value(options_.content_type);
  begin("HTTP/1.1 200 \r\nContent-Type: " + (sound ? options_.content_type : "application/octet-stream") + "\r\n\r\n");
}

void LambdaStream::begin(std::string head) {
  stream_.emplace(loop_, link_, options_.ticket, std::move(head), resumed_);
}

void LambdaStream::write(std::string_view bytes) {
  bytes_ += bytes.size();
  if (too_large())
    return fail_with("Function.ResponseSizeTooLarge", "Response payload size exceeded maximum allowed payload size (" +
                                                          std::to_string(options_.size_max) + " bytes).");
  if (error_) return;
  if (stream_) return stream_->write(bytes);
  prelude_.append(bytes);
  const std::size_t end = prelude_.find(kPreludeEnd);
  if (end == prelude_.npos) {
    if (prelude_.size() > kPreludeMax)
      fail_with("Runtime.InvalidPrelude", "the response's prelude does not end within " + std::to_string(kPreludeMax) + " bytes");
    return;
  }
  const auto head = head_of_prelude(std::string_view(prelude_).substr(0, end));
  if (!head || head->size() > ReplyStream::kHeadMax)
    return fail_with("Runtime.InvalidPrelude", head ? "the response's headers are too large" : head.error().message);
  begin(*head);
  const std::string rest = std::exchange(prelude_, {}).substr(end + kPreludeEnd.size());
  stream_->write(rest);
}

void LambdaStream::finish() {
  if (error_) return;
  if (!stream_) return fail_with("Runtime.InvalidPrelude", "the response ended before its prelude did");
  if (!stream_->begun()) stream_->write({});
}

void LambdaStream::fail_with(std::string_view type, const std::string& message) {
  error_ = function_error(type, message);
}

}  // namespace mayfly::worker
