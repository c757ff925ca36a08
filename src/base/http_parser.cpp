#include "base/http_parser.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstring>

namespace mayfly {
namespace {

constexpr std::uint8_t kToken = 1, kValue = 2, kTarget = 4, kHost = 8;

constexpr std::array<std::uint8_t, 256> kClasses = [] {
  std::array<std::uint8_t, 256> classes{};
  for (unsigned c = 0; c < 256; ++c) {
    const char ch = static_cast<char>(c);
    const bool alnum = (ch >= 'a' && ch <= 'z') || (ch >= 'A' && ch <= 'Z') || (ch >= '0' && ch <= '9');
    if (alnum || (c > 0 && c < 128 && std::string_view("!#$%&'*+-.^_`|~").find(ch) != std::string_view::npos)) classes[c] |= kToken;
    if (c == '\t' || (c >= 0x20 && c != 0x7f)) classes[c] |= kValue;
    if (c > 0x20 && c < 0x7f && ch != '#') classes[c] |= kTarget;
    if (alnum || (c > 0 && c < 128 && std::string_view("-._~%!$&'()*+,;=:[]").find(ch) != std::string_view::npos)) classes[c] |= kHost;
  }
  return classes;
}();

bool is(char c, std::uint8_t wanted) { return kClasses[static_cast<std::uint8_t>(c)] & wanted; }

Method method_named(std::string_view word) {
  switch (word.size()) {
    case 3: return word == "GET" ? Method::get : word == "PUT" ? Method::put : Method::other;
    case 4: return word == "POST" ? Method::post : word == "HEAD" ? Method::head : Method::other;
    case 5: return word == "PATCH" ? Method::patch : Method::other;
    case 6: return word == "DELETE" ? Method::delete_ : Method::other;
    case 7: return word == "OPTIONS" ? Method::options : Method::other;
    default: return Method::other;
  }
}

// One pass over a head. Every step returns false once the verdict is known (refused, or not enough bytes).
class HeadReader {
 public:
  HeadReader(std::string_view bytes, std::span<HttpHeader> storage, HttpRequestHead& head)
      : begin_(bytes.data()), at_(begin_), end_(begin_ + std::min(bytes.size(), kHeadMax)), full_(bytes.size() >= kHeadMax),
        storage_(storage), head_(head) {}

  HeadVerdict read() {
    head_ = {};
    if (read_request_line() && read_headers() && conclude()) {
      verdict_.kind = HeadVerdict::complete;
      verdict_.used = static_cast<std::size_t>(at_ - begin_);
    }
    return verdict_;
  }

 private:
  bool refuse(int status, const char* reason) {
    verdict_ = {HeadVerdict::refused, status, 0, reason};
    return false;
  }
  bool starve(int status_when_full, const char* reason_when_full) {
    return full_ ? refuse(status_when_full, reason_when_full) : false;
  }
  bool starve_line() { return starve(414, "the request line is longer than 16 KiB"); }
  bool starve_headers() { return starve(431, "request line and headers are longer than 16 KiB together"); }

  bool skip_empty_line() {  // some clients send one after a body
    if (at_ == end_) return starve_line();
    if (*at_ != '\r') return true;
    if (end_ - at_ < 2) return starve_line();
    if (at_[1] != '\n') return refuse(400, "a bare CR where the request line was expected");
    at_ += 2;
    return true;
  }

  bool read_request_line() {
    if (!skip_empty_line()) return false;
    const char* start = at_;
    while (at_ != end_ && is(*at_, kToken)) ++at_;
    if (at_ == end_) return starve_line();
    if (*at_ != ' ' || at_ == start || at_ - start > 32) return refuse(400, "the request line does not begin with a method and one space");
    head_.method_text = {start, static_cast<std::size_t>(at_ - start)};
    head_.method = method_named(head_.method_text);
    start = ++at_;
    while (at_ != end_ && is(*at_, kTarget)) ++at_;
    if (at_ == end_) return starve_line();
    if (*at_ != ' ') return refuse(400, "the request's target has a character that must be percent-encoded, or no HTTP version follows it");
    const std::string_view target(start, static_cast<std::size_t>(at_ - start));
    ++at_;
    return read_version() && read_target(target);
  }

  bool read_version() {
    constexpr std::string_view kVersion = "HTTP/1.";
    if (end_ - at_ < 10) {
      const std::string_view there(at_, static_cast<std::size_t>(end_ - at_));
      const std::size_t known = std::min(there.size(), kVersion.size());
      if (there.substr(0, known) != kVersion.substr(0, known) || there.find('\n') != there.npos) return refuse_version(there);
      return starve_line();
    }
    const std::string_view there(at_, 10);
    if (!there.starts_with(kVersion) || (there[7] != '0' && there[7] != '1')) return refuse_version(there);
    if (there[8] != '\r' || there[9] != '\n') return refuse(400, "the request line does not end with CR LF");
    head_.http_1_0 = there[7] == '0';
    head_.keep_alive = !head_.http_1_0;
    at_ += 10;
    return true;
  }
  bool refuse_version(std::string_view there) {
    if (there.starts_with("HTTP/") && there.size() > 5 && there[5] >= '2' && there[5] <= '9')
      return refuse(505, "this port speaks HTTP/1.1 and HTTP/1.0");
    return refuse(400, "the request line does not end with HTTP/1.1 or HTTP/1.0");
  }

  bool read_target(std::string_view target) {
    if (target == "*") {
      head_.path = target;
      return head_.method == Method::options || refuse(400, "the target * is for OPTIONS only");
    }
    if (target.empty() || target[0] != '/') {  // absolute form, as to a proxy
      const std::size_t scheme = target.find("://");
      if (scheme == target.npos || !(same_word(target.substr(0, scheme), "http") || same_word(target.substr(0, scheme), "https")))
        return refuse(400, "the request's target is neither a path nor an http URL");
      const std::string_view rest = target.substr(scheme + 3);
      const std::size_t path = std::min(rest.find_first_of("/?"), rest.size());
      if (path == 0) return refuse(400, "the request's target is an URL without a host");
      for (const char c : rest.substr(0, path))
        if (!is(c, kHost)) return refuse(400, "the host in the request's target is not one");
      target = rest.substr(path);
    }
    const std::size_t mark = target.find('?');
    head_.path = target.substr(0, mark);
    if (mark != target.npos) head_.query = target.substr(mark + 1);
    if (head_.path.empty()) head_.path = "/";
    return true;
  }

  bool read_headers() {
    std::size_t count = 0;
    for (;;) {
      if (at_ == end_) return starve_headers();
      if (*at_ == '\r') {
        if (end_ - at_ < 2) return starve_headers();
        if (at_[1] != '\n') return refuse(400, "a bare CR in the headers");
        at_ += 2;
        head_.headers = storage_.first(count);
        return true;
      }
      if (count == storage_.size()) return refuse(431, "more than 100 headers");
      HttpHeader& header = storage_[count++];
      if (!read_header(header) || !note(header)) return false;
    }
  }

  bool read_header(HttpHeader& header) {
    const char* name = at_;
    while (at_ != end_ && is(*at_, kToken)) ++at_;
    if (at_ == end_) return starve_headers();
    if (at_ == name) return refuse(400, *at_ == ' ' || *at_ == '\t' ? "a header goes on over several lines; put it on one"
        : "a header's name has a character that names can't have");
    if (*at_ != ':') return refuse(400, *at_ == ' ' || *at_ == '\t' ? "space between a header's name and its colon"
        : "a header without a colon, or with a character that names can't have");
    header.name = {name, static_cast<std::size_t>(at_ - name)};
    ++at_;
    while (at_ != end_ && (*at_ == ' ' || *at_ == '\t')) ++at_;
    const char* value = at_;
    while (at_ != end_ && is(*at_, kValue)) ++at_;
    if (at_ == end_) return starve_headers();
    if (*at_ != '\r') return refuse(400, *at_ == '\n' ? "a header line that ends with LF alone; it must be CR LF"
        : "a control character in a header's value");
    if (end_ - at_ < 2) return starve_headers();
    if (at_[1] != '\n') return refuse(400, "a bare CR in a header's value");
    const char* last = at_;
    while (last != value && (last[-1] == ' ' || last[-1] == '\t')) --last;
    header.value = {value, static_cast<std::size_t>(last - value)};
    at_ += 2;
    return true;
  }

  // What the framing of messages depends on.
  bool note(const HttpHeader& header) {
    switch (header.name.size()) {
      case 4: return !same_word(header.name, "host") || note_host(header.value);
      case 6: return !same_word(header.name, "expect") || note_expect(header.value);
      case 10: if (same_word(header.name, "connection")) note_connection(header.value); return true;
      case 14: return !same_word(header.name, "content-length") || note_length(header.value);
      case 17: return !same_word(header.name, "transfer-encoding") || note_encoding(header.value);
      default: return true;
    }
  }
  bool note_host(std::string_view value) {
    if (hosts_++) return refuse(400, "more than one Host header");
    for (const char c : value)
      if (!is(c, kHost)) return refuse(400, "the Host header's value is not a host");
    return true;
  }
  bool note_expect(std::string_view value) {
    if (!same_word(value, "100-continue")) return refuse(417, "the only expectation known is 100-continue");
    head_.expects_continue = !head_.http_1_0;
    return true;
  }
  void note_connection(std::string_view value) {
    while (!value.empty()) {
      const std::size_t comma = std::min(value.find(','), value.size());
      std::string_view word = value.substr(0, comma);
      while (!word.empty() && (word.front() == ' ' || word.front() == '\t')) word.remove_prefix(1);
      while (!word.empty() && (word.back() == ' ' || word.back() == '\t')) word.remove_suffix(1);
      if (same_word(word, "close")) closes_ = true;
      else if (same_word(word, "keep-alive")) head_.keep_alive = true;
      value.remove_prefix(std::min(comma + 1, value.size()));
    }
  }
  bool note_length(std::string_view value) {
    if (lengths_++) return refuse(400, "more than one Content-Length header");
    if (value.empty() || value.size() > 18) return refuse(400, "Content-Length is not a number of bytes");
    for (const char c : value)
      if (c < '0' || c > '9') return refuse(400, "Content-Length is not a plain number");
    std::from_chars(value.data(), value.data() + value.size(), head_.length);
    return true;
  }
  bool note_encoding(std::string_view value) {
    if (head_.chunked) return refuse(400, "more than one Transfer-Encoding header");
    if (head_.http_1_0) return refuse(400, "Transfer-Encoding in an HTTP/1.0 request");
    if (!same_word(value, "chunked")) return refuse(501, "the only Transfer-Encoding known is chunked");
    head_.chunked = true;
    return true;
  }

  bool conclude() {
    if (head_.chunked && lengths_) return refuse(400, "both Content-Length and Transfer-Encoding");
    if (!head_.http_1_0 && !hosts_) return refuse(400, "no Host header");
    if (closes_) head_.keep_alive = false;
    return true;
  }

  const char* begin_;
  const char* at_;
  const char* end_;
  bool full_;
  std::span<HttpHeader> storage_;
  HttpRequestHead& head_;
  HeadVerdict verdict_;
  int hosts_ = 0, lengths_ = 0;
  bool closes_ = false;
};

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

constexpr std::uint32_t kExtraMax = 8 * 1024;   // of a body's chunk extensions and trailers together

}  // namespace

HeadVerdict parse_head(std::string_view bytes, std::span<HttpHeader> storage, HttpRequestHead& head) {
  return HeadReader(bytes, storage.first(std::min(storage.size(), kHeadersMax)), head).read();
}

bool head_is_decided(std::string_view bytes, std::size_t& scanned) {
  if (bytes.size() >= kHeadMax) return true;
  for (;;) {
    const std::size_t at = bytes.find('\n', scanned);
    if (at == bytes.npos) break;
    scanned = at + 1;
    if (at == 0 || bytes[at - 1] != '\r') return true;                                      // a bare LF
    if (at >= 3 && bytes[at - 2] == '\n') return true;                                      // the empty line
  }
  scanned = bytes.size();
  return false;
}

bool ChunkDecoder::take(char c) {
  switch (state_) {
    case State::size_first:
    case State::size: {
      if (const int digit = hex_digit(c); digit >= 0) {
        if (++digits_ > 15) return refuse("a chunk's size has more than 15 digits");
        left_ = left_ << 4 | static_cast<unsigned>(digit);
        state_ = State::size;
        return true;
      }
      if (state_ == State::size_first) return refuse("a chunk does not begin with its size in hexadecimal");
      if (c == '\r') state_ = State::size_lf;
      else if (c == ';') state_ = State::extension;
      else return refuse("a chunk's size is not a plain hexadecimal number");
      return true;
    }
    case State::extension:
      if (c == '\r') { state_ = State::size_lf; return true; }
      if (!is(c, kValue)) return refuse("a control character in a chunk's extension");
      return ++extra_ <= kExtraMax || refuse("more than 8 KiB of chunk extensions and trailers");
    case State::size_lf:
      if (c != '\n') return refuse("a bare CR behind a chunk's size");
      state_ = left_ ? State::data : State::line_first;
      return true;
    case State::data_cr:
      state_ = State::data_lf;
      return c == '\r' || refuse("a chunk is longer than its size says");
    case State::data_lf:
      state_ = State::size_first;
      digits_ = 0;
      left_ = 0;
      return c == '\n' || refuse("a bare CR behind a chunk");
    case State::line_first:
      if (c == '\r') { state_ = State::end_lf; return true; }
      if (!is(c, kToken)) return refuse("a trailer does not begin with a name");
      state_ = State::line;
      return ++extra_ <= kExtraMax || refuse("more than 8 KiB of chunk extensions and trailers");
    case State::line:
      if (c == '\r') { state_ = State::line_lf; return true; }
      if (!is(c, kValue)) return refuse("a control character in a trailer");
      return ++extra_ <= kExtraMax || refuse("more than 8 KiB of chunk extensions and trailers");
    case State::line_lf:
      state_ = State::line_first;
      return c == '\n' || refuse("a bare CR in a trailer");
    case State::end_lf:
      finished_ = true;
      return c == '\n' || refuse("a bare CR behind the last chunk");
    case State::data: break;
  }
  return refuse("data where none was expected");
}

ChunkDecoder::Out ChunkDecoder::next(std::string_view bytes) {
  if (*reason_) return {Step::refused, 0, {}};
  std::size_t used = 0;
  while (!finished_) {
    if (used == bytes.size()) return {Step::more, used, {}};
    if (state_ == State::data) {
      const std::size_t size = static_cast<std::size_t>(std::min<std::uint64_t>(left_, bytes.size() - used));
      left_ -= size;
      if (left_ == 0) state_ = State::data_cr;
      return {Step::data, used + size, bytes.substr(used, size)};
    }
    if (!take(bytes[used])) return {Step::refused, used, {}};
    ++used;
  }
  return {Step::end, used, {}};
}

}  // namespace mayfly
