// Calls whose answer comes in pieces: passed on at once, and the instance is let send as much again as the client has read.
#include <utility>

#include "gateway/event_stream.h"
#include "gateway/forward.h"
#include "gateway/inference.h"
#include "gateway/lambda_forms.h"
#include "os/digest.h"

namespace mayfly::gateway {

void Inference::begin_answer(Call& call, serve::InvocationReply&& reply) {
  const std::uint64_t use = call.use;
  if (call.form == Form::lambda_stream) {
    begin_headers(call, reply.version);
    server_.begin(call.to, {.content_type = kEventStreamType, .headers = headers_, .body = {}}, std::nullopt);
    return call.use == use ? call.write(invoker_, reply.body.substr(reply.json_size)) : void();
  }
  const auto head = read_answer_head(reply.body.substr(0, reply.json_size));
  if (!head) {
    const Ticket ticket = std::exchange(call.ticket, {});
    refuse(call, head.error(), reply.version);
    return invoker_.cancel(ticket);                     // what follows is nobody's
  }
  begin_headers(call, reply.version);
  add_phases(reply);
  headers_.append(head->lines);
  server_.begin(call.to, {.status = head->status, .content_type = "", .headers = headers_, .body = {}}, head->length);
  if (call.use == use) call.write(invoker_, reply.body.substr(reply.json_size));
}

void Inference::Call::put(std::string_view bytes) {
  if (form != Form::lambda_stream) return to.write(bytes);
  std::string messages;
  add_payload(messages, bytes);
  to.write(messages);
}

void Inference::on_end(Call& call, serve::InvocationReply&& end) {
  const bool events = call.form == Form::lambda_stream;
  if (!end.ok && !events) return server_.abort(call.to);
  call.to.write(events ? last_events(call, end) : std::exchange(call.held, {}).append(end.body));
  call.to.end();
}

// --- Lambda's InvokeWithResponseStream: an event stream

std::string Inference::last_events(Call& call, const serve::InvocationReply& end) {
  std::string messages, details;
  add_payload(messages, std::exchange(call.held, {}));
  if (end.ok) add_payload(messages, end.body);
  else details = end.function_error ? std::string(end.body) : lambda::function_error({call.id.data(), call.id_size}, end.error);
  const std::string log = call.log ? log_result(call, end) : std::string();
  add_complete(messages, {.error_code = end.ok ? "" : "Unhandled", .error_details = details, .log_result = log});
  return messages;
}

void Inference::answer_events(Call& call, serve::InvocationReply&& reply) {
  if (!reply.ok && !lambda::is_function_error(reply)) return refuse(call, reply.error, reply.version);
  if (constexpr std::uint64_t kAnswerMax = 7 << 20; reply.body_memfd && reply.body_size > kAnswerMax)
    return refuse(call, {Code::exhausted, "an answer of " + std::to_string(reply.body_size) +
                                          " bytes, too large for this operation: Invoke gives it"}, reply.version);
  os::Mapping mapping;
  if (reply.body_memfd && reply.body_size > 0) {
    auto mapped = os::map_file(reply.body_memfd.get(), reply.body_size, os::Access::read);
    if (!mapped) return refuse(call, mapped.error(), reply.version);
    mapping = std::move(*mapped);
    reply.body = mapping.text();
  }
  begin_headers(call, reply.version);
  server_.reply(call.to, {.content_type = kEventStreamType, .headers = headers_, .body = last_events(call, reply)});
}

// The end of the function's log, in base64.
std::string Inference::log_result(const Call& call, const serve::InvocationReply& reply) const {
  const auto version = control_.resolve(call.function, std::to_string(reply.version));
  const Bytes memory = version ? version->manifest.resources.memory : Bytes();
  return os::to_base64(lambda::log_of({call.id.data(), call.id_size}, reply, memory));
}

}  // namespace mayfly::gateway
