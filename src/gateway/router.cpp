#include "gateway/router.h"

#include <algorithm>
#include <map>

#include "base/assert.h"
#include "base/distance.h"

namespace mayfly::gateway {

struct Router::Node {
  std::map<std::string, std::unique_ptr<Node>, std::less<>> literal;
  std::unique_ptr<Node> any;
  std::vector<const Route*> routes;
  std::vector<const Route*> rest;              // of patterns that end in {name*} here
};

namespace {

// Cuts the first segment off: "/a/b" -> "a", rest "/b".
std::string_view take_segment(std::string_view& path) {
  path.remove_prefix(1);
  const std::size_t end = std::min(path.find('/'), path.size());
  const std::string_view segment = path.substr(0, end);
  path.remove_prefix(end);
  return segment;
}

RouteMatch of_method(const std::vector<const Route*>& routes, Method method) {
  const Route* of_get = nullptr;
  for (const Route* route : routes) {
    if (route->method == method) return {.route = route};
    if (route->method == Method::get) of_get = route;
  }
  if (method == Method::head && of_get) return {.route = of_get};
  RouteMatch none;
  for (const Route* route : routes) none.allowed.push_back(route->method);
  if (of_get) none.allowed.push_back(Method::head);
  return none;
}

// How unlike a pattern a path is: the sum over segments; a {name} takes anything, a missing segment costs 4.
std::size_t unlike(std::string_view pattern, std::string_view path) {
  std::size_t sum = 0;
  while (!pattern.empty() || !path.empty()) {
    const bool both = !pattern.empty() && !path.empty();
    const std::string_view wanted = pattern.empty() ? std::string_view() : take_segment(pattern);
    const std::string_view got = path.empty() ? std::string_view() : take_segment(path);
    if (!both) sum += 4;
    else if (wanted.empty() || wanted.front() != '{') sum += edit_distance(wanted, got.substr(0, 64));
  }
  return sum;
}

}  // namespace

Router::Router() : root_(std::make_unique<Node>()) {}
Router::~Router() = default;
Router::Router(Router&&) noexcept = default;

void Router::add(Method method, std::string_view pattern, Handler handler, std::uint64_t body_max) {
  add({.method = method, .pattern = std::string(pattern), .handler = std::move(handler), .body_max = body_max});
}

void Router::add_upload(Method method, std::string_view pattern, UploadHandler handler, std::uint64_t body_max) {
  add({.method = method, .pattern = std::string(pattern), .upload = std::move(handler), .body_max = body_max});
}

void Router::guard(Guard guard, Refusal form) {
  guard_ = std::move(guard);
  refusal_ = std::move(form);
}

void Router::add_guard(Route& route) const {
  ASSERT(static_cast<bool>(route.handler), "uploads have no guard");
  route.handler = [guard = guard_, form = refusal_, handler = std::move(route.handler)](HttpRequest& request, Responder to) {
    if (const auto passed = guard(request); !passed) return to.send(form(passed.error()));
    handler(request, to);
  };
  if (!route.body_limit) return;
  route.body_limit = [guard = guard_, limit = std::move(route.body_limit)](const HttpRequest& request) -> Result<std::uint64_t> {
    TRY_VOID(guard(request));
    return limit(request);
  };
}

void Router::add(Route route) {
  ASSERT(!route.pattern.empty() && route.pattern.front() == '/', "a pattern begins with '/'");
  ASSERT(static_cast<bool>(route.handler) != static_cast<bool>(route.upload), "a route has one handler");
  if (guard_) add_guard(route);
  if (gate_ && route.handler)
    route.handler = [gate = gate_, handler = std::move(route.handler)](HttpRequest& request, Responder to) {
      if (gate(request, to)) handler(request, to);
    };
  Node* node = root_.get();
  std::size_t parameters = 0;
  for (std::string_view rest = route.pattern; !rest.empty();) {
    const std::string_view segment = take_segment(rest);
    if (segment.ends_with("*}")) {
      ASSERT(rest.empty() && ++parameters <= kParametersMax, "{name*} ends its pattern");
      routes_.push_back(std::make_unique<Route>(std::move(route)));
      node->rest.push_back(routes_.back().get());
      return;
    }
    std::unique_ptr<Node>* next = nullptr;
    if (segment.starts_with('{')) {
      ASSERT(++parameters <= kParametersMax, "a pattern with more {names} than HttpRequest::parameters holds");
      next = &node->any;
    } else {
      next = &node->literal[std::string(segment)];
    }
    if (!*next) *next = std::make_unique<Node>();
    node = next->get();
  }
  for (const Route* other : node->routes) ASSERT(other->method != route.method, "two handlers of one route");
  routes_.push_back(std::make_unique<Route>(std::move(route)));
  node->routes.push_back(routes_.back().get());
}

void Router::add_of_host(Route route) {
  routes_of_hosts_.push_back(std::make_unique<Route>(std::move(route)));
  of_hosts_.push_back(routes_of_hosts_.back().get());
}

void Router::add_of_service(Route route) {
  routes_of_hosts_.push_back(std::make_unique<Route>(std::move(route)));
  of_service_.push_back(routes_of_hosts_.back().get());
}

RouteMatch Router::match(HttpRequest& request, std::string& decoded) const {
  const Node* node = root_.get();
  std::size_t parameters = 0;
  decoded.clear();
  if (request.path.empty() || request.path.front() != '/') return {};
  if (hosts_) {
    request.parameters[0] = hosts_(request.header("host"));
    if (!request.parameters[0].empty()) return of_method(of_hosts_, request.method);
  }
  if (service_ && service_(request)) return of_method(of_service_, request.method);
  const std::vector<const Route*>* routes = nullptr;  // of the last {name*} on the way
  std::size_t rest_at = 0;
  std::string_view whole_rest;
  for (std::string_view rest = request.path; !rest.empty();) {
    if (!node->rest.empty()) {
      routes = &node->rest;
      rest_at = parameters;
      whole_rest = rest;
    }
    const std::string_view segment = take_segment(rest);
    if (const auto found = node->literal.find(segment); found != node->literal.end()) {
      node = found->second.get();
      continue;
    }
    if (!node->any || segment.empty()) {
      node = nullptr;
      break;
    }
    node = node->any.get();
    std::string_view value = segment;
    if (segment.find('%') != segment.npos) {
      const auto plain = percent_decoded(segment);
      if (!plain) return {};
      decoded.reserve(request.path.size());  // never more than the path: earlier views stay where they are
      const std::size_t at = decoded.size();
      decoded += *plain;
      value = std::string_view(decoded).substr(at);
    }
    request.parameters[parameters++] = value;
  }
  if (node && !node->routes.empty()) routes = &node->routes;
  else if (routes) request.parameters[rest_at] = whole_rest;
  else return {};
  return of_method(*routes, request.method);
}

std::vector<std::string> Router::near(std::string_view path) const {
  if (path.empty() || path.front() != '/') return {};
  std::vector<std::pair<std::size_t, std::string>> found;
  for (const auto& route : routes_)
    if (const std::size_t distance = unlike(route->pattern, path.substr(0, 512)); distance <= 8)
      found.emplace_back(distance, std::string(name(route->method)) + " " + route->pattern);
  std::ranges::stable_sort(found, {}, [](const auto& entry) { return entry.first; });
  if (found.size() > 3) found.resize(3);
  std::vector<std::string> names;
  for (auto& entry : found) names.push_back(std::move(entry.second));
  return names;
}

}  // namespace mayfly::gateway
