#include "domain/job_results.h"

#include <algorithm>
#include <type_traits>

#include "domain/json.h"
#include "domain/working_set.h"

namespace mayfly::domain {
namespace {

using Json = nlohmann::json;

constexpr std::size_t kTensorsMax = 256, kRankMax = 32, kNameMax = 512, kTextMax = 256 * 1024;

Json tensors(const std::vector<TensorSpec>& specs) {
  Json list = Json::array();
  for (const TensorSpec& spec : specs) list.push_back({{"name", spec.name}, {"datatype", name(spec.datatype)}, {"shape", spec.shape}});
  return list;
}

Json json_of(const Signature& s) { return {{"inputs", tensors(s.inputs)}, {"outputs", tensors(s.outputs)}, {"batches", s.batches}}; }

// The library would convert any number, 1e300 too, by a cast.
template <class T>
T integer(const Json& json) {
  if (!json.is_number_integer()) throw Json::type_error::create(302, "an integer is expected", &json);
  if constexpr (std::is_unsigned_v<T>)
    if (!json.is_number_unsigned()) throw Json::type_error::create(302, "a negative number is not expected", &json);
  return json.get<T>();
}

Result<std::vector<TensorSpec>> read_tensors(const Json& list) {
  if (!list.is_array() || list.size() > kTensorsMax) return fail(Code::invalid_argument, "a list of at most 256 tensors is missing");
  std::vector<TensorSpec> specs;
  for (const Json& item : list) {
    TensorSpec spec{.name = item.at("name").get<std::string>()};
    const Json& shape = item.at("shape");
    if (!shape.is_array() || shape.size() > kRankMax)
      return fail(Code::invalid_argument, "a tensor's shape is no list of at most 32 numbers");
    for (const Json& dimension : shape) spec.shape.push_back(integer<std::int64_t>(dimension));
    const auto type = datatype_named(item.at("datatype").get<std::string>());
    if (!type || spec.name.size() > kNameMax) return fail(Code::invalid_argument, "a tensor's name or datatype is out of bounds");
    for (const std::int64_t d : spec.shape)
      if (d < -1) return fail(Code::invalid_argument, "a dimension is negative");
    spec.datatype = *type;
    specs.push_back(std::move(spec));
  }
  return specs;
}

Result<Signature> read_signature(const Json& json) {
  Signature s;
  TRY(s.inputs, read_tensors(json.at("inputs")));
  TRY(s.outputs, read_tensors(json.at("outputs")));
  s.batches = json.at("batches").get<bool>();
  return s;
}

// Depth is bounded by the text's length and the parser's own stack use is not: so is the text's length.
template <class T>
Result<T> reading(std::string_view text, Result<T> (*read)(const Json&)) {
  if (text.size() > kTextMax) return fail(Code::invalid_argument, "an answer of " + std::to_string(text.size()) + " bytes");
  try {
    return read(Json::parse(text));
  } catch (const Json::exception& error) {
    return fail(Code::invalid_argument, std::string("not the JSON that was expected: ") + error.what());
  }
}

}  // namespace

std::string to_json(const Signature& signature) { return json_of(signature).dump(-1, ' ', false, Json::error_handler_t::replace); }

std::string to_json(const CheckResult& r) {
  return Json{{"signature", json_of(r.signature)}, {"template_allowed", r.template_allowed}, {"notes", r.notes}}.dump(
      -1, ' ', false, Json::error_handler_t::replace);
}

std::string to_json(const Tuning& t) {
  return Json{{"pack_weights", t.pack_weights}, {"pack_cold", t.pack_cold}, {"large_pages", t.large_pages}, {"threads", t.threads},
              {"template_allowed", t.template_allowed}, {"cold_first_ns", t.cold_first_ns}, {"warm_run_ns", t.warm_run_ns},
              {"fork_first_ns", t.fork_first_ns}, {"private_bytes", t.private_bytes}, {"own_bytes", t.own_bytes},
              {"own_packed_bytes", t.own_packed_bytes}, {"working_set", t.working_set}}.dump();
}

Result<Signature> parse_signature(std::string_view json) { return reading<Signature>(json, read_signature); }

Result<CheckResult> parse_check_result(std::string_view json) {
  return reading<CheckResult>(json, [](const Json& j) -> Result<CheckResult> {
    CheckResult r{.template_allowed = j.at("template_allowed").get<bool>()};
    TRY(r.signature, read_signature(j.at("signature")));
    if (r.signature.inputs.empty() || r.signature.outputs.empty())
      return fail(Code::invalid_argument, "a model without inputs or without outputs");
    for (const Json& note : j.at("notes"))
      if (r.notes.size() < 16) r.notes.push_back(note.get<std::string>().substr(0, 1000));
    return r;
  });
}

Result<Tuning> parse_tuning_result(std::string_view json) {
  return reading<Tuning>(json, [](const Json& j) -> Result<Tuning> {
    Tuning t{.pack_weights = j.at("pack_weights").get<bool>(),
             .pack_cold = j.at("pack_cold").get<bool>(),
             .large_pages = j.at("large_pages").get<bool>(),
             .threads = static_cast<int>(std::min<std::uint64_t>(integer<std::uint64_t>(j.at("threads")), 1000)),
             .template_allowed = j.at("template_allowed").get<bool>(),
             .cold_first_ns = integer<std::uint64_t>(j.at("cold_first_ns")),
             .warm_run_ns = integer<std::uint64_t>(j.at("warm_run_ns")),
             .fork_first_ns = integer<std::uint64_t>(j.at("fork_first_ns")),
             .private_bytes = integer<std::uint64_t>(j.at("private_bytes")),
             .own_bytes = integer<std::uint64_t>(j.at("own_bytes")),
             .own_packed_bytes = integer<std::uint64_t>(j.at("own_packed_bytes")),
             .working_set = j.at("working_set").get<std::string>()};
    // It is only ever to save time: one that is not sound is none.
    if (!t.working_set.empty() && !parse_working_set(t.working_set)) t.working_set.clear();
    if (t.threads < 1 || t.threads > 64) return fail(Code::invalid_argument, std::to_string(t.threads) + " threads");
    return t;
  });
}

}  // namespace mayfly::domain
