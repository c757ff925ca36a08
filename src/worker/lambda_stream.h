// A response that a Lambda runtime streams (Lambda-Runtime-Function-Response-Mode: streaming), on its way to a caller who takes parts:
// the program's bytes as they are, or behind an HTTP head. That is made of the prelude where the response has one (Content-Type
// application/vnd.awslambda.http-integration-response: a JSON object {statusCode, headers, cookies}, eight zero bytes, the body).
//
// Promises: nothing is sent before the prelude is whole and right; at most `size_max` bytes are; after a failure nothing is.
#pragma once
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "worker/reply_stream.h"
#include "worker/runtime_api.h"

namespace mayfly::worker {

// Of the JSON of a prelude: status line and headers, with the empty line. Error: what is wrong with it.
[[nodiscard]] Result<std::string> head_of_prelude(std::string_view json);

class LambdaStream {
 public:
  struct Options {
    std::uint64_t ticket = 0;
    bool http = false;               // the caller wants an HTTP head
    std::string content_type;        // as the runtime says; "": application/octet-stream
    std::uint64_t size_max = 20 << 20;
  };
  LambdaStream(os::Loop& loop, FrameLink& link, Options options, std::function<void()> resumed);

  void write(std::string_view bytes);
  void taken(std::uint64_t bytes) { if (stream_) stream_->taken(bytes); }
  // The response has ended: what was not begun is, and an unfinished prelude is a failure.
  void finish();
  bool full() const { return stream_ && stream_->full(); }
  bool begun() const { return stream_ && stream_->begun(); }
  std::uint64_t ticket() const { return options_.ticket; }
  std::uint64_t bytes() const { return bytes_; }
  // An error is told when the response ends, or at once where that may never be: it is too large.
  const std::optional<FunctionError>& error() const { return error_; }
  bool too_large() const { return bytes_ > options_.size_max; }

 private:
  void begin(std::string head);
  void fail_with(std::string_view type, const std::string& message);

  os::Loop& loop_;
  FrameLink& link_;
  const Options options_;
  const std::function<void()> resumed_;
  std::optional<ReplyStream> stream_;
  std::string prelude_;              // while it is not whole
  std::uint64_t bytes_ = 0;
  std::optional<FunctionError> error_;
};

}  // namespace mayfly::worker
