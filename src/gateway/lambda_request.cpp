#include "gateway/lambda_request.h"

#include <algorithm>
#include <charconv>
#include <utility>

namespace mayfly::gateway::lambda {
namespace {

constexpr std::size_t kPageMax = 50;   // entries of a list, as there

Result<Json> page_of(const HttpRequest& request, const char* key, std::vector<Json> all) {
  const auto number_of = [&](std::string_view name, std::size_t otherwise) -> Result<std::size_t> {
    const auto text = request.query_value(name);
    if (!text || text->empty()) return otherwise;
    std::size_t value = 0;
    const auto [at, error] = std::from_chars(text->data(), text->data() + text->size(), value);
    if (error == std::errc() && at == text->data() + text->size()) return value;
    return fail(Code::invalid_argument, std::string(name) + " '" + text->substr(0, 64) + "' is not a whole number");
  };
  TRY(const std::size_t begin, number_of("Marker", 0));
  TRY(const std::size_t most, number_of("MaxItems", kPageMax));
  const std::size_t first = std::min(begin, all.size());
  const std::size_t end = std::min(all.size(), first + std::clamp<std::size_t>(most, 1, kPageMax));
  Json page{{key, Json::array()}};
  for (std::size_t i = first; i < end; ++i) page[key].push_back(std::move(all[i]));
  if (end < all.size()) page["NextMarker"] = std::to_string(end);
  return page;
}

}  // namespace

Result<Found> find(control::Control& control, std::string_view name, std::string_view qualifier) {
  TRY(const Target target, parse_target(name, qualifier));
  Found found{.view = {}, .qualifier = target.qualifier.empty() ? "$LATEST" : target.qualifier};
  TRY(const domain::Version version, control.resolve(target.function, found.qualifier));
  TRY(found.view, control.describe(target.function));
  const auto& versions = found.view.function.versions;
  const auto at = std::ranges::find(versions, version.number, &domain::Version::number);
  if (at == versions.end()) return fail(Code::not_found, "this version was deleted");
  found.version = &*at;
  return found;
}

Result<Found> find(control::Control& control, const HttpRequest& request) {
  return find(control, request.parameters[0], request.query_value("Qualifier").value_or(""));
}

void refuse(const Responder& to, const Error& error) { to.send(error_reply(error)); }
void refuse(const Responder& to, int status, std::string_view type, std::string_view message) {
  to.send(error_reply(status, type, message));
}

void answer(const Responder& to, const Json& json, int status) {
  to.send({.status = status, .body = dump(json)});
}

void answer_nothing(const Responder& to) { to.send({.status = 204, .content_type = "", .body = {}}); }

void answer_page(const HttpRequest& request, const Responder& to, const char* key, std::vector<Json> all) {
  const auto page = page_of(request, key, std::move(all));
  if (!page) return refuse(to, page.error());
  answer(to, *page);
}

bool same_revision(const Responder& to, std::string_view wanted, std::string_view is) {
  if (wanted.empty() || wanted == is) return true;
  refuse(to, 412, "PreconditionFailedException",
         "The RevisionId provided does not match the latest RevisionId: it is " + std::string(is) + " now, ask for it again");
  return false;
}

Result<std::string> text_in(const Json& body, const char* key) {
  const auto at = body.find(key);
  if (at == body.end() || at->is_null()) return std::string();
  if (at->is_string()) return at->get<std::string>();
  return fail(Code::invalid_argument, std::string(key) + " is not a text");
}

Result<int> number_in(const Json& body, const char* key, int low, int high) {
  const auto at = body.find(key);
  if (at != body.end() && at->is_number_integer()) {
    const auto number = at->get<std::int64_t>();
    if (number >= low && number <= high) return static_cast<int>(number);
  }
  return fail(Code::invalid_argument, std::string(key) + (at == body.end() ? " is missing" : " is " + at->dump().substr(0, 40)) +
                                          ": write a whole number from " + std::to_string(low) + " to " + std::to_string(high));
}

}  // namespace mayfly::gateway::lambda
