// The node's door: one HTTP/1.1 listener on loopback, and behind it the Open Inference Protocol, the plain
// form, the node's own API and metrics. Composed here; driven by the loop. It knows protocols and no
// use case: those are serve::Invoker's and control::Control's, which must outlive it.
#pragma once
#include <functional>
#include <memory>
#include <string>

#include "base/result.h"
#include "base/turn.h"
#include "control/control.h"
#include "control/deploys.h"
#include "gateway/http_server.h"
#include "gateway/model_door.h"
#include "gateway/sigv4.h"
#include "jobs/event_queue.h"
#include "os/loop.h"
#include "serve/invocation.h"

namespace mayfly::gateway {

struct GatewayOptions {
  std::string listen = "127.0.0.1:8080";  // loopback only until keys and TLS exist; port 0: any free one
  HttpLimits limits = {};
  std::string doors;                      // the folder where doors for code get their sockets; "": there are none
  jobs::EventQueue* events = nullptr;     // for calls that nobody waits for; null: they are refused
  control::Deploys* deploys = nullptr;    // the deploy bucket and stacks; null: S3's and CloudFormation's requests are unknown
  sigv4::Keys keys = {};                  // that Lambda's requests must be signed with; none: they need no signature
};

class Gateway {
 public:
  // The turn is the loop's, kept up to date by the caller.
  Gateway(os::Loop& loop, const Turn& turn, serve::Invoker& invoker, control::Control& control, GatewayOptions options);
  ~Gateway();
  Gateway(const Gateway&) = delete;
  Gateway& operator=(const Gateway&) = delete;

  [[nodiscard]] Result<void> start();
  [[nodiscard]] std::string address() const;                 // "127.0.0.1:8080", with the real port
  // A door for one version's code: a unix socket of its own, behind which are those models and nothing else (gateway/model_door.h).
  // Open while somebody holds the handle, and while this lives. The same door for the same function and version.
  [[nodiscard]] Result<OpenDoor> open_door(const DoorTo& door);
  // Takes no more connections, answers what is under way, then calls done; after at_most in any case.
  void drain(Duration at_most, std::function<void()> done);
  const HttpServer& server() const;

 private:
  struct Inside;
  std::unique_ptr<Inside> inside_;
};

}  // namespace mayfly::gateway
