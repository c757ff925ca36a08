// A blocking HTTP client of one node, for the commands: one connection a call, every wait bounded. An
// Error of call(), upload() and follow() means that no answer came (Code::unavailable where nobody listens,
// deadline_exceeded, data_loss); an answer with any status is a value. check() turns it into the error
// that the command ends with: not_found stays, everything else is Code::internal, which is all that exit
// codes tell apart (app/cli.h).
#pragma once
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "app/address.h"
#include "base/http_reader.h"
#include "base/result.h"
#include "base/time.h"
#include "domain/json.h"

namespace mayfly::app {

using Json = nlohmann::ordered_json;

struct HttpReply {
  int status = 0;
  std::string body;
  HttpReader head;  // for header()
  bool ok() const { return status >= 200 && status < 300; }
};

struct Call {
  std::string method = "GET";
  std::string path;
  std::string body;
  std::vector<std::string> headers;              // "Name: value"
  Duration wait_max = std::chrono::seconds(30);  // without a byte from the node
  std::function<void()> waiting = {};            // called each second while it says nothing
};

constexpr std::size_t kReplyMax = std::size_t{1} << 30;

class Client {
 public:
  explicit Client(Address address) : address_(std::move(address)) {}
  const Address& address() const { return address_; }

  [[nodiscard]] Result<HttpReply> call(const Call& call) const;
  // The first `size` bytes of the file as the body of a PUT; progress(bytes sent) after every piece.
  [[nodiscard]] Result<HttpReply> upload(const std::string& path, int file, std::uint64_t size,
                                         const std::function<void(std::uint64_t)>& progress) const;
  // A GET whose answer stays open: each whole line goes to `line`, until it returns false or the node ends the answer.
  // An answer that is not 2xx comes back with its body.
  [[nodiscard]] Result<HttpReply> follow(const std::string& path, const std::function<bool(std::string_view)>& line) const;

  // call(), check() and parse: what most commands need.
  [[nodiscard]] Result<Json> json(const Call& call) const;
  [[nodiscard]] Result<Json> get(const std::string& path) const { return json({.path = path}); }

 private:
  [[nodiscard]] Result<os::Fd> open() const;
  [[nodiscard]] std::string head_of(const Call& call, std::uint64_t body_size) const;
  Address address_;
};

// The error in an answer that is not 2xx: the node's message, or the status where it says nothing.
[[nodiscard]] Error error_of(const HttpReply& reply);
[[nodiscard]] Result<void> check(const HttpReply& reply);

// The names nearest to a misspelt one, best first, at most `count`; none where nothing is near.
[[nodiscard]] std::vector<std::string> nearest(std::string_view name, const std::vector<std::string>& known, std::size_t count = 1);

}  // namespace mayfly::app
