// Finds the handler of a request by method and path. Patterns are literal segments and {names}, which take
// one non-empty segment each: "/api/functions/{name}/versions/{version}". A literal wins over a {name}. A pattern that ends in
// {name*} takes whatever else follows, '/' included, as it was sent; any other pattern wins over it.
// Filled once at the start, read-only afterwards. Pure: no I/O, nobody is called here but by the server.
//
//   router.add(Method::get, "/api/functions/{name}", [&](HttpRequest& request, Responder to) {
//     auto view = control.describe(request.parameters[0]);
//     if (!view) return to.fail(view.error());
//     to.send({.body = to_json(*view)});
//   });
#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "gateway/http_types.h"

namespace mayfly::gateway {

// May move the body out of the request. Answers exactly once, now or later.
using Handler = std::function<void(HttpRequest& request, Responder to)>;
// Of a streamed upload: called once the head is there, before the body. Null: it has answered already (a refusal).
using UploadHandler = std::function<std::unique_ptr<UploadSink>(HttpRequest& request, Responder to)>;
// The largest body of this very request, or a refusal before any of it is read. Asked only for bodies over kInlineMax.
using BodyLimit = std::function<Result<std::uint64_t>(const HttpRequest& request)>;

// Asked before a handler, once the body is there. False: it has answered the request itself.
using Gate = std::function<bool(const HttpRequest& request, const Responder& to)>;

struct Route {
  Method method{};
  std::string pattern;
  Handler handler;
  UploadHandler upload;             // instead of handler
  std::uint64_t body_max = 0;
  BodyLimit body_limit;             // instead of body_max, if set
  bool body_as_text = true;         // bodies over kInlineMax in HttpRequest::body as well, not in a memfd
};

struct RouteMatch {
  const Route* route = nullptr;     // null: none
  std::vector<Method> allowed;      // where the path is known with other methods only: those (405)
};

class Router {
 public:
  Router();
  ~Router();
  Router(Router&&) noexcept;

  // Before every handler that is added from now on; uploads in pieces are none of them.
  void gate(Gate gate) { gate_ = std::move(gate); }
  // A handler of bodies up to body_max (0: none), in memory as text.
  void add(Method method, std::string_view pattern, Handler handler, std::uint64_t body_max = 0);
  // A handler that takes a body of any size up to body_max in pieces.
  void add_upload(Method method, std::string_view pattern, UploadHandler handler, std::uint64_t body_max);
  void add(Route route);

  // Looks at every request that a route of this router was found for, before the route's handler (and body limit) does; an error is
  // the answer, in `form`.
  using Guard = std::function<Result<void>(const HttpRequest& request)>;
  using Refusal = std::function<HttpReply(const Error& error)>;
  void guard(Guard guard, Refusal form);  // of the routes that are added after it

  // Requests whose Host is one of these go to the routes that are added for them, whatever their path, and past gates and guards:
  // parameters[0] is what `Hosts` made of it. "" is no such Host.
  using Hosts = std::string_view (*)(std::string_view host);
  void use_hosts(Hosts which) { hosts_ = which; }
  void add_of_host(Route route);

  // Requests that this is true of go to the routes that are added for them, likewise.
  using Which = bool (*)(const HttpRequest& request);
  void use_service(Which which) { service_ = which; }
  void add_of_service(Route route);

  // Sets request.parameters; `decoded` keeps those that had to be decoded. HEAD finds GET's handler where it has none of
  // its own; the server then drops the body.
  [[nodiscard]] RouteMatch match(HttpRequest& request, std::string& decoded) const;
  // Patterns that look most like this path, "POST /functions/{name}", nearest first, at most three: for the 404.
  [[nodiscard]] std::vector<std::string> near(std::string_view path) const;

 private:
  struct Node;
  void add_guard(Route& route) const;

  std::unique_ptr<Node> root_;
  Gate gate_;
  std::vector<std::unique_ptr<Route>> routes_, routes_of_hosts_;
  std::vector<const Route*> of_hosts_, of_service_;
  Hosts hosts_ = nullptr;
  Which service_ = nullptr;
  Guard guard_;
  Refusal refusal_;
};

}  // namespace mayfly::gateway
