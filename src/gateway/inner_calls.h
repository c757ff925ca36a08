// The node's own calls of its Lambda API, for somebody who was let in already: what a stack asks for goes the way of every client's
// request, with the same checks and the same words. No socket is between; the answer comes when the handler gives it.
#pragma once
#include <functional>
#include <string>

#include "domain/template.h"
#include "gateway/router.h"

namespace mayfly::gateway {

struct InnerAnswer {
  int status = 0;
  domain::Json body;
  bool ok() const { return status >= 200 && status < 300; }
  // Of what is refused: its words.
  [[nodiscard]] std::string message() const;
};

class InnerCalls {
 public:
  explicit InnerCalls(const Router& router) : router_(router) {}
  // `path` with its query, encoded; null sends no body. `host` is what the answer's addresses begin with.
  void call(Method method, const std::string& path, const domain::Json& body, const std::string& host,
            std::function<void(const InnerAnswer&)> done) const;

 private:
  const Router& router_;
};

}  // namespace mayfly::gateway
