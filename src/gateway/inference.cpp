#include "gateway/inference.h"

#include <algorithm>
#include <charconv>
#include <utility>

#include "base/hex.h"
#include "base/units.h"
#include "domain/json.h"
#include "gateway/forward.h"
#include "gateway/lambda_forms.h"
#include "os/digest.h"
#include "os/listener.h"

namespace mayfly::gateway {
namespace {

using domain::WireFormat;

bool is_lower_hex(std::string_view text) { return text.find_first_not_of(kHexDigits) == text.npos; }

void append_number(std::string& out, std::uint64_t value) {
  char digits[24];
  out.append(digits, std::to_chars(digits, digits + sizeof digits, value).ptr);
}

// "queue;dur=1.234", in milliseconds.
void append_phase(std::string& out, std::string_view name, Duration duration) {
  const auto us = static_cast<std::uint64_t>(std::max<std::int64_t>(0, to_us(duration)));
  out.append(name).append(";dur=");
  append_number(out, us / 1000);
  const char fraction[4] = {'.', static_cast<char>('0' + us / 100 % 10), static_cast<char>('0' + us / 10 % 10),
                            static_cast<char>('0' + us % 10)};
  out.append(fraction, 4);
}

std::string_view cold_name(int cold) { return cold == 0 ? "warm" : cold == 1 ? "forked" : "artifact"; }

// One of the words of "respond-async, wait=10".
bool asks_async(std::string_view preferences) {
  constexpr std::string_view kWord = "respond-async";
  while (!preferences.empty()) {
    std::string_view one = preferences.substr(0, preferences.find(','));
    preferences.remove_prefix(std::min(preferences.size(), one.size() + 1));
    one.remove_prefix(std::min(one.find_first_not_of(" \t"), one.size()));
    if (same_word(one.substr(0, one.find_first_of(" \t;")), kWord)) return true;
  }
  return false;
}

// "fraud:live" -> "fraud", "live".
std::pair<std::string_view, std::string_view> split_target(std::string_view target) {
  const std::size_t colon = std::min(target.find(':'), target.size());
  return {target.substr(0, colon), target.substr(std::min(colon + 1, target.size()))};
}

}  // namespace

HttpReply v2_error_reply(const Error& error) {
  HttpReply reply = error_reply(error);
  reply.body = nlohmann::json{{"error", error.message}}.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
  return reply;
}

HttpReply v2_error_form(int status, const Error& error, std::string_view) {
  HttpReply reply = v2_error_reply(error);
  reply.status = status;
  return reply;
}

bool valid_traceparent(std::string_view text) {
  if (text.size() != 55 || !text.starts_with("00-") || text[35] != '-' || text[52] != '-') return false;
  const std::string_view trace = text.substr(3, 32), span = text.substr(36, 16);
  return is_lower_hex(trace) && is_lower_hex(span) && is_lower_hex(text.substr(53)) &&
         trace.find_first_not_of('0') != trace.npos && span.find_first_not_of('0') != span.npos;
}

Inference::Inference(serve::Invoker& invoker, control::Control& control, HttpServer& server, jobs::EventQueue* events)
    : invoker_(invoker), control_(control), server_(server), events_(events), random_(os::random_seed()) {}

void Inference::add_call(Router& router, std::string_view pattern, Handler handler) {
  router.add({.method = Method::post, .pattern = std::string(pattern), .handler = std::move(handler),
              .body_limit = [this](const HttpRequest& request) { return body_limit(request); }, .body_as_text = false});
}

void Inference::add_routes(Router& router) {
  add_call(router, "/functions/{name}", [this](HttpRequest& request, Responder to) { plain(request, to); });
  for (const Method method : {Method::get, Method::head, Method::post, Method::put, Method::delete_, Method::patch, Method::options,
                              Method::other}) {
    const auto any = [&](const char* pattern, Handler handler) {
      router.add({.method = method, .pattern = pattern, .handler = std::move(handler),
                  .body_limit = [this](const HttpRequest& request) { return body_limit(request); }, .body_as_text = false});
    };
    if (method != Method::post) any("/functions/{name}", [this](HttpRequest& request, Responder to) { http(request, to, "/"); });
    any("/functions/{name}/{path*}", [this](HttpRequest& request, Responder to) {
      if (request.method == Method::post && request.parameters[1] == "/") return plain(request, to);
      http(request, to, request.parameters[1]);
    });
  }
  add_call(router, "/2015-03-31/functions/{name}/invocations",
           [this](HttpRequest& request, Responder to) { invoke_lambda(request, to, Form::lambda); });
  add_call(router, "/2021-11-15/functions/{name}/response-streaming-invocations",
           [this](HttpRequest& request, Responder to) { invoke_lambda(request, to, Form::lambda_stream); });
  for (const char* pattern : {"/2014-11-13/functions/{name}/invoke-async", "/2014-11-13/functions/{name}/invoke-async/"})
    add_call(router, pattern, [this](HttpRequest& request, Responder to) {
      Call& call = take(to, read_headers(request), Form::lambda);
      const auto target = lambda::parse_target(request.parameters[0], "");
      if (!target) return refuse(call, target.error());
      accept_event(request, call, target->function, target->qualifier, "");
    });
  add_v2_routes(router);
}

void Inference::add_v2_routes(Router& router) {
  add_call(router, "/v2/models/{name}/infer", [this](HttpRequest& request, Responder to) { infer(request, to, ""); });
  add_call(router, "/v2/models/{name}/versions/{version}/infer",
           [this](HttpRequest& request, Responder to) { infer(request, to, request.parameters[1]); });
}

Result<std::uint64_t> Inference::body_limit(const HttpRequest& request) const {
  auto [name, qualifier] = split_target(request.parameters[0]);
  if (request.path.starts_with("/v2/")) qualifier = request.parameters[1];
  lambda::Target target;
  if (request.path.starts_with("/20")) {  // Lambda's versions of its API
    TRY(target, lambda::parse_target(request.parameters[0], request.query_value("Qualifier").value_or("")));
    name = target.function;
    qualifier = target.qualifier;
  }
  TRY(const domain::Version version, control_.resolve(name, qualifier));
  return version.manifest.body_max.count;
}

Inference::Wanted Inference::read_headers(const HttpRequest& request) {
  Wanted wanted;
  for (const HttpHeader& header : request.headers) {
    switch (header.name.size()) {
      case 6: wanted.respond_async = wanted.respond_async || (same_word(header.name, "prefer") && asks_async(header.value)); break;
      case 11: if (same_word(header.name, "traceparent")) wanted.traceparent = header.value; break;
      case 12:
        if (same_word(header.name, "x-request-id")) wanted.request_id = header.value;
        else if (same_word(header.name, "x-mayfly-log")) wanted.log = same_word(header.value, "tail");
        break;
      case 14: if (same_word(header.name, "x-amz-log-type")) wanted.log_type = header.value; break;
      case 15: if (same_word(header.name, "x-amzn-trace-id")) wanted.amazon_trace = header.value; break;
      case 20: if (same_word(header.name, "x-amz-client-context")) wanted.client_context = header.value; break;
      case 21: if (same_word(header.name, "x-amz-invocation-type")) wanted.invocation_type = header.value; break;
      case 16:
        if (same_word(header.name, "x-mayfly-timeout")) wanted.timeout = header.value;
        else if (same_word(header.name, "content-encoding")) wanted.encoding = header.value;
        break;
      case 31: if (same_word(header.name, "inference-header-content-length")) wanted.json_size = header.value; break;
      default: break;
    }
  }
  return wanted;
}

Inference::Call& Inference::take(const Responder& to, const Wanted& wanted, Form form) {
  if (free_.empty()) free_.push_back(&calls_.emplace_back(*this));
  Call& call = *free_.back();
  free_.pop_back();
  call.begin(to, ++uses_);
  call.form = form;
  call.log = wanted.log;
  set_id(call, wanted.request_id);
  set_trace(call, wanted.traceparent);
  server_.own(to, call);
  return call;
}

void Inference::set_id(Call& call, std::string_view sent) {
  const bool named = is_request_id(sent);
  const RequestNumber number = named ? request_number(sent) : make_request_number(random_);
  call.id_high = number.high;
  call.id_low = number.low;
  if (named) sent.copy(call.id.data(), sent.size());
  else put_uuid(call.id.data(), call.id_high, call.id_low);
  call.id_size = static_cast<std::uint8_t>(named ? sent.size() : kUuidSize);
}

void Inference::set_trace(Call& call, std::string_view parent) {
  call.traced = !parent.empty() && valid_traceparent(parent);
  if (!call.traced) return;
  parent.copy(call.trace.data(), parent.size());
  put_hex(call.trace.data() + 36, random_.next() | 1, 16);                           // the span of this call
}

void Inference::plain(HttpRequest& request, const Responder& to) {
  const auto [name, qualifier] = split_target(request.parameters[0]);
  if (invoker_.http_version(name, qualifier) != 0) return http(request, to, "/");
  const Wanted wanted = read_headers(request);
  Call& call = take(to, wanted, Form::plain);
  if (wanted.respond_async) return accept_event(request, call, name, qualifier, "");
  invoke(request, call, wanted, {.function = name, .qualifier = qualifier, .format = WireFormat::plain_json,
      .json_size = request.body_size, .reply_form = call.log ? domain::ReplyForm::whole : domain::ReplyForm::http_parts});
}

void Inference::http(HttpRequest& request, const Responder& to, std::string_view target) {
  const Wanted wanted = read_headers(request);
  const auto [name, qualifier] = split_target(request.parameters[0]);
  Call& call = take(to, wanted, Form::http);
  const int version = invoker_.http_version(name, qualifier);
  if (version == 0) return refuse_method(request, call, name, qualifier);
  const std::string number = std::to_string(version);  // the one that was found: an alias may mean another the next time
  const std::string head = forward_head(request, target, {call.id.data(), call.id_size});
  if (const auto put = put_around_body(head, "", request); !put) return refuse(call, put.error());
  invoke(request, call, wanted, {.function = name, .qualifier = number, .format = WireFormat::http, .json_size = head.size(),
                               .reply_form = domain::ReplyForm::http_parts});
}

// Of a function that takes no HTTP, or that isn't there.
void Inference::refuse_method(const HttpRequest& request, Call& call, std::string_view name, std::string_view qualifier) {
  if (const auto version = control_.resolve(name, qualifier); !version) return refuse(call, version.error());
  const std::string plain = "POST /functions/" + std::string(name);
  const bool below = request.path.find('/', std::string_view("/functions/").size()) != request.path.npos;
  HttpReply reply = error_reply({below ? Code::not_found : Code::unimplemented,
                                 "'" + std::string(request.path.substr(0, 200)) + "' is not called by " + std::string(request.method_text) +
                                     ": function '" + std::string(name) + "' takes " + plain + " only"});
  if (!below) reply.status = 405;
  begin_headers(call, 0);
  if (!below) headers_.append("Allow: POST\r\n");
  server_.reply(call.to, {.status = reply.status, .content_type = reply.content_type, .headers = headers_, .body = reply.body});
}

// Without a qualifier it is "live" that is called, as by every other form; see docs/aws-lambda.md.
void Inference::invoke_lambda(HttpRequest& request, const Responder& to, Form form) {
  const Wanted wanted = read_headers(request);
  Call& call = take(to, wanted, form);
  const auto target = lambda::parse_target(request.parameters[0], request.query_value("Qualifier").value_or(""));
  if (!target) return refuse(call, target.error());
  if (wanted.invocation_type == "DryRun") {
    const auto version = control_.resolve(target->function, target->qualifier);
    if (!version) return refuse(call, version.error());
    begin_headers(call, version->number);
    return server_.reply(call.to, {.status = 204, .content_type = "", .headers = headers_, .body = {}});
  }
  const bool event = form == Form::lambda && wanted.invocation_type == "Event";
  if (!event && !wanted.invocation_type.empty() && wanted.invocation_type != "RequestResponse")
    return refuse(call, {Code::invalid_argument, "X-Amz-Invocation-Type '" + std::string(wanted.invocation_type.substr(0, 40)) +
                                                     "' is unknown: RequestResponse, " +
                                                     (form == Form::lambda ? "Event and DryRun are there" : "and DryRun are there")});
  const std::uint64_t event_size = request.body_size;
  const auto context = lambda::call_context(wanted.amazon_trace, wanted.client_context);
  if (!context) return refuse(call, context.error());
  if (event) return accept_event(request, call, target->function, target->qualifier, *context);
  call.log = wanted.log_type == "Tail";
  if (call.log) call.function = target->function;
  if (!context->empty())
    if (const auto put = put_around_body("", *context, request); !put) return refuse(call, put.error());
  invoke(request, call, wanted, {.function = target->function, .qualifier = target->qualifier, .format = WireFormat::plain_json,
                                 .json_size = event_size, .context_size = context->size(),
                                 .reply_form = form == Form::lambda_stream ? domain::ReplyForm::parts : domain::ReplyForm::whole});
}

void Inference::accept_event(HttpRequest& request, Call& call, std::string_view function, std::string_view qualifier,
                             std::string_view context) {
  if (!events_) return refuse(call, {Code::unimplemented, "events are not taken here: wait for the answer"});
  const auto version = control_.resolve(function, qualifier);
  if (!version) return refuse(call, version.error());
  if (version->manifest.serves_http())
    return refuse(call, {Code::unimplemented,
                         "function '" + std::string(function) + "' is a program that serves HTTP: it takes no events"});
  store::Event event{.function = std::string(function), .qualifier = std::string(qualifier), .body = std::move(request.body),
                     .context_size = context.size(), .request_id_high = call.id_high, .request_id_low = call.id_low};
  if (request.body_memfd && request.body_size > 0) {
    const auto mapped = os::map_file(request.body_memfd.get(), request.body_size, os::Access::read);
    if (!mapped) return refuse(call, mapped.error());
    event.body = mapped->text();
  }
  event.body.append(context);
  events_->add(std::move(event), [this, &call, use = call.use](const Result<void>& kept) {
    if (call.use != use) return;  // whoever asked has left
    if (!kept) return refuse(call, kept.error());
    begin_headers(call, 0);
    server_.reply(call.to, {.status = 202, .content_type = "", .headers = headers_, .body = {}});
  });
}

void Inference::infer(HttpRequest& request, const Responder& to, std::string_view qualifier) {
  const Wanted wanted = read_headers(request);
  Call& call = take(to, wanted, Form::v2);
  std::uint64_t json_size = request.body_size;
  WireFormat format = WireFormat::v2_json;
  if (!wanted.json_size.empty()) {
    const char* end = wanted.json_size.data() + wanted.json_size.size();
    const auto [at, error] = std::from_chars(wanted.json_size.data(), end, json_size);
    if (error != std::errc() || at != end || json_size > request.body_size)
      return refuse(call, {Code::invalid_argument, "Inference-Header-Content-Length '" + std::string(wanted.json_size.substr(0, 40)) +
                                                   "' is not a size within the body of " + std::to_string(request.body_size) + " bytes"});
    format = json_size == 0 ? WireFormat::v2_raw : WireFormat::v2_binary;
  }
  invoke(request, call, wanted, {.function = request.parameters[0], .qualifier = qualifier, .format = format, .json_size = json_size});
}

void Inference::invoke(HttpRequest& request, Call& call, const Wanted& wanted, serve::Invocation&& invocation) {
  if (call.form != Form::http && !wanted.encoding.empty() && !same_word(wanted.encoding, "identity"))
    return refuse(call, {Code::unimplemented, "Content-Encoding '" + std::string(wanted.encoding.substr(0, 40)) +
        "' is not read: send the body as it is"});
  if (!wanted.timeout.empty()) {
    const auto timeout = parse_duration(wanted.timeout);
    if (!timeout) return refuse(call, {timeout.error().code, "X-Mayfly-Timeout: " + timeout.error().message});
    if (*timeout <= Duration{}) return refuse(call, {Code::invalid_argument, "X-Mayfly-Timeout must be above zero, like 250ms"});
    invocation.timeout = *timeout;
  }
  invocation.body = std::move(request.body);
  invocation.body_memfd = std::move(request.body_memfd);
  invocation.body_size = request.body_size;
  invocation.arrived = request.arrived;
  invocation.request_id_high = call.id_high;
  invocation.request_id_low = call.id_low;
  invocation.wants_log = call.log && (call.form == Form::plain || is_lambda(call.form));
  if (call.traced) {  // "00-", 32 digits of the trace
    std::from_chars(call.trace.data() + 3, call.trace.data() + 19, invocation.trace.high, 16);
    std::from_chars(call.trace.data() + 19, call.trace.data() + 35, invocation.trace.low, 16);
  }
  const std::uint64_t use = call.use;
  const Ticket ticket = invoker_.invoke(std::move(invocation), call);
  if (call.use == use) call.ticket = ticket;     // else it was refused, and answered, from inside
}

void Inference::begin_headers(const Call& call, int version) {
  headers_.assign("X-Request-Id: ").append(call.id.data(), call.id_size).append("\r\n");
  if (call.traced) headers_.append("traceresponse: ").append(call.trace.data(), call.trace.size()).append("\r\n");
  if (is_lambda(call.form)) headers_.append("x-amzn-RequestId: ").append(call.id.data(), call.id_size).append("\r\n");
  if (version == 0) return;
  headers_.append(is_lambda(call.form) ? "X-Amz-Executed-Version: " : "X-Mayfly-Version: ");
  append_number(headers_, static_cast<std::uint64_t>(version));
  headers_.append("\r\n");
}

// `log`: of the call, or of the start that failed. Who calls a program that serves HTTP may be anybody, and is told none of it.
void Inference::refuse(Call& call, const Error& error, int version, std::string_view log) {
  const HttpReply reply = call.form == Form::v2      ? v2_error_reply(error)
                          : is_lambda(call.form)     ? lambda::error_reply(error)
                          : call.form == Form::plain ? error_reply(error, log)
                                                     : error_reply(error);
  begin_headers(call, version);
  if (call.log && call.form == Form::plain) headers_.append("X-Mayfly-Log: ").append(os::to_base64(log)).append("\r\n");
  for (const auto& [name, value] : reply.headers) headers_.append(name).append(": ").append(value).append("\r\n");
  server_.reply(call.to, {.status = reply.status, .content_type = reply.content_type, .headers = headers_, .body = reply.body});
}

void Inference::on_reply(Call& call, Ticket ticket, serve::InvocationReply&& reply) {
  call.ticket = ticket;
  if (reply.begins) return begin_answer(call, std::move(reply));
  if (call.form == Form::lambda) return answer_lambda(call, std::move(reply));
  if (call.form == Form::lambda_stream) return answer_events(call, std::move(reply));
  if (call.form == Form::http && reply.ok) return answer_http(call, std::move(reply));
  if (!reply.ok && !reply.function_error) return refuse(call, reply.error, reply.version, reply.log);
  begin_headers(call, reply.version);
  if (call.log && call.form == Form::plain) headers_.append("X-Mayfly-Log: ").append(os::to_base64(reply.log)).append("\r\n");
  if (reply.function_error) {
    headers_.append("X-Mayfly-Function-Error: Unhandled\r\n");
    return server_.reply(call.to, {.status = 500, .content_type = "application/json", .headers = headers_, .body = reply.body});
  }
  add_phases(reply);
  const bool binary = reply.json_size > 0;
  if (binary) {
    headers_.append("Inference-Header-Content-Length: ");
    append_number(headers_, reply.json_size);
    headers_.append("\r\n");
  }
  server_.reply(call.to, {.content_type = binary ? "application/octet-stream" : "application/json", .headers = headers_, .body = reply.body,
                          .body_memfd = std::move(reply.body_memfd), .body_size = reply.body_size});
}

void Inference::add_phases(const serve::InvocationReply& reply) {
  headers_.append("X-Mayfly-Cold: ").append(cold_name(reply.phases.cold)).append("\r\nServer-Timing: ");
  append_phase(headers_, "queue", reply.phases.queue);
  append_phase(headers_, ", init", reply.phases.init);
  append_phase(headers_, ", decode", reply.phases.decode);
  append_phase(headers_, ", run", reply.phases.run);
  append_phase(headers_, ", encode", reply.phases.encode);
  headers_.append("\r\n");
}

// Status, headers and body are the program's own.
void Inference::answer_http(Call& call, serve::InvocationReply&& reply) {
  os::Mapping mapping;
  std::string_view text = reply.body.substr(0, reply.json_size);
  if (reply.body_memfd && reply.json_size > 0) {
    auto mapped = os::map_file(reply.body_memfd.get(), reply.json_size, os::Access::read);
    if (!mapped) return refuse(call, mapped.error(), reply.version);
    mapping = std::move(*mapped);
    text = mapping.text();
  }
  const auto head = read_answer_head(text);
  if (!head) return refuse(call, head.error(), reply.version);
  begin_headers(call, reply.version);
  add_phases(reply);
  headers_.append(head->lines);
  const std::string_view body = reply.body_memfd ? std::string_view() : reply.body.substr(reply.json_size);
  server_.reply(call.to, {.status = head->status, .content_type = "", .headers = headers_, .body = body,
                          .body_memfd = std::move(reply.body_memfd), .body_size = reply.body_size, .body_offset = reply.json_size});
}

// What the function made of the call is a payload, also its errors.
void Inference::answer_lambda(Call& call, serve::InvocationReply&& reply) {
  const bool failed = lambda::is_function_error(reply);
  if (!reply.ok && !failed) return refuse(call, reply.error, reply.version);
  begin_headers(call, reply.version);
  if (failed) headers_.append("X-Amz-Function-Error: Unhandled\r\n");
  const std::string_view id(call.id.data(), call.id_size);
  if (call.log) headers_.append("X-Amz-Log-Result: ").append(log_result(call, reply)).append("\r\n");
  const bool own = failed && reply.function_error;  // as the function's code told it
  const std::string payload = failed && !own ? lambda::function_error(id, reply.error) : std::string();
  server_.reply(call.to, {.content_type = "application/json", .headers = headers_,
                          .body = failed && !own ? std::string_view(payload) : reply.body,
                          .body_memfd = std::move(reply.body_memfd), .body_size = reply.body_size});
}

void Inference::on_gone(Call& call) {
  const Ticket ticket = call.ticket;
  release(call);
  if (ticket) invoker_.cancel(ticket);
}

void Inference::on_sent(Call& call, Instant when, std::uint64_t bytes) {
  const Ticket ticket = call.ticket;
  release(call);
  if (ticket) invoker_.sent(ticket, when, bytes);
}

void Inference::release(Call& call) {
  call.use = 0;
  free_.push_back(&call);
}

}  // namespace mayfly::gateway
