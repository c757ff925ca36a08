#include "worker/model.h"

#include <onnxruntime_session_options_config_keys.h>

#include <algorithm>
#include <cstring>
#include <ranges>

#include "worker/detail/ort.h"

namespace mayfly::worker {
namespace {

using domain::Datatype;
using domain::TensorSpec;

struct Pair {
  Datatype ours;
  ONNXTensorElementDataType theirs;
};
constexpr Pair kTypes[] = {
    {Datatype::boolean, ONNX_TENSOR_ELEMENT_DATA_TYPE_BOOL}, {Datatype::uint8, ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT8},
    {Datatype::uint16, ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT16}, {Datatype::uint32, ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT32},
    {Datatype::uint64, ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT64}, {Datatype::int8, ONNX_TENSOR_ELEMENT_DATA_TYPE_INT8},
    {Datatype::int16, ONNX_TENSOR_ELEMENT_DATA_TYPE_INT16}, {Datatype::int32, ONNX_TENSOR_ELEMENT_DATA_TYPE_INT32},
    {Datatype::int64, ONNX_TENSOR_ELEMENT_DATA_TYPE_INT64}, {Datatype::fp16, ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT16},
    {Datatype::fp32, ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT}, {Datatype::fp64, ONNX_TENSOR_ELEMENT_DATA_TYPE_DOUBLE},
    {Datatype::bytes, ONNX_TENSOR_ELEMENT_DATA_TYPE_STRING}, {Datatype::bf16, ONNX_TENSOR_ELEMENT_DATA_TYPE_BFLOAT16}};

Result<Datatype> ours(ONNXTensorElementDataType theirs, const std::string& what) {
  for (const Pair& p : kTypes)
    if (p.theirs == theirs) return p.ours;
  return fail(Code::unimplemented, what + " has element type " + std::to_string(theirs) + " (complex, float8 or int4), which no protocol here can carry");
}

ONNXTensorElementDataType theirs(Datatype type) {
  for (const Pair& p : kTypes)
    if (p.ours == type) return p.theirs;
  return ONNX_TENSOR_ELEMENT_DATA_TYPE_UNDEFINED;
}

constexpr std::size_t kTensorsMax = 256;

}  // namespace

struct Model::Inside {
  explicit Inside(const OrtApi& interface) : api(interface), session(interface.ReleaseSession), memory(interface.ReleaseMemoryInfo) {}
  ~Inside() { release_outputs(); }

  Result<void> describe();
  Result<TensorSpec> describe_one(bool input, std::size_t index, bool& is_map);
  Result<void> bind(std::span<const TensorView> inputs);
  Result<TensorView> view(OrtValue* value, std::size_t index);
  Result<TensorView> view_map(OrtValue* sequence, std::size_t index);
  Result<TensorView> view_strings(OrtValue* value, TensorView tensor, std::size_t index);
  void release_outputs() {
    for (OrtValue*& value : output_values) {
      if (value) api.ReleaseValue(value);
      value = nullptr;
    }
  }
  void release_inputs() {
    for (OrtValue*& value : input_values) {
      if (value) api.ReleaseValue(value);
      value = nullptr;
    }
  }

  const OrtApi& api;
  ModelData data;                      // mapped as long as the session lives
  Owned<OrtSession> session;
  Owned<OrtMemoryInfo> memory;
  OrtAllocator* allocator = nullptr;
  domain::Signature signature;
  std::vector<bool> is_map;            // of outputs: a sequence of maps, given as a tensor
  std::vector<const char*> input_names, output_names;
  std::vector<OrtValue*> input_values, output_values;
  std::vector<TensorView> outputs;
  std::vector<std::string> text;       // of string outputs, per output
  std::vector<std::vector<std::string_view>> strings;
  std::vector<std::vector<float>> mapped;
};

Model::Model(std::unique_ptr<Inside> inside) : inside_(std::move(inside)) {}
Model::~Model() = default;
const domain::Signature& Model::signature() const { return inside_->signature; }

namespace {

Result<Owned<OrtSessionOptions>> make_options(const OrtApi& api, const ModelData& data, const LoadOptions& load) {
  Owned<OrtSessionOptions> options(api.ReleaseSessionOptions);
  ORT_TRY(api, CreateSessionOptions(options.out()));
  ORT_TRY(api, SetIntraOpNumThreads(options.get(), load.threads));
  ORT_TRY(api, SetInterOpNumThreads(options.get(), 1));
  ORT_TRY(api, SetSessionExecutionMode(options.get(), ORT_SEQUENTIAL));
  // Shapes vary with the batch: a plan of memory for each would only grow.
  ORT_TRY(api, DisableMemPattern(options.get()));
  const auto configure = [&](const char* key, const char* value) { return api.AddSessionConfigEntry(options.get(), key, value); };
  const auto set = [&](const char* key, const char* value) -> Result<void> {
    if (OrtStatus* status = configure(key, value)) return fail(take_error(api, status));
    return {};
  };
  TRY_VOID(set(kOrtSessionOptionsConfigAllowIntraOpSpinning, "0"));
  if (!load.pack_weights) TRY_VOID(set(kOrtSessionOptionsConfigDisablePrepacking, "1"));
  if (load.compiled) {
    TRY_VOID(set(kOrtSessionOptionsConfigLoadModelFormat, "ORT"));
    TRY_VOID(set(kOrtSessionOptionsConfigUseORTModelBytesDirectly, "1"));
    TRY_VOID(set(kOrtSessionOptionsConfigUseORTModelBytesForInitializers, "1"));
    ORT_TRY(api, SetSessionGraphOptimizationLevel(options.get(), ORT_DISABLE_ALL));
    return options;
  }
  TRY_VOID(set(kOrtSessionOptionsConfigLoadModelFormat, "ONNX"));
  ORT_TRY(api, SetSessionGraphOptimizationLevel(options.get(), load.optimise || !load.save_compiled_to.empty() ? ORT_ENABLE_ALL : ORT_DISABLE_ALL));
  if (!load.save_compiled_to.empty()) {
    TRY_VOID(set(kOrtSessionOptionsConfigSaveModelFormat, "ORT"));
    ORT_TRY(api, SetOptimizedModelFilePath(options.get(), load.save_compiled_to.c_str()));
  }
  if (data.files.size() > 1) {
    std::vector<const char*> names;
    std::vector<char*> buffers;
    std::vector<std::size_t> sizes;
    for (std::size_t i = 1; i < data.files.size(); ++i) {
      names.push_back(data.files[i].path.c_str());
      buffers.push_back(reinterpret_cast<char*>(data.files[i].bytes.data()));
      sizes.push_back(data.files[i].bytes.size());
    }
    ORT_TRY(api, AddExternalInitializersFromFilesInMemory(options.get(), names.data(), buffers.data(), sizes.data(), names.size()));
  }
  return options;
}

}  // namespace

Result<std::unique_ptr<Model>> Model::load(Engine& engine, ModelData data, const LoadOptions& load) {
  const OrtApi& api = engine.api();
  auto inside = std::make_unique<Inside>(api);
  inside->data = std::move(data);
  if (inside->data.files.empty() || inside->data.files[0].bytes.size() == 0) return fail(Code::invalid_argument, "the model's file is empty");
  TRY(const auto options, make_options(api, inside->data, load));
  const os::Mapping& model = inside->data.files[0].bytes;
  ORT_TRY(api, CreateSessionFromArray(&engine.environment(), model.data(), model.size(), options.get(), inside->session.out()));
  ORT_TRY(api, CreateCpuMemoryInfo(OrtArenaAllocator, OrtMemTypeDefault, inside->memory.out()));
  ORT_TRY(api, GetAllocatorWithDefaultOptions(&inside->allocator));
  TRY_VOID(inside->describe());
  return std::unique_ptr<Model>(new Model(std::move(inside)));  // the constructor is private: make_unique can't
}

Result<TensorSpec> Model::Inside::describe_one(bool input, std::size_t index, bool& map) {
  char* name = nullptr;
  if (OrtStatus* status = input ? api.SessionGetInputName(session.get(), index, allocator, &name)
                                : api.SessionGetOutputName(session.get(), index, allocator, &name)) return fail(take_error(api, status));
  TensorSpec spec{.name = name};
  if (OrtStatus* freed = api.AllocatorFree(allocator, name)) api.ReleaseStatus(freed);
  Owned<OrtTypeInfo> type(api.ReleaseTypeInfo);
  if (OrtStatus* status = input ? api.SessionGetInputTypeInfo(session.get(), index, type.out())
                                : api.SessionGetOutputTypeInfo(session.get(), index, type.out())) return fail(take_error(api, status));
  ONNXType kind{};
  ORT_TRY(api, GetOnnxTypeFromTypeInfo(type.get(), &kind));
  const std::string what = std::string(input ? "input '" : "output '") + spec.name + "'";
  if (kind == ONNX_TYPE_SEQUENCE && !input) {
    // What classic scikit-learn exports give (ZipMap): [{class: probability, …}, …]. Given as a matrix.
    map = true;
    spec.datatype = Datatype::fp32;
    spec.shape = {-1, -1};
    return spec;
  }
  if (kind != ONNX_TYPE_TENSOR) return fail(Code::unimplemented, what + " is a sequence, a map or optional, and not a tensor: export the model with tensors only (scikit-learn: zipmap=False)");
  const OrtTensorTypeAndShapeInfo* info = nullptr;
  ORT_TRY(api, CastTypeInfoToTensorInfo(type.get(), &info));
  ONNXTensorElementDataType element{};
  ORT_TRY(api, GetTensorElementType(info, &element));
  TRY(spec.datatype, ours(element, what));
  std::size_t rank = 0;
  ORT_TRY(api, GetDimensionsCount(info, &rank));
  spec.shape.resize(rank);
  ORT_TRY(api, GetDimensions(info, spec.shape.data(), rank));
  for (std::int64_t& dimension : spec.shape) dimension = std::max<std::int64_t>(dimension, -1);
  return spec;
}

Result<void> Model::Inside::describe() {
  std::size_t inputs = 0, outs = 0;
  ORT_TRY(api, SessionGetInputCount(session.get(), &inputs));
  ORT_TRY(api, SessionGetOutputCount(session.get(), &outs));
  if (inputs == 0 || outs == 0 || inputs > kTensorsMax || outs > kTensorsMax)
    return fail(Code::invalid_argument, "the model has " + std::to_string(inputs) + " inputs and " + std::to_string(outs) + " outputs; 1 to 256 of each can be served");
  bool ignored = false;
  for (std::size_t i = 0; i < inputs; ++i) {
    TRY(TensorSpec spec, describe_one(true, i, ignored));
    signature.inputs.push_back(std::move(spec));
  }
  for (std::size_t i = 0; i < outs; ++i) {
    bool map = false;
    TRY(TensorSpec spec, describe_one(false, i, map));
    signature.outputs.push_back(std::move(spec));
    is_map.push_back(map);
  }
  const auto free_rows = [](const TensorSpec& spec) { return !spec.shape.empty() && spec.shape[0] == -1; };
  signature.batches = std::ranges::all_of(signature.inputs, free_rows) && std::ranges::all_of(signature.outputs, free_rows);
  for (const TensorSpec& spec : signature.inputs) input_names.push_back(spec.name.c_str());
  for (const TensorSpec& spec : signature.outputs) output_names.push_back(spec.name.c_str());
  input_values.resize(inputs);
  output_values.resize(outs);
  outputs.resize(outs);
  text.resize(outs);
  strings.resize(outs);
  mapped.resize(outs);
  return {};
}

Result<void> Model::Inside::bind(std::span<const TensorView> inputs) {
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    const TensorView& tensor = inputs[i];
    const Datatype type = signature.inputs[i].datatype;
    if (type != Datatype::bytes) {
      // The engine only reads it, though its interface does not say so.
      ORT_TRY(api, CreateTensorWithDataAsOrtValue(memory.get(), const_cast<std::byte*>(tensor.data.data()), tensor.data.size(), tensor.shape.data(),
                                                  tensor.shape.size(), theirs(type), &input_values[i]));
      continue;
    }
    ORT_TRY(api, CreateTensorAsOrtValue(allocator, tensor.shape.data(), tensor.shape.size(), ONNX_TENSOR_ELEMENT_DATA_TYPE_STRING, &input_values[i]));
    for (std::size_t at = 0; at < tensor.strings.size(); ++at) {
      char* room = nullptr;
      ORT_TRY(api, GetResizedStringTensorElementBuffer(input_values[i], at, tensor.strings[at].size(), &room));
      std::memcpy(room, tensor.strings[at].data(), tensor.strings[at].size());
    }
  }
  return {};
}

Result<std::span<const TensorView>> Model::run(std::span<const TensorView> inputs) {
  Inside& in = *inside_;
  in.release_outputs();
  const auto bound = in.bind(inputs);
  OrtStatus* status = nullptr;
  if (bound)
    status = in.api.Run(in.session.get(), nullptr, in.input_names.data(), in.input_values.data(), in.input_values.size(), in.output_names.data(),
                        in.output_names.size(), in.output_values.data());
  in.release_inputs();
  if (!bound) return fail(bound.error());
  if (status) return fail(take_error(in.api, status));
  for (std::size_t i = 0; i < in.output_values.size(); ++i) {
    TRY(in.outputs[i], in.is_map[i] ? in.view_map(in.output_values[i], i) : in.view(in.output_values[i], i));
  }
  return std::span<const TensorView>(in.outputs);
}

Result<TensorView> Model::Inside::view(OrtValue* value, std::size_t index) {
  Owned<OrtTensorTypeAndShapeInfo> info(api.ReleaseTensorTypeAndShapeInfo);
  ORT_TRY(api, GetTensorTypeAndShape(value, info.out()));
  std::size_t rank = 0, count = 0;
  ORT_TRY(api, GetDimensionsCount(info.get(), &rank));
  TensorView tensor = std::move(outputs[index]);  // keeps the shape's memory
  tensor.shape.resize(rank);
  ORT_TRY(api, GetDimensions(info.get(), tensor.shape.data(), rank));
  ORT_TRY(api, GetTensorShapeElementCount(info.get(), &count));
  if (signature.outputs[index].datatype == Datatype::bytes) return view_strings(value, std::move(tensor), index);
  void* at = nullptr;
  ORT_TRY(api, GetTensorMutableData(value, &at));
  tensor.data = {static_cast<const std::byte*>(at), count * domain::element_size(signature.outputs[index].datatype)};
  return tensor;
}

Result<TensorView> Model::Inside::view_strings(OrtValue* value, TensorView tensor, std::size_t index) {
  std::size_t bytes = 0, count = 1;
  for (const std::int64_t d : tensor.shape) count *= static_cast<std::size_t>(d);
  ORT_TRY(api, GetStringTensorDataLength(value, &bytes));
  text[index].resize(bytes);
  std::vector<std::size_t> offsets(count);
  ORT_TRY(api, GetStringTensorContent(value, text[index].data(), bytes, offsets.data(), count));
  strings[index].clear();
  for (std::size_t i = 0; i < count; ++i) {
    const std::size_t end = i + 1 < count ? offsets[i + 1] : bytes;
    strings[index].push_back(std::string_view(text[index]).substr(offsets[i], end - offsets[i]));
  }
  tensor.data = {};
  tensor.strings = strings[index];
  return tensor;
}

// A sequence of maps from class to probability, as a matrix; the engine orders a map's keys, so columns agree.
Result<TensorView> Model::Inside::view_map(OrtValue* sequence, std::size_t index) {
  std::size_t rows = 0, columns = 0;
  ORT_TRY(api, GetValueCount(sequence, &rows));
  mapped[index].clear();
  for (std::size_t row = 0; row < rows; ++row) {
    Owned<OrtValue> map(api.ReleaseValue), values(api.ReleaseValue);
    ORT_TRY(api, GetValue(sequence, static_cast<int>(row), allocator, map.out()));
    ORT_TRY(api, GetValue(map.get(), 1, allocator, values.out()));
    Owned<OrtTensorTypeAndShapeInfo> info(api.ReleaseTensorTypeAndShapeInfo);
    ORT_TRY(api, GetTensorTypeAndShape(values.get(), info.out()));
    ONNXTensorElementDataType element{};
    ORT_TRY(api, GetTensorElementType(info.get(), &element));
    std::size_t count = 0;
    ORT_TRY(api, GetTensorShapeElementCount(info.get(), &count));
    if (element != ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT || (row > 0 && count != columns))
      return fail(Code::unimplemented, "output '" + signature.outputs[index].name + "' is a sequence of maps, but not of one width and of floats: export with zipmap=False");
    columns = count;
    void* at = nullptr;
    ORT_TRY(api, GetTensorMutableData(values.get(), &at));
    mapped[index].insert(mapped[index].end(), static_cast<const float*>(at), static_cast<const float*>(at) + count);
  }
  return TensorView{.shape = {static_cast<std::int64_t>(rows), static_cast<std::int64_t>(columns)}, .data = std::as_bytes(std::span(mapped[index]))};
}

MadeUpInput::MadeUpInput(const domain::Signature& signature, std::int64_t rows, std::int64_t size) {
  for (const TensorSpec& spec : signature.inputs) {
    TensorView tensor{.shape = spec.shape};
    std::size_t count = 1;
    for (std::size_t i = 0; i < tensor.shape.size(); ++i) {
      if (tensor.shape[i] < 0) tensor.shape[i] = i == 0 ? rows : size;
      count *= static_cast<std::size_t>(tensor.shape[i]);
    }
    const std::size_t element = domain::element_size(spec.datatype);
    std::vector<std::byte>& bytes = data_.emplace_back(count * element);
    std::vector<std::string_view>& texts = strings_.emplace_back(spec.datatype == Datatype::bytes ? count : 0);
    const bool ids = spec.datatype == Datatype::int32 || spec.datatype == Datatype::int64;
    for (std::size_t i = 0; ids && i < count; ++i) bytes[i * element] = std::byte{1};
    tensor.data = bytes;
    tensor.strings = texts;
    tensors_.push_back(std::move(tensor));
  }
}

Result<void> warm_up(Model& model, std::int64_t rows) {
  Result<void> last = {};
  for (const std::int64_t size : {8, 32, 224, 320, 1}) {
    const MadeUpInput input(model.signature(), rows, size);
    const auto ran = model.run(input.tensors());
    if (ran) return {};
    last = fail(ran.error());
    const bool only_rows_free = std::ranges::all_of(model.signature().inputs, [](const TensorSpec& s) {
      return std::ranges::none_of(s.shape | std::views::drop(1), [](std::int64_t d) { return d < 0; });
    });
    if (only_rows_free) break;  // another size would be the same input
  }
  return last;
}

}  // namespace mayfly::worker
