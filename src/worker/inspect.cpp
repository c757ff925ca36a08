#include "worker/inspect.h"

#include <algorithm>
#include <array>
#include <optional>

#include "worker/detail/wire_reader.h"

namespace mayfly::worker {
namespace {

constexpr int kDepthMax = 32;
constexpr std::size_t kExternalMax = 64;

constexpr std::array<std::string_view, 6> kRandom = {"RandomNormal",      "RandomNormalLike", "RandomUniform",
                                                     "RandomUniformLike", "Multinomial",      "Bernoulli"};

// What exporters call the names of classes: Ultralytics, Hugging Face, and those who write them by hand.
constexpr std::array<std::string_view, 5> kNameKeys = {"names", "id2label", "classes", "class_names", "labels"};
constexpr std::size_t kNamesMax = 1 << 20;

class Walk {
 public:
  Result<Inspection> model(std::string_view bytes) {
    WireReader reader(bytes);
    bool graph_seen = false;
    while (const auto field = reader.next()) {
      if (field->number == 1) out_.ir_version = static_cast<std::int64_t>(field->value);
      if (field->number == 7) graph_seen = true, graph(field->bytes, 0);
      if (field->number == 8) opset(field->bytes);
      if (field->number == 14) metadata(field->bytes);
      if (field->number == 25) function(field->bytes);
      if (failure_) return fail(*failure_);
    }
    if (reader.bad() || bad_) {
      return fail(Code::invalid_argument, graph_seen || out_.ir_version > 0 ? "the model file is truncated or damaged: upload it again, "
                                                                              "or export it again"
                                                                            : "this is not an ONNX model: export it to ONNX first (its "
                                                                              "bytes are not a protobuf ModelProto)");
    }
    if (!graph_seen || out_.ir_version <= 0)
      return fail(Code::invalid_argument, "this is not an ONNX model: it has no graph or no ir_version");
    out_.stores_bits = turns_back_ && !rounds_;
    return out_;
  }

 private:
  void opset(std::string_view bytes) {
    WireReader reader(bytes);
    std::string_view domain;
    std::int64_t version = 0;
    while (const auto field = reader.next()) {
      if (field->number == 1) domain = field->bytes;
      if (field->number == 2) version = static_cast<std::int64_t>(field->value);
    }
    if (domain.empty() || domain == "ai.onnx") out_.opset = version;
    bad_ = bad_ || reader.bad();
  }

  void metadata(std::string_view bytes) {  // StringStringEntryProto: key, value
    WireReader reader(bytes);
    std::string_view key, value;
    while (const auto field = reader.next()) {
      if (field->number == 1) key = field->bytes;
      if (field->number == 2) value = field->bytes;
    }
    if (std::ranges::find(kNameKeys, key) != kNameKeys.end() && value.size() <= kNamesMax) out_.class_names = value;
    bad_ = bad_ || reader.bad();
  }

  void function(std::string_view bytes) {  // FunctionProto: nodes are field 7
    WireReader reader(bytes);
    while (const auto field = reader.next())
      if (field->number == 7) node(field->bytes, 0);
    bad_ = bad_ || reader.bad();
  }

  void graph(std::string_view bytes, int depth) {
    if (depth > kDepthMax) return refuse("graphs are nested more than 32 deep");
    WireReader reader(bytes);
    while (const auto field = reader.next()) {
      if (field->number == 1) node(field->bytes, depth);
      if (field->number == 5) tensor(field->bytes);
      if (field->number == 15) sparse_tensor(field->bytes);
      if (failure_) return;
    }
    bad_ = bad_ || reader.bad();
  }

  void sparse_tensor(std::string_view bytes) {  // SparseTensorProto: values and indices
    WireReader reader(bytes);
    while (const auto field = reader.next())
      if (field->number == 1 || field->number == 2) tensor(field->bytes);
    bad_ = bad_ || reader.bad();
  }

  void node(std::string_view bytes, int depth) {
    WireReader reader(bytes);
    ++out_.nodes;
    int inputs = 0;
    bool dropout = false;
    while (const auto field = reader.next()) {
      if (field->number == 1) ++inputs;
      if (field->number == 4) kind(field->bytes), dropout = field->bytes == "Dropout";
      if (field->number == 5) attribute(field->bytes, depth);
      if (failure_) return;
    }
    if (dropout && inputs > 2) out_.draws_random = true;  // the third input switches training mode on
    bad_ = bad_ || reader.bad();
  }

  void kind(std::string_view of) {
    out_.draws_random = out_.draws_random || std::ranges::find(kRandom, of) != kRandom.end();
    out_.normalises = out_.normalises || of == "LayerNormalization" || of == "ReduceMean";
    turns_back_ = turns_back_ || of == "DequantizeLinear";
    rounds_ = rounds_ || of == "QuantizeLinear";
  }

  void attribute(std::string_view bytes, int depth) {
    WireReader reader(bytes);
    while (const auto field = reader.next()) {
      if (field->number == 5) tensor(field->bytes);                                     // t
      if (field->number == 6 || field->number == 11) graph(field->bytes, depth + 1);    // g, graphs
      if (field->number == 10) tensor(field->bytes);                                    // tensors
      if (field->number == 22 || field->number == 23) sparse_tensor(field->bytes);
      if (failure_) return;
    }
    bad_ = bad_ || reader.bad();
  }

  void tensor(std::string_view bytes) {
    WireReader reader(bytes);
    std::string_view location;
    std::uint64_t where = 0;
    while (const auto field = reader.next()) {
      if (field->number == 14) where = field->value;
      if (field->number == 13) entry(field->bytes, location);
    }
    bad_ = bad_ || reader.bad();
    if (where == 1) external(location);
  }

  void entry(std::string_view bytes, std::string_view& location) {
    WireReader reader(bytes);
    std::string_view key, value;
    while (const auto field = reader.next()) {
      if (field->number == 1) key = field->bytes;
      if (field->number == 2) value = field->bytes;
    }
    if (key == "location") location = value;
    bad_ = bad_ || reader.bad();
  }

  void external(std::string_view location) {
    if (auto resolved = resolve_external("model.onnx", location); !resolved) return refuse(std::move(resolved).error().message);
    out_.external_data.emplace(location);
    ++out_.external_tensors;
    if (out_.external_data.size() >= kExternalMax) refuse("its weights are in 64 files or more; join them into fewer");
  }

  void refuse(std::string why) {
    if (!failure_) failure_ = Error{Code::invalid_argument, std::move(why)};
  }

  Inspection out_;
  std::optional<Error> failure_;
  bool bad_ = false, turns_back_ = false, rounds_ = false;
};

// What people deploy by mistake, by its first bytes.
std::string_view looks_like(std::string_view file) {
  if (file.starts_with("PK\x03\x04")) return "a zip archive (from PyTorch or Keras?)";
  if (file.starts_with("\x89HDF")) return "an HDF5 file (from Keras?)";
  if (file.size() > 2 && file[0] == '\x80' && file[1] >= 2 && file[1] <= 5) return "a Python pickle";
  if (file.substr(0, 8).ends_with("TFL3")) return "a TensorFlow Lite model";
  if (file.substr(0, 8).ends_with("ORTM")) return "ONNX Runtime's own format: deploy the .onnx that it was made from";
  if (file.substr(0, 9).ends_with("{")) return "a safetensors file: weights without a graph";
  if (file.starts_with("version https://git-lfs")) return "a pointer of Git LFS: fetch the file itself (git lfs pull)";
  return {};
}

}  // namespace

Result<Inspection> inspect_model(std::string_view bytes) {
  auto inspection = Walk().model(bytes);
  if (inspection || bytes.empty()) return inspection;
  const std::string_view other = looks_like(bytes);
  if (!other.empty()) return fail(Code::invalid_argument, "this is not an ONNX model: it looks like " + std::string(other));
  return inspection;
}

Result<std::string> resolve_external(std::string_view model_path, std::string_view location) {
  const auto refuse = [&](std::string_view why) {
    return fail(Code::invalid_argument, "the model's weights are in '" + std::string(location.substr(0, 100)) + "', which " +
                                            std::string(why) + ": save the model with its data beside it, named by a relative path");
  };
  constexpr std::size_t kLocationMax = 240;
  if (location.empty()) return refuse("is no name");
  if (location.size() > kLocationMax) return refuse("is longer than 240 bytes");
  if (location.front() == '/' || location.find('\0') != std::string_view::npos || location.find('\\') != std::string_view::npos)
    return refuse("is no relative path");
  std::string resolved(model_path.substr(0, model_path.rfind('/') + 1));
  for (std::size_t at = 0; at < location.size();) {
    const std::size_t end = std::min(location.find('/', at), location.size());
    const std::string_view part = location.substr(at, end - at);
    at = end + 1;
    if (part == "..") return refuse("is outside the function's folder");
    if (part.empty() || part == ".") continue;
    if (!resolved.empty() && resolved.back() != '/') resolved += '/';
    resolved += part;
  }
  return resolved;
}

}  // namespace mayfly::worker
