// What is set of a function beside its code, in AWS Lambda's operations: tags, concurrency, provisioned concurrency, and what is
// kept for clients that ask for it again: the configuration of events, the policy, function URLs.
// Concurrency is held (domain/settings.h), URLs are served (gateway/function_url.h); the policy is stored and not enforced;
// docs/aws-lambda.md says what each does.
#pragma once
#include "base/random.h"
#include "base/turn.h"
#include "control/control.h"
#include "gateway/lambda_request.h"
#include "gateway/router.h"

namespace mayfly::gateway {

class LambdaSettings {
 public:
  // `keys`: there are some that a function's URL can be called with.
  LambdaSettings(control::Control& control, const Turn& turn, bool keys);
  void add_routes(Router& router);

 private:
  using Found = lambda::Found;
  using Action = void (LambdaSettings::*)(const Found&, HttpRequest&, const Responder&);
  // An operation on a function that is there; `body_max` 0: it has no body.
  void add(Router& router, Method method, const char* pattern, Action action, std::uint64_t body_max = 0);
  void add_concurrency(Router& router);
  void add_events(Router& router);
  void add_policy(Router& router);
  void add_urls(Router& router);
  // Keeps them, then tells what `json` makes of the function as it is then; null: 204.
  using Told = std::function<lambda::Json(const Found&)>;
  void keep(const Found& found, std::vector<domain::Setting> settings, const Responder& to, int status, Told told);
  // Takes one away; where it is not there, refused as not found with these words, or, where there are none, done all the same.
  void drop(const Found& found, const std::string& kind, const Responder& to, const char* missing);

  void tag(const Found& found, HttpRequest& request, const Responder& to);
  void untag(const Found& found, HttpRequest& request, const Responder& to);
  void tags(const Found& found, HttpRequest& request, const Responder& to);
  void put_concurrency(const Found& found, HttpRequest& request, const Responder& to);
  void get_concurrency(const Found& found, HttpRequest& request, const Responder& to);
  void delete_concurrency(const Found& found, HttpRequest& request, const Responder& to);
  void put_provisioned(const Found& found, HttpRequest& request, const Responder& to);
  void get_provisioned(const Found& found, HttpRequest& request, const Responder& to);
  void delete_provisioned(const Found& found, HttpRequest& request, const Responder& to);
  [[nodiscard]] lambda::Json provisioned_of(const domain::Function& function, const std::string& key);
  void set_events(const Found& found, HttpRequest& request, const Responder& to);
  void get_events(const Found& found, HttpRequest& request, const Responder& to);
  void list_events(const Found& found, HttpRequest& request, const Responder& to);
  void delete_events(const Found& found, HttpRequest& request, const Responder& to);
  void add_permission(const Found& found, HttpRequest& request, const Responder& to);
  void get_policy(const Found& found, HttpRequest& request, const Responder& to);
  void remove_permission(const Found& found, HttpRequest& request, const Responder& to);
  void create_url(const Found& found, HttpRequest& request, const Responder& to);
  void update_url(const Found& found, HttpRequest& request, const Responder& to);
  void get_url(const Found& found, HttpRequest& request, const Responder& to);
  void list_urls(const Found& found, HttpRequest& request, const Responder& to);
  void delete_url(const Found& found, HttpRequest& request, const Responder& to);

  control::Control& control_;
  const Turn& turn_;
  const bool keys_;
  Random random_;                                // of URLs' IDs
};

}  // namespace mayfly::gateway
