#include "optimize/recipe.h"

#include <algorithm>
#include <charconv>
#include <cmath>

#include "base/distance.h"
#include "optimize/detail/steps.h"

namespace mayfly::optimize {
namespace {

constexpr std::size_t kTextMax = 1000, kWordMax = 100;
constexpr std::string_view kShape = "shape:", kStatic = "int8-static";

std::string_view trim(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\n')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\n')) text.remove_suffix(1);
  return text;
}

std::optional<double> number(std::string_view text) {
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || !std::isfinite(value)) return std::nullopt;
  return value;
}

std::string plain(double value) {
  char text[32];
  return std::string(text, std::to_chars(text, text + sizeof(text), value).ptr);
}

const StepInfo* info_of(const std::vector<StepInfo>& all, std::string_view name) {
  const auto found = std::ranges::find_if(all, [&](const StepInfo& info) {
    return info.name == name || (info.name.starts_with(kShape) && name.starts_with(kShape) && name.size() > kShape.size());
  });
  return found == all.end() ? nullptr : &*found;
}

// The step with its amount filled in and checked; `what` begins the message of what is wrong.
Result<Step> checked(Step step, const std::string& what) {
  const std::vector<StepInfo> all = all_steps();
  const StepInfo* info = info_of(all, step.name);
  if (!info) {
    std::string words, nearest;
    std::size_t least = 4;
    for (const StepInfo& one : all) {
      words += (words.empty() ? "" : ", ") + one.name;
      const std::size_t distance = edit_distance(one.name, std::string_view(step.name).substr(0, kWordMax));
      if (distance < least) least = distance, nearest = one.name;
    }
    return fail(Code::invalid_argument,
                what + " is no step" + (nearest.empty() ? "" : " (did you mean '" + nearest + "'?)") + "; there are " + words);
  }
  if (info->amount.empty()) {
    if (!step.amount) return step;
    return fail(Code::invalid_argument, what + ": '" + info->name + "' takes no amount");
  }
  const std::string range = info->amount + ", " + plain(info->least) + " to " + plain(info->most);
  if (!step.amount && info->otherwise) step.amount = info->otherwise;
  if (!step.amount)
    return fail(Code::invalid_argument, what + " needs an amount: " + range + ", as in '" + info->name + ":" + plain(info->least) + "'");
  if (*step.amount < info->least || *step.amount > info->most)
    return fail(Code::invalid_argument, what + ": " + plain(*step.amount) + " is out of range: " + range);
  if (info->least >= 1 && *step.amount != std::floor(*step.amount))
    return fail(Code::invalid_argument, what + ": " + plain(*step.amount) + " is no whole number: " + range);
  return step;
}

Result<Step> parse_word(std::string_view word, std::size_t place) {
  const std::string what = "'" + std::string(word.substr(0, kWordMax)) + "' (word " + std::to_string(place) + " of the recipe)";
  if (word.empty())
    return fail(Code::invalid_argument,
                "word " + std::to_string(place) + " of the recipe is empty: write steps with commas between them");
  Step step;
  if (word.starts_with(kStatic)) {  // its method is a word and no amount
    step.name = word == "int8-static:min-max" ? std::string(kStatic) : std::string(word);
    return checked(std::move(step), what);
  }
  const std::size_t colon = word.find(':');
  const bool shape = word.starts_with(kShape);
  const std::size_t mark = shape ? word.rfind('=') : colon;
  if (shape && mark == word.npos) return fail(Code::invalid_argument, what + " needs a size: write shape:NAME=N, as in 'shape:batch=1'");
  step.name = trim(word.substr(0, mark));
  if (mark != word.npos) {
    const std::string_view text = trim(word.substr(mark + 1));
    step.amount = number(text);
    if (!step.amount) return fail(Code::invalid_argument, what + ": '" + std::string(text.substr(0, kWordMax)) + "' is no number");
  }
  return checked(std::move(step), what);
}

Result<void> run(Work& work, const std::string& name) {
  if (name == "fold") return fold(work);
  if (name == "int8-dynamic") return int8_dynamic(work);
  if (name.starts_with(kStatic))
    return fail(Code::invalid_argument,
                "'" + name + "' takes ranges of activations, which samples and an engine measure: quantise_static()");
  if (name == "int8-weights") return int8_weights(work);
  if (name == "int4-weights") return int4_weights(work);
  if (name == "fp16") return half_weights(work, onnx::TensorProto::FLOAT16);
  if (name == "bf16") return half_weights(work, onnx::TensorProto::BFLOAT16);
  if (name == "prune") return prune(work);
  if (name == "prune-neurons") return prune_neurons(work);
  if (name == "prune-channels") return prune_channels(work);
  if (name == "prune-heads") return prune_heads(work);
  if (name == "low-rank") return low_rank(work);
  if (name.starts_with(kShape)) return specialise(work, std::string_view(name).substr(kShape.size()));
  return fail(Code::internal, "the step '" + name + "' is listed and not made");
}

}  // namespace

std::vector<StepInfo> all_steps() {
  return {
      {.name = "fold", .does = "computes what only depends on constants, and removes what nobody uses and what is there twice"},
      {.name = "int8-dynamic",
       .does = "8-bit products (MatMul, Gemm) and tables (Gather); the ranges of activations are measured at each run"},
      {.name = "int8-static", .does = "8-bit convolutions and products; the ranges of activations are measured once, on samples"},
      {.name = "int8-static:percentile", .does = "the same, with ranges that hold 99.999 % of what was measured"},
      {.name = "int8-static:entropy", .does = "the same, with ranges that lose least of the values' distribution"},
      {.name = "int8-weights", .does = "weights stored in 8 bits, a scale for each column, computed with in 32"},
      {.name = "int4-weights",
       .does = "weights of MatMul and Gemm in 4 bits, a scale for each block (MatMulNBits); tables in 8",
       .amount = "numbers in a block",
       .least = 16,
       .most = 256,
       .otherwise = 32},
      {.name = "fp16", .does = "weights stored as 16-bit floats, computed with in 32; those beyond 65504 stay"},
      {.name = "bf16", .does = "weights stored as bfloat16, computed with in 32"},
      {.name = "prune",
       .does = "the smallest weights of each layer become zero; no smaller and no faster by itself",
       .amount = "share of the weights",
       .least = 0.01,
       .most = 0.99},
      {.name = "prune-neurons",
       .does = "the least neurons between two products leave, with their weights",
       .amount = "share of the neurons",
       .least = 0.01,
       .most = 0.95},
      {.name = "prune-channels",
       .does = "the least channels between convolutions leave, with their weights",
       .amount = "share of the channels",
       .least = 0.01,
       .most = 0.95},
      {.name = "prune-heads",
       .does = "the least heads of attention leave, with their weights",
       .amount = "share of the heads",
       .least = 0.01,
       .most = 0.95},
      {.name = "low-rank",
       .does = "each product (MatMul) becomes two thinner ones",
       .amount = "share of the weights that is left",
       .least = 0.01,
       .most = 0.99},
      {.name = "shape:NAME",
       .does = "the free dimension NAME of the inputs becomes a fixed one",
       .amount = "its size, written shape:NAME=N",
       .least = 1,
       .most = 1 << 20},
  };
}

std::string to_string(const Step& step) {
  if (!step.amount) return step.name;
  return step.name + (step.name.starts_with(kShape) ? "=" : ":") + plain(*step.amount);
}

Result<std::vector<Step>> parse_recipe(std::string_view text) {
  if (text.size() > kTextMax) return fail(Code::invalid_argument, "the recipe is longer than 1000 bytes");
  std::vector<Step> steps;
  for (std::size_t at = 0; at <= text.size();) {
    const std::size_t end = std::min(text.find(',', at), text.size());
    TRY(Step step, parse_word(trim(text.substr(at, end - at)), steps.size() + 1));
    steps.push_back(std::move(step));
    if (steps.size() > kStepsMax) return fail(Code::invalid_argument, "the recipe has more than 16 steps");
    at = end + 1;
  }
  return steps;
}

Result<Applied> apply(const Model& model, const Step& step, const std::set<std::string>& keep) {
  TRY(const Step whole, checked(step, "'" + to_string(step).substr(0, kWordMax) + "'"));
  Model made = model.copy();
  Work work{.graph = Graph(made.impl().proto), .amount = whole.amount.value_or(0), .keep = keep};
  TRY_VOID(run(work, whole.name));
  return Applied{.model = std::move(made), .changed = work.changed, .done = std::move(work.done), .left = std::move(work.left),
                 .notes = std::move(work.notes)};
}

}  // namespace mayfly::optimize
