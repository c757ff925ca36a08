#include "worker/detail/explain.h"

#include <string>
#include <string_view>

namespace mayfly::worker {
namespace {

// The word (or number) between two pieces of the engine's message; "" where they are not there.
std::string between(std::string_view text, std::string_view before, std::string_view after) {
  const std::size_t begin = text.find(before);
  if (begin == std::string_view::npos) return {};
  const std::string_view rest = text.substr(begin + before.size());
  return std::string(rest.substr(0, rest.find(after)));
}

// "[ONNXRuntimeError] : 10 : INVALID_GRAPH : What is wrong" -> "What is wrong", and so
// "/onnxruntime_src/…/model.cc:192 onnxruntime::Model::Model(…) What is wrong"
std::string_view without_source(std::string_view text) {
  constexpr std::string_view kTag = "[ONNXRuntimeError] : ", kBehind = " : ";
  if (text.starts_with(kTag)) {
    for (int part = 0; part < 3; ++part) {
      const std::size_t end = text.find(kBehind);
      if (end != std::string_view::npos) text.remove_prefix(end + kBehind.size());
    }
    return text;
  }
  if (!text.starts_with("/onnxruntime_src/")) return text;
  const std::size_t end = text.find(") ");
  return end == std::string_view::npos ? text : text.substr(end + 2);
}

}  // namespace

Error explain_load_failure(Error error) {
  const std::string_view text = error.message;
  const auto say = [&](Code code, std::string message) { return Error{code, std::move(message)}; };
  if (text.find("is under development and support for this is limited") != std::string_view::npos) {
    const std::string domain = between(text, "support for domain ", " is till");
    return say(Code::invalid_argument, "the model uses opset " + between(text, "versions. Opset ", " is under") + " of " + domain +
                                           "; this engine knows up to " + between(text, "is till opset ", ".") +
                                           ": export it with an older opset");
  }
  if (text.find("Unsupported model IR version") != std::string_view::npos)
    return say(Code::invalid_argument, "the model is written in ONNX IR version " + between(text, "IR version: ", ",") +
                                           "; this engine reads up to " + between(text, "max supported IR version: ", "\n") +
                                           ": save it with an older ir_version, or export it with an older onnx");
  if (text.find("is not a registered function/op") != std::string_view::npos) {
    const std::string name = between(text, "Fatal error: ", " is not a registered");
    return say(Code::invalid_argument, "the model uses the operator " + name.substr(0, name.find('(')) +
                                           ", which this engine doesn't have: export it with standard ONNX operators");
  }
  if (text.find("Could not find an implementation for") != std::string_view::npos)
    return say(Code::unimplemented, "the model uses the operator " + between(text, "implementation for ", " with node") +
                                        " with a datatype or version that this engine has no CPU kernel for: export it in FP32 or with "
                                        "another opset");
  if (text.find("MLDataType for: ") != std::string_view::npos)
    return say(Code::unimplemented, "the model uses values of type " + between(text, "MLDataType for: ", " is not") +
                                        ", which this engine can't compute with: export it without");
  if (text.find("must not be recursive") != std::string_view::npos)
    return say(Code::invalid_argument, "a function of the model calls itself (" + between(text, "Cycle detected: ", "\n") +
                                           "): export it without recursion");
  error.message = "the engine can't load it: " + std::string(without_source(text));
  while (!error.message.empty() && error.message.back() == '\n') error.message.pop_back();
  return error;
}

}  // namespace mayfly::worker
