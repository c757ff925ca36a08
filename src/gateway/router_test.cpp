#include "gateway/router.h"

#include <gtest/gtest.h>

namespace mayfly::gateway {
namespace {

Router make_router() {
  Router router;
  const Handler none = [](HttpRequest&, Responder) {};
  router.add(Method::get, "/", none);
  router.add(Method::get, "/api/functions", none);
  router.add(Method::get, "/api/functions/{name}", none);
  router.add(Method::delete_, "/api/functions/{name}", none);
  router.add(Method::get, "/api/functions/{name}/versions/{version}", none);
  router.add(Method::post, "/functions/{name}", none);
  return router;
}

std::string found(const Router& router, Method method, std::string_view path, std::vector<std::string>* parameters = nullptr) {
  HttpRequest request;
  request.method = method;
  request.path = path;
  std::string decoded;
  const RouteMatch match = router.match(request, decoded);
  if (parameters) *parameters = {std::string(request.parameters[0]), std::string(request.parameters[1])};
  if (!match.route) return "none of " + std::to_string(match.allowed.size());
  return match.route->pattern;
}

TEST(Router, FindsByMethodAndSegments) {
  const Router router = make_router();
  std::vector<std::string> parameters;
  EXPECT_EQ(found(router, Method::get, "/"), "/");
  EXPECT_EQ(found(router, Method::get, "/api/functions"), "/api/functions");
  EXPECT_EQ(found(router, Method::get, "/api/functions/a%2Fb/versions/%31", &parameters), "/api/functions/{name}/versions/{version}");
  EXPECT_EQ(parameters, (std::vector<std::string>{"a/b", "1"}));
  EXPECT_EQ(found(router, Method::head, "/api/functions/x"), "/api/functions/{name}");
  EXPECT_EQ(found(router, Method::post, "/api/functions/x"), "none of 3") << "GET, DELETE, HEAD";
  for (const char* path : {"/api", "/api/functions/", "/api/functions//versions/1", "/nothing", "/api/functions/%zz",
      "/api/functions/x/", "*", ""})
    EXPECT_EQ(found(router, Method::get, path), "none of 0") << path;
}

TEST(Router, AGateStandsBeforeEveryHandlerOfAnyPattern) {
  Router router;
  int asked = 0, reached = 0;
  router.gate([&](const HttpRequest&, const Responder&) { return ++asked > 2; });
  for (const char* pattern : {"/a", "/b/{rest*}"}) router.add(Method::get, pattern, [&](HttpRequest&, Responder) { ++reached; });
  std::string decoded;
  for (const char* path : {"/a", "/b/c/d", "/a", "/b/c/d"}) {
    HttpRequest request;
    request.method = Method::get;
    request.path = path;
    const Route* route = router.match(request, decoded).route;
    ASSERT_NE(route, nullptr) << path;
    route->handler(request, Responder());
  }
  EXPECT_EQ(asked, 4);
  EXPECT_EQ(reached, 2);
}

TEST(Router, NamesWhatIsNear) {
  const Router router = make_router();
  EXPECT_EQ(router.near("/api/function").at(0), "GET /api/functions");
  EXPECT_EQ(router.near("/function/fraud").at(0), "POST /functions/{name}");
  EXPECT_TRUE(router.near("/something/else/that/is/far/away/from/all").empty());
  EXPECT_LE(router.near("/api").size(), 3);
}

TEST(Routing, QueriesAndPathsAreDecoded) {
  EXPECT_EQ(percent_decoded("a%2Fb%20c"), "a/b c");
  EXPECT_FALSE(percent_decoded("%"));
  EXPECT_FALSE(percent_decoded("%4"));
  EXPECT_FALSE(percent_decoded("%zz"));
  EXPECT_FALSE(percent_decoded("%00"));
  HttpRequest request;
  request.query = "a=1&b=x+y%21&c&a=2";
  EXPECT_EQ(request.query_value("a"), "1");
  EXPECT_EQ(request.query_value("b"), "x y!");
  EXPECT_EQ(request.query_value("c"), "");
  EXPECT_FALSE(request.query_value("d"));
}

TEST(Router, AHostOfItsOwnIsLookedAtBeforeAnyPath) {
  Router router = make_router();
  bool gated = false;
  router.gate([&](const HttpRequest&, const Responder&) { return !(gated = true); });
  router.use_hosts([](std::string_view host) { return host.ends_with(".own") ? host.substr(0, 1) : std::string_view(); });
  int reached = 0;
  router.add_of_host({.method = Method::get, .pattern = "/", .handler = [&](HttpRequest&, Responder) { ++reached; }});
  const auto match = [&](Method method, std::string_view host, HttpRequest& request) {
    const HttpHeader header{"Host", host};
    request.method = method;
    request.path = "/api/functions";
    request.headers = {&header, 1};
    std::string decoded;
    return router.match(request, decoded);
  };
  HttpRequest request;
  const Route* own = match(Method::get, "x.own", request).route;
  ASSERT_TRUE(own);
  EXPECT_EQ(request.parameters[0], "x");
  own->handler(request, Responder());
  EXPECT_EQ(reached, 1);
  EXPECT_FALSE(gated);
  EXPECT_EQ(match(Method::post, "x.own", request).allowed, (std::vector{Method::get, Method::head}));
  EXPECT_EQ(match(Method::get, "x.other", request).route->pattern, "/api/functions");
}

}  // namespace
}  // namespace mayfly::gateway
