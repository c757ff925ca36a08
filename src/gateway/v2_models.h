// What the Open Inference Protocol V2 says of server and models: metadata, health, readiness, and Triton's model
// configuration, statistics and repository index. Answers from control::Control at once; infer is gateway/inference.h.
#pragma once
#include <functional>

#include "control/control.h"
#include "gateway/router.h"

namespace mayfly::gateway {

class V2Models {
 public:
  // `ready` says whether the node takes new calls (not while it drains).
  V2Models(control::Control& control, std::function<bool()> ready) : control_(control), ready_(std::move(ready)) {}
  void add_routes(Router& router);

 private:
  void server(const Responder& to);
  void server_ready(const Responder& to);
  void metadata(const HttpRequest& request, const Responder& to);
  void ready(const HttpRequest& request, const Responder& to);
  void config(const HttpRequest& request, const Responder& to);
  void stats(std::string_view function, int version, const Responder& to);  // "": all functions; 0: all versions
  void index(const HttpRequest& request, const Responder& to);

  control::Control& control_;
  std::function<bool()> ready_;
};

}  // namespace mayfly::gateway
