// How AWS would name a function. Clients of its services want a region and an account; here there is one of each.
#pragma once
#include <string>
#include <string_view>

namespace mayfly::domain {

constexpr std::string_view kAwsAccount = "000000000000", kAwsRegion = "us-east-1";

// "arn:aws:lambda:us-east-1:000000000000:function:NAME"
inline std::string function_arn(std::string_view name) {
  return std::string("arn:aws:lambda:").append(kAwsRegion).append(":").append(kAwsAccount).append(":function:").append(name);
}

}  // namespace mayfly::domain
