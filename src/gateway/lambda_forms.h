// AWS Lambda's words for what Mayfly has: names and ARNs in, configurations, aliases and errors out, as its REST API of
// 2015-03-31 defines them (the service model that its SDKs carry). Pure; the handlers are lambda_api.h and inference.h.
//
// Here an account is 000000000000 and the region us-east-1; whatever account and region a caller names is taken as that.
// "$LATEST" is the newest version.
#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "domain/function.h"
#include "domain/json.h"
#include "gateway/http_types.h"
#include "serve/invocation.h"

namespace mayfly::gateway::lambda {

using Json = nlohmann::ordered_json;

struct Target {
  std::string function;
  std::string qualifier;  // "" where none was named
};
// FunctionName as its API takes it: a name, "name:qualifier", "account:function:name", or an ARN with or without a qualifier; and
// the Qualifier of the query, which must not say another.
[[nodiscard]] Result<Target> parse_target(std::string_view name, std::string_view qualifier);

[[nodiscard]] std::string dump(const Json& json);  // names and texts may be any bytes: what is not UTF-8 is replaced
[[nodiscard]] std::string arn_of(std::string_view function, std::string_view qualifier = {});
// FunctionConfiguration of one version of a function; `qualifier` as it is to be named: "$LATEST", a number, an alias.
[[nodiscard]] Json configuration_of(const domain::Function& function, const domain::Version& version, std::string_view qualifier);
[[nodiscard]] Json alias_of(const domain::Function& function, const domain::Alias& alias);
[[nodiscard]] Json tags_of(const domain::Function& function);
// A RevisionId: another text, another one.
[[nodiscard]] std::string revision_of(std::string_view text);
[[nodiscard]] std::string date_of(WallTime time);  // "2026-11-24T05:46:03.120+0000"

// What is kept of a function that only these clients know: kinds of domain::Setting.
constexpr const char* kConfigured = "aws.configuration";  // key: the version that it began with; {"Description", "Role"}
constexpr const char* kPublished = "aws.published";       // key: the version; {"Description"} of PublishVersion
constexpr const char* kAliasSaid = "aws.alias";           // key: the alias; {"Description"}
constexpr std::string_view kTag = "aws.tag.";             // and the tag's name; a JSON text
// {"Description", "Role"} of a version: its own, else those of the version before it.
[[nodiscard]] Json configured_of(const domain::Function& function, int version);
// FunctionVersion and RoutingConfig of a body. Where FunctionVersion is absent, `before` keeps its first.
[[nodiscard]] Result<std::vector<domain::Weight>> weights_of(const Json& body, const std::vector<domain::Weight>& before,
                                                              const std::vector<domain::Version>& versions);

// Paths begin with the date of their operation's version: "/2015-03-31/functions".
[[nodiscard]] bool is_path(std::string_view path);
// {"Type": "User", "Message": …} with x-amzn-ErrorType and its status, or the one given. Its SDKs repeat what is 429 or 5xx.
[[nodiscard]] HttpReply error_reply(const Error& error, int status = 0);
[[nodiscard]] HttpReply error_reply(int status, std::string_view type, std::string_view message);

// A call that a function failed is 200 there, with X-Amz-Function-Error and this as payload.
[[nodiscard]] bool is_function_error(const serve::InvocationReply& reply);
[[nodiscard]] std::string function_error(std::string_view request_id, const Error& error);
// START, what the call printed, END and REPORT, as X-Amz-Log-Result has them before its base64: the last 4 KiB.
[[nodiscard]] std::string log_of(std::string_view request_id, const serve::InvocationReply& reply, Bytes memory);
[[nodiscard]] std::string bytes_of_hex(std::string_view hex);
// Bytes of base64; invalid_argument where it is none: `what` names it.
[[nodiscard]] Result<std::string> from_base64(std::string_view text, std::string_view what);
// Invoke's X-Amzn-Trace-Id and X-Amz-Client-Context ("": it had none) as the lines of a frame's end that say so (domain/frame.h). A trace
// that can't be one is left out; a context that is none is an error.
[[nodiscard]] Result<std::string> call_context(std::string_view trace, std::string_view client);

}  // namespace mayfly::gateway::lambda
