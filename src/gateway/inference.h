// Calls of functions over HTTP: Open Inference Protocol V2 under /v2 and the plain form under /functions.
// Turns a request into a serve::Invocation and a reply back into HTTP; parses no tensor.
#pragma once
#include <memory>

#include "control/control.h"
#include "gateway/http_server.h"
#include "gateway/router.h"
#include "serve/invocation.h"

namespace mayfly::gateway {

class Inference {
 public:
  Inference(serve::Invoker& invoker, control::Control& control, HttpServer& server);
  ~Inference();
  void add_routes(Router& router);

 private:
  struct Inside;
  std::unique_ptr<Inside> inside_;
};

}  // namespace mayfly::gateway
