#include "gateway/function_url.h"

#include <algorithm>
#include <utility>

#include "base/hex.h"
#include "gateway/forward.h"
#include "gateway/function_url_forms.h"
#include "gateway/lambda_forms.h"
#include "gateway/request_id.h"
#include "os/listener.h"

namespace mayfly::gateway {
namespace {

using domain::WireFormat;

constexpr Method kMethods[] = {Method::get, Method::head, Method::post, Method::put, Method::delete_, Method::patch, Method::options,
                               Method::other};

void add(std::string& lines, std::string_view name, std::string_view value) {
  lines.append(name).append(": ").append(value).append("\r\n");
}

}  // namespace

FunctionUrls::FunctionUrls(World world)
    : invoker_(world.invoker), control_(world.control), server_(world.server), turn_(world.turn), keys_(world.keys),
      random_(os::random_seed()) {}

void FunctionUrls::add_routes(Router& router) {
  const auto limit = [](const HttpRequest&) -> Result<std::uint64_t> { return domain::kUrlEventMax; };
  for (const Method method : kMethods) {
    router.add({.method = method, .pattern = "/lambda-url/{id}",
                .handler = [this](HttpRequest& request, Responder to) { call(request, to, "/"); },
                .body_limit = limit, .body_as_text = false});
    router.add({.method = method, .pattern = "/lambda-url/{id}/{path*}",
                .handler = [this](HttpRequest& request, Responder to) { call(request, to, request.parameters[1]); },
                .body_limit = limit, .body_as_text = false});
    router.add_of_host({.method = method, .pattern = "/",
                        .handler = [this](HttpRequest& request, Responder to) { call(request, to, request.path); },
                        .body_limit = limit, .body_as_text = false});
  }
  router.use_hosts(url_id_of_host);
}

void FunctionUrls::call(HttpRequest& request, const Responder& to, std::string_view path) {
  const auto url = control_.url(lower_case(request.parameters[0]));
  if (!url) return to.send(url_not_there());
  if (url->cors && is_preflight(request)) {
    const std::string lines = preflight_lines(*url->cors, request);
    return server_.reply(to, {.status = 200, .content_type = "", .headers = lines, .body = {}});
  }
  Call& call = take(to, request, *url);
  if (!may_call(*url, request, call)) return;
  if (const int version = invoker_.http_version(url->function, url->qualifier); version != 0) {
    const std::string head = forward_head(request, path, uuid_text(call.id_high, call.id_low));
    if (const auto put = put_around_body(head, "", request); !put) return refuse(call, put.error());
    return invoke(request, call, {.function = url->function, .qualifier = std::to_string(version), .format = WireFormat::http,
                                  .json_size = head.size(), .reply_form = domain::ReplyForm::http_parts});
  }
  const std::string trace = trace_of(request), request_id = uuid_text(call.id_high, call.id_low);
  const std::string key = url->signs ? sigv4::access_key(request) : std::string();
  const std::uint64_t size = request.body_size;
  std::string said = url_event_lines(request, {.id = url->id, .path = path, .request_id = request_id, .trace = trace, .access_key = key,
                                               .now = turn_.wall});
  if (const auto context = lambda::call_context(trace, ""); context) said += *context;
  if (const auto put = put_around_body("", said, request); !put) return refuse(call, put.error());
  invoke(request, call, {.function = url->function, .qualifier = url->qualifier, .format = WireFormat::plain_json, .json_size = size,
                         .context_size = said.size(),
                         .reply_form = url->streams ? domain::ReplyForm::url_parts : domain::ReplyForm::url});
}

// Lambda says no more than this of what is wrong, but by the error's type.
bool FunctionUrls::may_call(const domain::FunctionUrl& url, const HttpRequest& request, const Call& call) {
  if (!url.signs) return true;
  const auto refusal = sigv4::check(request, keys_, turn_.wall);
  if (refusal) send(call, url_refusal(403, refusal->type, "Forbidden"));
  return !refusal;
}

FunctionUrls::Call& FunctionUrls::take(const Responder& to, const HttpRequest& request, const domain::FunctionUrl& url) {
  if (free_.empty()) free_.push_back(&calls_.emplace_back(*this));
  Call& call = *free_.back();
  free_.pop_back();
  call.begin(to, ++uses_);
  call.asking = false;
  const std::string_view name = request.header("x-request-id");
  const bool named = is_request_id(name);
  const RequestNumber number = named ? request_number(name) : make_request_number(random_);
  call.id_high = number.high;
  call.id_low = number.low;
  const std::string id = uuid_text(number.high, number.low);
  call.headers.clear();
  add(call.headers, "X-Request-Id", named ? name : std::string_view(id));
  add(call.headers, "x-amzn-RequestId", id);
  call.has_cors = url.cors.has_value();
  if (url.cors) call.headers += cors_lines(*url.cors, request);
  server_.own(to, call);
  return call;
}

// The caller's, else one of its own: the event and the function's context have the same.
std::string FunctionUrls::trace_of(const HttpRequest& request) {
  if (const std::string_view given = request.header("x-amzn-trace-id"); given.find("Root=1-") != given.npos && given.size() <= 512)
    return std::string(given);
  std::string trace = "Root=1-00000000-000000000000000000000000";
  char* at = put_hex(trace.data() + 7, static_cast<std::uint64_t>(turn_.wall.since_epoch.count()) / 1'000'000, 8) + 1;
  put_hex(put_hex(at, random_.next(), 8), random_.next(), 16);
  return trace;
}

void FunctionUrls::invoke(HttpRequest& request, Call& call, serve::Invocation&& invocation) {
  invocation.body = std::move(request.body);
  invocation.body_memfd = std::move(request.body_memfd);
  invocation.body_size = request.body_size;
  invocation.arrived = request.arrived;
  invocation.request_id_high = call.id_high;
  invocation.request_id_low = call.id_low;
  const std::uint64_t use = call.use;
  call.asking = true;
  const Ticket ticket = invoker_.invoke(std::move(invocation), call);
  if (call.use != use) return;                   // it was refused, and answered, from inside
  call.asking = false;
  call.ticket = ticket;
}

void FunctionUrls::on_reply(Call& call, Ticket ticket, serve::InvocationReply&& reply) {
  call.ticket = ticket;
  if (reply.version != 0) add(call.headers, "X-Mayfly-Version", std::to_string(reply.version));
  if (reply.begins) return begin(call, std::move(reply));
  if (!reply.ok) {  // memory that the function has used up is its error, and not the node's want of room
    const bool ran = reply.function_error || reply.died || reply.phases.run > Duration{};
    return refuse(call, ran && reply.error.code != Code::invalid_argument ? Error{Code::internal, ""} : reply.error);
  }
  if (reply.json_size > 0) return answer(call, std::move(reply));
  server_.reply(call.to, {.content_type = "application/json", .headers = call.headers, .body = reply.body,  // a model's
                          .body_memfd = std::move(reply.body_memfd), .body_size = reply.body_size});
}

void FunctionUrls::answer(Call& call, serve::InvocationReply&& reply) {
  os::Mapping mapping;
  std::string_view text = reply.body.substr(0, reply.json_size);
  if (reply.body_memfd) {
    auto mapped = os::map_file(reply.body_memfd.get(), reply.json_size, os::Access::read);
    if (!mapped) return refuse(call, mapped.error());
    mapping = std::move(*mapped);
    text = mapping.text();
  }
  const auto head = read_answer_head(text);
  if (!head) return refuse(call, head.error());
  call.headers.append(call.has_cors ? without_cors(head->lines) : head->lines);
  const std::string_view body = reply.body_memfd ? std::string_view() : reply.body.substr(reply.json_size);
  server_.reply(call.to, {.status = head->status, .content_type = "", .headers = call.headers, .body = body,
                          .body_memfd = std::move(reply.body_memfd), .body_size = reply.body_size, .body_offset = reply.json_size});
}

void FunctionUrls::begin(Call& call, serve::InvocationReply&& reply) {
  const auto head = read_answer_head(reply.body.substr(0, reply.json_size));
  if (!head) {
    const Ticket ticket = std::exchange(call.ticket, {});
    refuse(call, head.error());
    return invoker_.cancel(ticket);              // what follows is nobody's
  }
  call.headers.append(call.has_cors ? without_cors(head->lines) : head->lines);
  const std::uint64_t use = call.use;
  server_.begin(call.to, {.status = head->status, .content_type = "", .headers = call.headers, .body = {}}, head->length);
  if (call.use == use) call.write(invoker_, reply.body.substr(reply.json_size));
}

// With its head gone there is no status left that could tell of an error.
void FunctionUrls::end(Call& call, serve::InvocationReply&& end) {
  if (!end.ok) return server_.abort(call.to);
  call.to.write(std::exchange(call.held, {}).append(end.body));
  call.to.end();
}

void FunctionUrls::refuse(Call& call, const Error& error) { send(call, url_refusal(error, call.asking)); }

void FunctionUrls::send(const Call& call, const HttpReply& reply) {
  std::string headers = call.headers;
  for (const auto& [name, value] : reply.headers) add(headers, name, value);
  server_.reply(call.to, {.status = reply.status, .content_type = reply.content_type, .headers = headers, .body = reply.body});
}

Ticket FunctionUrls::release(Call& call) {
  call.use = 0;
  free_.push_back(&call);
  return call.ticket;
}

}  // namespace mayfly::gateway
