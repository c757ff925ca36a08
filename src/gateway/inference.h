// Calls of functions over HTTP: the Open Inference Protocol V2's infer in all its forms (JSON, with binary
// tensors, raw), the plain form, POST /functions/NAME[:QUALIFIER], AWS Lambda's Invoke, and any method at and below
// /functions/NAME[:QUALIFIER] for functions that are programs which serve HTTP (gateway/forward.h). Turns a request into a
// serve::Invocation and its reply back into HTTP; looks at headers only, never at a tensor.
//
// Promises: each call is invoked once, and its ticket is closed by sent() or cancel() exactly once; a client that
// leaves cancels; X-Request-Id is echoed or made; steady traffic allocates nothing here but the body's string.
#pragma once
#include <array>
#include <deque>
#include <string>
#include <string_view>
#include <vector>

#include "base/random.h"
#include "control/control.h"
#include "gateway/call_in_pieces.h"
#include "gateway/http_server.h"
#include "gateway/request_id.h"
#include "gateway/router.h"
#include "jobs/event_queue.h"
#include "serve/invocation.h"

namespace mayfly::gateway {

// {"error": "text"}, the protocol's form, with the status of its code.
[[nodiscard]] HttpReply v2_error_reply(const Error& error);
[[nodiscard]] HttpReply v2_error_form(int status, const Error& error, std::string_view path);  // the same, as an ErrorForm
// A version 00 traceparent (W3C Trace Context) that is well formed.
[[nodiscard]] bool valid_traceparent(std::string_view text);

class Inference {
 public:
  // What is given must outlive the server's last connection; so must this.
  // Without `events` calls that nobody waits for are refused.
  Inference(serve::Invoker& invoker, control::Control& control, HttpServer& server, jobs::EventQueue* events = nullptr);
  Inference(const Inference&) = delete;
  Inference& operator=(const Inference&) = delete;

  void add_routes(Router& router);
  void add_v2_routes(Router& router);            // those of the Open Inference Protocol alone
  std::size_t in_flight() const { return calls_.size() - free_.size(); }

 private:
  // One call, from its request to the last byte of its answer.
  enum class Form : std::uint8_t { plain, v2, lambda, lambda_stream, http };  // lambda_stream: of InvokeWithResponseStream
  static bool is_lambda(Form form) { return form == Form::lambda || form == Form::lambda_stream; }
  struct Call final : CallInPieces {
    explicit Call(Inference& i) : in(i) {}
    void on_reply(Ticket t, serve::InvocationReply&& reply) override { in.on_reply(*this, t, std::move(reply)); }
    void on_piece(Ticket, std::string_view bytes) override { write(in.invoker_, bytes); }
    void on_end(Ticket, serve::InvocationReply&& end) override { in.on_end(*this, std::move(end)); }
    void put(std::string_view bytes) override;   // as messages, of an event stream
    void on_gone() override { in.on_gone(*this); }
    void on_drained() override { drained(in.invoker_); }
    void on_sent(Instant when, std::uint64_t bytes) override { in.on_sent(*this, when, bytes); }

    Inference& in;
    std::uint64_t id_high = 0, id_low = 0;
    std::array<char, kRequestIdMax> id;
    std::uint8_t id_size = 0;
    std::array<char, 55> trace;                  // traceresponse, where traced
    bool traced = false;
    Form form{};
    bool log = false;                            // what the code printed is wanted, too
    std::string function;                        // … of Lambda's: whose memory is told then
  };
  struct Wanted {                                // the headers that matter here
    std::string_view request_id, traceparent, timeout, json_size, encoding;
    std::string_view invocation_type, log_type, amazon_trace, client_context;  // of Lambda's
    bool respond_async = false;                  // Prefer: respond-async (RFC 7240)
    bool log = false;                            // X-Mayfly-Log: tail
  };

  void add_call(Router& router, std::string_view pattern, Handler handler);
  [[nodiscard]] static Wanted read_headers(const HttpRequest& request);
  Call& take(const Responder& to, const Wanted& wanted, Form form);
  void set_id(Call& call, std::string_view sent);
  void set_trace(Call& call, std::string_view parent);
  void infer(HttpRequest& request, const Responder& to, std::string_view qualifier);
  void plain(HttpRequest& request, const Responder& to);
  void http(HttpRequest& request, const Responder& to, std::string_view target);
  void refuse_method(const HttpRequest& request, Call& call, std::string_view name, std::string_view qualifier);
  void answer_http(Call& call, serve::InvocationReply&& reply);
  // Answers in pieces (inference_parts.cpp).
  void begin_answer(Call& call, serve::InvocationReply&& reply);
  [[nodiscard]] std::string last_events(Call& call, const serve::InvocationReply& end);
  void answer_events(Call& call, serve::InvocationReply&& reply);   // of a whole reply
  [[nodiscard]] std::string log_result(const Call& call, const serve::InvocationReply& reply) const;
  void on_end(Call& call, serve::InvocationReply&& end);
  void add_phases(const serve::InvocationReply& reply);
  void invoke_lambda(HttpRequest& request, const Responder& to, Form form);
  // Keeps the call, and answers when it is kept: 202.
  void accept_event(HttpRequest& request, Call& call, std::string_view function, std::string_view qualifier, std::string_view context);
  void invoke(HttpRequest& request, Call& call, const Wanted& wanted, serve::Invocation&& invocation);
  void on_reply(Call& call, Ticket ticket, serve::InvocationReply&& reply);
  void refuse(Call& call, const Error& error, int version = 0, std::string_view log = {});
  void answer_lambda(Call& call, serve::InvocationReply&& reply);
  void begin_headers(const Call& call, int version);
  void on_gone(Call& call);
  void on_sent(Call& call, Instant when, std::uint64_t bytes);
  void release(Call& call);
  [[nodiscard]] Result<std::uint64_t> body_limit(const HttpRequest& request) const;

  serve::Invoker& invoker_;
  control::Control& control_;
  HttpServer& server_;
  jobs::EventQueue* const events_;
  Random random_;
  std::deque<Call> calls_;
  std::vector<Call*> free_;
  std::uint64_t uses_ = 0;
  std::string headers_;                          // of the answer being written
};

}  // namespace mayfly::gateway
