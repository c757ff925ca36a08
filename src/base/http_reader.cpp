#include "base/http_reader.h"

#include <algorithm>
#include <charconv>

#include "base/http.h"

namespace mayfly {
namespace {

std::unexpected<Error> broken(std::string what) { return fail(Code::data_loss, "the answer is not valid HTTP/1.1: " + std::move(what)); }

std::string_view trim(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t' || text.back() == '\r')) text.remove_suffix(1);
  return text;
}

}  // namespace

void HttpReader::begin(bool no_body) {
  state_ = State::head;
  head_.clear();
  line_.clear();
  left_ = 0;
  status_ = 0;
  keep_alive_ = true;
  no_body_ = no_body;
}

std::string_view HttpReader::header(std::string_view name) const {
  std::string_view rest = head_;
  for (auto end = rest.find('\n'); end != std::string_view::npos; end = rest.find('\n')) {
    rest.remove_prefix(end + 1);
    const std::string_view line = rest.substr(0, rest.find('\n'));
    const auto colon = line.find(':');
    if (colon == name.size() && same_word(line.substr(0, colon), name)) return trim(line.substr(colon + 1));
  }
  return {};
}

Result<void> HttpReader::read_head() {
  if (!head_.starts_with("HTTP/1.") || head_.size() < 12) return broken("it begins with '" + head_.substr(0, 16) + "'");
  const char* digits = head_.data() + 9;
  const auto [end, error] = std::from_chars(digits, digits + 3, status_);
  if (error != std::errc() || end != digits + 3 || status_ < 100) return broken("its status is '" + head_.substr(9, 3) + "'");
  if (status_ < 200) {  // interim: the real one follows
    begin(no_body_);
    return {};
  }
  const std::string_view connection = header("connection");
  keep_alive_ = !same_word(connection, "close") && (head_[7] == '1' || same_word(connection, "keep-alive"));
  if (no_body_ || status_ == 204 || status_ == 304) {
    state_ = State::done;
    return {};
  }
  if (same_word(header("transfer-encoding"), "chunked")) {
    state_ = State::chunk_size;
    return {};
  }
  const std::string_view length = header("content-length");
  if (length.empty()) {
    state_ = State::until_close;
    keep_alive_ = false;
    return {};
  }
  const auto [stop, wrong] = std::from_chars(length.data(), length.data() + length.size(), left_);
  if (wrong != std::errc() || stop != length.data() + length.size())
    return broken("Content-Length is '" + std::string(length.substr(0, 32)) + "'");
  state_ = left_ == 0 ? State::done : State::length;
  return {};
}

Result<std::size_t> HttpReader::feed_head(std::string_view bytes) {
  const std::size_t had = head_.size();
  const std::size_t from = had < 3 ? 0 : had - 3;
  head_.append(bytes);
  const auto end = head_.find("\r\n\r\n", from);
  if (end == std::string::npos) {
    if (head_.size() > kResponseHeadMax) return broken("its head has more than 64 KiB");
    return bytes.size();
  }
  const std::size_t taken = end + 4 - had;
  head_.resize(end + 2);
  TRY_VOID(read_head());
  return taken;
}

// A line of chunked coding; the whole line may come in pieces.
Result<std::size_t> HttpReader::feed_line(std::string_view bytes) {
  const auto end = bytes.find('\n');
  const std::size_t taken = end == std::string_view::npos ? bytes.size() : end + 1;
  line_.append(bytes.substr(0, taken));
  if (line_.size() > 4096) return broken("a line of its chunked body has more than 4 KiB");
  if (end != std::string_view::npos) {
    TRY_VOID(take_line());
    line_.clear();
  }
  return taken;
}

Result<void> HttpReader::take_line() {
  const std::string_view line = trim(std::string_view(line_).substr(0, line_.size() - 1));
  if (state_ == State::trailer) {
    if (line.empty()) state_ = State::done;
    return {};
  }
  if (state_ == State::chunk_end) {
    if (!line.empty()) return broken("a chunk is longer than it said");
    state_ = State::chunk_size;
    return {};
  }
  const std::string_view size = trim(line.substr(0, line.find(';')));
  const auto [stop, wrong] = std::from_chars(size.data(), size.data() + size.size(), left_, 16);
  if (wrong != std::errc() || stop != size.data() + size.size())
    return broken("a chunk's size is '" + std::string(size.substr(0, 32)) + "'");
  state_ = left_ == 0 ? State::trailer : State::chunk;
  return {};
}

Result<std::size_t> HttpReader::feed(std::string_view bytes, const std::function<void(std::string_view)>& body) {
  std::size_t taken = 0;
  while (taken < bytes.size() && state_ != State::done) {
    const std::string_view rest = bytes.substr(taken);
    if (state_ == State::head) {
      TRY(const std::size_t count, feed_head(rest));
      taken += count;
    } else if (state_ == State::until_close) {
      body(rest);
      taken = bytes.size();
    } else if (state_ == State::length || state_ == State::chunk) {
      const auto count = static_cast<std::size_t>(std::min<std::uint64_t>(left_, rest.size()));
      body(rest.substr(0, count));
      taken += count;
      left_ -= count;
      if (left_ == 0) state_ = state_ == State::length ? State::done : State::chunk_end;
    } else {
      TRY(const std::size_t count, feed_line(rest));
      taken += count;
    }
  }
  return taken;
}

bool HttpReader::closed() {
  if (state_ == State::until_close) state_ = State::done;
  return state_ == State::done;
}

}  // namespace mayfly
