// What the jobs in sandboxes answer, as JSON. The node reads it as the word of a stranger: bounded
// counts, lengths and ranges, or an error.
#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "domain/function.h"

namespace mayfly::domain {

struct CheckResult {
  Signature signature;
  bool template_allowed = true;          // false: it draws random numbers, so forks would draw the same
  std::vector<std::string> notes;        // "made-up input did not run: …"
};

[[nodiscard]] std::string to_json(const Signature& signature);
[[nodiscard]] std::string to_json(const CheckResult& result);
[[nodiscard]] std::string to_json(const Tuning& tuning);
[[nodiscard]] Result<Signature> parse_signature(std::string_view json);
[[nodiscard]] Result<CheckResult> parse_check_result(std::string_view json);
[[nodiscard]] Result<Tuning> parse_tuning_result(std::string_view json);

}  // namespace mayfly::domain
