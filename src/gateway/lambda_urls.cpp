// The part of LambdaSettings that configures functions' URLs, in the words of Lambda's FunctionUrlConfig; gateway/function_url.h
// serves them.
#include <algorithm>
#include <utility>

#include "domain/function_url.h"
#include "domain/json.h"
#include "domain/settings.h"
#include "gateway/control_json.h"
#include "gateway/lambda_settings.h"
#include "os/listener.h"

namespace mayfly::gateway {
namespace {

using lambda::answer;
using lambda::answer_page;
using lambda::dump;
using lambda::refuse;

constexpr const char* kNoUrl = "The resource you requested does not exist: this function has no URL";
const std::string kKind(domain::kUrl);

Json document_of(const domain::Setting& setting) { return domain::parse_json<Json>(setting.document); }

// At the address that whoever asks for it has reached the node by.
Json url_of(const domain::Function& function, const domain::Setting& kept, const std::string& host) {
  const Json document = document_of(kept);
  Json json{{"FunctionUrl", "http://" + host + "/lambda-url/" + document.value("id", "") + "/"},
            {"FunctionArn", lambda::arn_of(function.name, kept.key)},
            {"CreationTime", lambda::date_of({std::chrono::microseconds(document.value("created_us", std::int64_t{}))})},
            {"LastModifiedTime", lambda::date_of(kept.updated)},
            {"AuthType", document.value("AuthType", "")},
            {"InvokeMode", document.value("InvokeMode", "BUFFERED")}};
  if (document.contains("Cors")) json["Cors"] = document["Cors"];
  return json;
}

bool is_word(const Json& text) {
  return text.is_string() && !text.get_ref<const std::string&>().empty() &&
         std::ranges::all_of(text.get_ref<const std::string&>(), [](char c) { return c > 0x20 && c < 0x7f && c != ','; });
}

Result<void> check_list(const std::string& key, const Json& list, std::size_t count_max, std::size_t size_max) {
  if (!list.is_array() || list.size() > count_max)
    return fail(Code::invalid_argument, "Cors." + key + " is not a list of at most " + std::to_string(count_max) + " texts");
  for (const Json& one : list)
    if (!is_word(one) || one.get_ref<const std::string&>().size() > size_max)
      return fail(Code::invalid_argument, "Cors." + key + " has '" + dump(one).substr(0, 80) + "', which is not a text of 1 to " +
                                              std::to_string(size_max) + " visible characters without commas");
  return {};
}

Result<void> check_cors(const Json& cors) {
  struct List { const char* key; std::size_t count_max, size_max; };
  constexpr List kLists[] = {{"AllowOrigins", 100, 253}, {"AllowMethods", 6, 6}, {"AllowHeaders", 100, 1024}, {"ExposeHeaders", 100, 1024}};
  if (!cors.is_object()) return fail(Code::invalid_argument, "Cors is not an object");
  for (const auto& [key, value] : cors.items()) {
    const auto* list = std::ranges::find(kLists, key, [](const List& l) { return std::string(l.key); });
    if (value.is_null()) continue;
    if (list != std::end(kLists)) {
      TRY_VOID(check_list(key, value, list->count_max, list->size_max));
    } else if (key == "AllowCredentials") {
      if (!value.is_boolean()) return fail(Code::invalid_argument, "Cors.AllowCredentials is neither true nor false");
    } else if (key == "MaxAge") {
      if (!value.is_number_integer() || value < 0 || value > 86'400)
        return fail(Code::invalid_argument, "Cors.MaxAge is not a whole number of seconds from 0 to 86400");
    } else {
      return fail(Code::invalid_argument, "Cors." + key.substr(0, 40) + " is unknown");
    }
  }
  return {};
}

// What of the body is kept, over what there was.
Result<Json> url_in(const Json& body, Json kept, bool keys) {
  TRY(const std::string auth, lambda::text_in(body, "AuthType"));
  TRY(const std::string mode, lambda::text_in(body, "InvokeMode"));
  if (!auth.empty()) kept["AuthType"] = auth;
  const std::string is = kept.value("AuthType", "");
  if (is != "NONE" && is != "AWS_IAM")
    return fail(Code::invalid_argument, "AuthType '" + is.substr(0, 40) + "' is not one: write NONE or AWS_IAM");
  if (is == "AWS_IAM" && !keys)
    return fail(Code::unimplemented, "AuthType AWS_IAM lets nobody in here: this node has no keys (lambda.keys in its configuration)");
  if (!mode.empty()) kept["InvokeMode"] = mode;
  if (mode != "" && mode != "BUFFERED" && mode != "RESPONSE_STREAM")
    return fail(Code::invalid_argument, "InvokeMode '" + mode.substr(0, 40) + "' is not one: write BUFFERED or RESPONSE_STREAM");
  const auto cors = body.find("Cors");
  if (cors == body.end() || cors->is_null()) return kept;
  TRY_VOID(check_cors(*cors));
  if (!cors->empty()) kept["Cors"] = *cors;
  else kept.erase("Cors");
  return kept;
}

auto url_now(const HttpRequest& request) {
  return [host = std::string(request.header("host"))](const lambda::Found& now) {
    return url_of(now.view.function, *domain::find_setting(now.view.function, kKind, now.key()), host);
  };
}

bool is_number(std::string_view text) { return !text.empty() && text.find_first_not_of("0123456789") == text.npos; }

}  // namespace

LambdaSettings::LambdaSettings(control::Control& control, const Turn& turn, bool keys)
    : control_(control), turn_(turn), keys_(keys), random_(os::random_seed()) {}

void LambdaSettings::add_urls(Router& router) {
  constexpr const char* kPath = "/2021-10-31/functions/{name}/url";
  add(router, Method::post, kPath, &LambdaSettings::create_url, kBodyMax);
  add(router, Method::put, kPath, &LambdaSettings::update_url, kBodyMax);
  add(router, Method::get, kPath, &LambdaSettings::get_url);
  add(router, Method::delete_, kPath, &LambdaSettings::delete_url);
  add(router, Method::get, "/2021-10-31/functions/{name}/urls", &LambdaSettings::list_urls);
}

void LambdaSettings::create_url(const Found& found, HttpRequest& request, const Responder& to) {
  const auto body = parse_object(request.body);
  if (!body) return refuse(to, body.error());
  if (is_number(found.key()))
    return refuse(to, {Code::invalid_argument,
                       "Qualifier '" + found.key() + "' is a version's number: a URL is of a function or of an alias"});
  if (domain::find_setting(found.view.function, kKind, found.key()))
    return refuse(to, {Code::conflict, "FunctionUrlConfig exists for this Lambda function"});
  auto url = url_in(*body, Json::object(), keys_);
  if (!url) return refuse(to, url.error());
  (*url)["id"] = domain::make_url_id(random_);
  (*url)["created_us"] = turn_.wall.since_epoch.count();
  keep(found, {{kKind, found.key(), dump(*url), {}}}, to, 201, url_now(request));
}

void LambdaSettings::update_url(const Found& found, HttpRequest& request, const Responder& to) {
  const auto body = parse_object(request.body);
  if (!body) return refuse(to, body.error());
  const domain::Setting* before = domain::find_setting(found.view.function, kKind, found.key());
  if (!before) return refuse(to, {Code::not_found, kNoUrl});
  auto url = url_in(*body, document_of(*before), keys_);
  if (!url) return refuse(to, url.error());
  if (!url->contains("id")) (*url)["id"] = domain::make_url_id(random_);  // one that was kept before URLs had any
  keep(found, {{kKind, found.key(), dump(*url), {}}}, to, 200, url_now(request));
}

void LambdaSettings::get_url(const Found& found, HttpRequest& request, const Responder& to) {
  const domain::Setting* kept = domain::find_setting(found.view.function, kKind, found.key());
  if (!kept) return refuse(to, {Code::not_found, kNoUrl});
  answer(to, url_of(found.view.function, *kept, std::string(request.header("host"))));
}

void LambdaSettings::list_urls(const Found& found, HttpRequest& request, const Responder& to) {
  std::vector<Json> all;
  for (const domain::Setting& setting : found.view.function.settings)
    if (setting.kind == kKind) all.push_back(url_of(found.view.function, setting, std::string(request.header("host"))));
  answer_page(request, to, "FunctionUrlConfigs", std::move(all));
}

void LambdaSettings::delete_url(const Found& found, HttpRequest&, const Responder& to) { drop(found, kKind, to, kNoUrl); }

}  // namespace mayfly::gateway
