// Calls of functions' URLs (domain/function_url.h), at /lambda-url/ID/… and for any path where the Host is a URL's own. Finds the URL,
// answers preflights, looks at signatures, and hands the request on: to a program that serves HTTP as it is, to code as an event, to a
// model as its input. Built by gateway/gateway.h, driven by the server.
//
// Promises: each call is invoked once, and its ticket is closed by sent() or cancel() exactly once; a client that leaves cancels; what
// a function wrote is read by gateway/forward.h alone. Who calls may be anybody: of a function's errors no word is told.
// An answer comes whole, but that of a program that serves HTTP, and what a function streams where the URL's InvokeMode is
// RESPONSE_STREAM: those come as they are made.
#pragma once
#include <deque>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/random.h"
#include "base/turn.h"
#include "control/control.h"
#include "gateway/call_in_pieces.h"
#include "gateway/http_server.h"
#include "gateway/router.h"
#include "gateway/sigv4.h"
#include "serve/invocation.h"

namespace mayfly::gateway {

class FunctionUrls {
 public:
  // What is given must outlive the server's last connection; so must this.
  struct World {
    serve::Invoker& invoker;
    control::Control& control;
    HttpServer& server;
    const Turn& turn;
    const sigv4::Keys& keys;
  };
  explicit FunctionUrls(World world);
  FunctionUrls(const FunctionUrls&) = delete;
  FunctionUrls& operator=(const FunctionUrls&) = delete;

  void add_routes(Router& router);

 private:
  struct Call final : CallInPieces {
    explicit Call(FunctionUrls& i) : in(i) {}
    void on_reply(Ticket t, serve::InvocationReply&& reply) override { in.on_reply(*this, t, std::move(reply)); }
    void on_piece(Ticket, std::string_view bytes) override { write(in.invoker_, bytes); }
    void on_end(Ticket, serve::InvocationReply&& end) override { in.end(*this, std::move(end)); }
    void on_drained() override { drained(in.invoker_); }
    void on_gone() override {
      if (const Ticket t = in.release(*this)) in.invoker_.cancel(t);
    }
    void on_sent(Instant when, std::uint64_t bytes) override {
      if (const Ticket t = in.release(*this)) in.invoker_.sent(t, when, bytes);
    }

    FunctionUrls& in;
    std::uint64_t id_high = 0, id_low = 0;
    std::string headers;                         // of its answer, whatever that is
    bool has_cors = false;
    bool asking = false;                         // inside invoke()
  };

  void call(HttpRequest& request, const Responder& to, std::string_view path);
  [[nodiscard]] bool may_call(const domain::FunctionUrl& url, const HttpRequest& request, const Call& call);
  Call& take(const Responder& to, const HttpRequest& request, const domain::FunctionUrl& url);
  [[nodiscard]] std::string trace_of(const HttpRequest& request);
  void invoke(HttpRequest& request, Call& call, serve::Invocation&& invocation);
  void on_reply(Call& call, Ticket ticket, serve::InvocationReply&& reply);
  void answer(Call& call, serve::InvocationReply&& reply);
  void begin(Call& call, serve::InvocationReply&& reply);
  void end(Call& call, serve::InvocationReply&& end);
  void refuse(Call& call, const Error& error);
  void send(const Call& call, const HttpReply& reply);
  Ticket release(Call& call);                    // what it had

  serve::Invoker& invoker_;
  control::Control& control_;
  HttpServer& server_;
  const Turn& turn_;
  const sigv4::Keys& keys_;
  Random random_;
  std::deque<Call> calls_;
  std::vector<Call*> free_;
  std::uint64_t uses_ = 0;
};

}  // namespace mayfly::gateway
