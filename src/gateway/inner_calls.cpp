#include "gateway/inner_calls.h"

#include <utility>

#include "domain/json.h"
#include "gateway/lambda_forms.h"

namespace mayfly::gateway {

std::string InnerAnswer::message() const {
  for (const char* key : {"Message", "message"})
    if (const std::string text = domain::text_of(domain::member(body, key)); !text.empty()) return text;
  return "the node answers " + std::to_string(status);
}

void InnerCalls::call(Method method, const std::string& path, const domain::Json& body, const std::string& host,
                      std::function<void(const InnerAnswer&)> done) const {
  const std::size_t mark = std::min(path.find('?'), path.size());
  const HttpHeader headers[] = {{"host", host}, {"content-type", "application/json"}};
  HttpRequest request;
  request.method = method;
  request.method_text = name(method);
  request.path = std::string_view(path).substr(0, mark);
  request.query = std::string_view(path).substr(std::min(mark + 1, path.size()));
  request.headers = headers;
  request.of_node = true;
  if (!body.is_null()) request.body = lambda::dump(body);
  request.body_size = request.body.size();
  std::string decoded;
  const RouteMatch match = router_.match(request, decoded);
  if (!match.route || !match.route->handler) return done({.status = 404, .body = {{"Message", "there is no operation at " + path}}});
  match.route->handler(request, Responder([done = std::move(done)](const HttpReply& reply) {
    done({.status = reply.status, .body = domain::parse_json<domain::Json>(reply.body)});
  }));
}

}  // namespace mayfly::gateway
