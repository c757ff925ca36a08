// What the handlers of AWS Lambda's operations share: which version a request means, pages of a list, answers and refusals in
// its form, and the RevisionId that a caller may insist on. Driven by lambda_api.h, lambda_settings.h and lambda_code.h.
#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "control/control.h"
#include "gateway/lambda_forms.h"

namespace mayfly::gateway::lambda {

struct Found {
  control::FunctionView view;
  const domain::Version* version = nullptr;  // of `view`
  std::string qualifier;                     // as it is to be named: "$LATEST" where none was
  // "" for the function as a whole, by which its own settings are kept.
  std::string key() const { return qualifier == "$LATEST" ? "" : qualifier; }
  std::string arn() const { return arn_of(view.function.name, key()); }
};
// The version that a name (or an ARN) and a qualifier stand for; without one the newest.
[[nodiscard]] Result<Found> find(control::Control& control, std::string_view name, std::string_view qualifier);
[[nodiscard]] Result<Found> find(control::Control& control, const HttpRequest& request);  // the path's name, the query's Qualifier

void refuse(const Responder& to, const Error& error);
void refuse(const Responder& to, int status, std::string_view type, std::string_view message);
void answer(const Responder& to, const Json& json, int status = 200);
void answer_nothing(const Responder& to);    // 204
// `all` from Marker on, MaxItems (at most 50) of them; Marker is where the last page ended.
void answer_page(const HttpRequest& request, const Responder& to, const char* key, std::vector<Json> all);
// A caller that names another RevisionId than the one that is: false, and refused (412).
[[nodiscard]] bool same_revision(const Responder& to, std::string_view wanted, std::string_view is);

// A body's text, "" where it is absent; a whole number; invalid_argument where it is something else.
[[nodiscard]] Result<std::string> text_in(const Json& body, const char* key);
// Tags of a body as settings, which the function is to have beside those that it has.
[[nodiscard]] Result<std::vector<domain::Setting>> tags_in(const Json& body, const domain::Function& function);
[[nodiscard]] Result<int> number_in(const Json& body, const char* key, int low, int high);

}  // namespace mayfly::gateway::lambda
