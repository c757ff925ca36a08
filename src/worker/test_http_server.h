// For tests: a program that serves HTTP as a script tells it, on the loop of the test.
#pragma once
#include <array>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "os/listener.h"
#include "os/loop.h"

namespace mayfly::worker {

class TestHttpServer final : public os::Watcher {
 public:
  struct Answer {
    std::string bytes;
    bool close = false;
  };
  // Of the connection by its number, and what has come on it since the last answer with bytes or a close; asked at each arrival.
  using Script = std::function<Answer(std::size_t connection, std::string_view come)>;

  TestHttpServer(os::Loop& loop, Script script)
      : loop_(loop), script_(std::move(script)), listener_(os::Listener::create("127.0.0.1:0").value()) {
    loop_.watch(listener_.fd(), os::kReadable, *this).value();
  }
  ~TestHttpServer() {
    peers_.clear();
    loop_.unwatch(listener_.fd());
  }
  TestHttpServer(const TestHttpServer&) = delete;

  const std::string& address() const { return listener_.address(); }
  std::size_t connections() const { return peers_.size(); }  // ever made
  bool left(std::size_t connection) const { return peers_.at(connection)->left; }
  void say(std::size_t connection, std::string_view bytes) { static_cast<void>(os::send(peers_.at(connection)->socket.get(), bytes)); }
  void close(std::size_t connection) { peers_.at(connection)->close(); }

  void on_events(std::uint32_t) override {
    while (auto socket = listener_.accept()) {
      if (!*socket) return;
      peers_.push_back(std::make_unique<Peer>(*this, std::move(*socket), peers_.size()));
    }
  }

 private:
  struct Peer final : os::Watcher {
    Peer(TestHttpServer& of, os::Fd its, std::size_t n) : in(of), socket(std::move(its)), number(n) {
      in.loop_.watch(socket.get(), os::kReadable, *this).value();
    }
    ~Peer() { close(); }
    void close() {
      if (socket) in.loop_.unwatch(socket.get());
      socket.reset();
    }
    void on_events(std::uint32_t) override {
      std::array<char, 64 * 1024> buffer;
      const os::Moved got = os::receive(socket.get(), buffer);
      if (got == os::kWouldBlock) return;
      if (got <= 0) {
        left = true;
        return close();
      }
      come.append(buffer.data(), static_cast<std::size_t>(got));
      const Answer answer = in.script_(number, come);
      if (answer.bytes.empty() && !answer.close) return;
      come.clear();
      static_cast<void>(os::send(socket.get(), answer.bytes));
      if (answer.close) close();
    }
    TestHttpServer& in;
    os::Fd socket;
    std::size_t number;
    std::string come;
    bool left = false;
  };

  os::Loop& loop_;
  Script script_;
  os::Listener listener_;
  std::vector<std::unique_ptr<Peer>> peers_;
};

}  // namespace mayfly::worker
