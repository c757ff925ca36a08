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

// "arn:aws:lambda:us-east-1:000000000000:layer:NAME"; with a number, of that version.
inline std::string layer_arn(std::string_view name, int number = 0) {
  std::string arn = std::string("arn:aws:lambda:").append(kAwsRegion).append(":").append(kAwsAccount).append(":layer:").append(name);
  return number == 0 ? arn : arn + ":" + std::to_string(number);
}

}  // namespace mayfly::domain
