#include "worker/model.h"

#include <onnxruntime_run_options_config_keys.h>

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <cstring>
#include <ranges>

#include "base/assert.h"
#include "worker/detail/ort.h"
#include "worker/detail/session.h"
#include "worker/detail/values.h"

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
  return fail(Code::unimplemented,
              what + " has element type " + std::to_string(theirs) + " (complex, float8 or int4), which no protocol here can carry");
}

ONNXTensorElementDataType theirs(Datatype type) {
  for (const Pair& p : kTypes)
    if (p.ours == type) return p.theirs;
  return ONNX_TENSOR_ELEMENT_DATA_TYPE_UNDEFINED;
}

constexpr std::size_t kTensorsMax = 256;
// What is kept from run to run: enough for every batch size of a table's row, little beside a process's own memory.
constexpr std::size_t kKeptInputMax = 16 << 10, kKeptOutputMax = 64 << 10, kSlotsMax = 64, kSlotsBytesMax = 1 << 20;

}  // namespace

// Tensors that are kept for one set of input shapes: inputs over memory of their own, outputs as the engine made them.
struct Slot {
  explicit Slot(const OrtApi& api) : inputs(api), outputs(api) {}
  bool fits(std::span<const TensorView> wanted) const {
    for (std::size_t i = 0; i < wanted.size(); ++i)
      if (shapes[i] != wanted[i].shape) return false;
    return true;
  }
  std::vector<std::vector<std::int64_t>> shapes;
  std::vector<std::vector<std::byte>> data;
  Values inputs, outputs;
  std::vector<TensorView> views;       // of the outputs, once they are kept
};

struct Model::Inside {
  explicit Inside(const OrtApi& interface)
      : api(interface),
        weights(interface),
        session(interface.ReleaseSession),
        memory(interface.ReleaseMemoryInfo),
        run_options(interface.ReleaseRunOptions),
        input_values(interface),
        output_values(interface) {}

  Result<void> describe();
  Result<TensorSpec> describe_one(bool input, std::size_t index, bool& is_map);
  Result<bool> is_sequence_of_maps(const OrtTypeInfo& type);
  Result<std::span<const TensorView>> run_kept(std::span<const TensorView> inputs);
  Result<std::span<const TensorView>> run_once(std::span<const TensorView> inputs);
  Result<Slot*> slot_for(std::span<const TensorView> inputs);
  Result<void> bind(std::span<const TensorView> inputs);
  Result<OrtValue*> wrap(std::span<const std::byte> data, const std::vector<std::int64_t>& shape, Datatype type);
  Result<void> view_all(std::span<OrtValue* const> values);
  Result<TensorView> view(OrtValue* value, std::size_t index);
  Result<TensorView> view_map(OrtValue* sequence, std::size_t index);
  Result<TensorView> view_strings(OrtValue* value, TensorView tensor, std::size_t index);
  OrtStatus* run(Values& inputs, Values& outs) {
    OrtStatus* status = run_with(run_options.get(), inputs, outs);
    if (status && is_out_of_memory(api.GetErrorMessage(status))) shrink(inputs, outs);
    return status;
  }
  OrtStatus* run_with(const OrtRunOptions* options, Values& inputs, Values& outs) {
    return api.Run(session.get(), options, input_names.data(), inputs.raw.data(), inputs.raw.size(), output_names.data(),
                   output_names.size(), outs.raw.data());
  }
  void shrink(Values& inputs, Values& outs);

  const OrtApi& api;
  ModelData data;                      // mapped as long as the session lives
  Values weights;                      // in it, that the session uses
  Owned<OrtSession> session;
  Owned<OrtMemoryInfo> memory;
  Owned<OrtRunOptions> run_options;
  OrtAllocator* allocator = nullptr;
  domain::Signature signature;
  std::vector<std::string> notes;
  std::string copied;                  // why weights in files of their own can't be used there
  std::vector<bool> is_map;            // of outputs: a sequence of maps, given as a tensor
  bool keeps_inputs = true;            // all are numbers
  bool keeps_outputs = true;           // all are numbers, and their shapes follow from the inputs' (as far as was seen)
  std::vector<const char*> input_names, output_names;
  Values input_values, output_values;  // of the last run outside of a slot
  std::vector<std::vector<std::byte>> aligned;
  std::vector<TensorView> outputs;
  std::vector<std::string> text;       // of string outputs, per output
  std::vector<std::vector<std::string_view>> strings;
  std::vector<std::vector<float>> mapped;
  std::vector<Slot> slots;
  std::size_t slots_bytes = 0;
};

Result<ModelData::File> map_model_file(const std::string& location, const std::string& path) {
  const os::Fd file(::open(location.c_str(), O_RDONLY | O_CLOEXEC));
  struct stat status {};
  if (!file || ::fstat(file.get(), &status) != 0) return fail(os::os_error("open", location));
  if (!S_ISREG(status.st_mode)) return fail(Code::invalid_argument, "'" + location + "' is no file");
  if (status.st_size == 0) return fail(Code::invalid_argument, "'" + location + "' is empty");
  TRY(os::Mapping bytes, os::map_file(file.get(), static_cast<std::uint64_t>(status.st_size), os::Access::read));
  return ModelData::File{path, std::move(bytes)};
}

Model::Model(std::unique_ptr<Inside> inside) : inside_(std::move(inside)) {}
Model::~Model() = default;
const domain::Signature& Model::signature() const { return inside_->signature; }
const std::vector<std::string>& Model::notes() const { return inside_->notes; }
const std::string& Model::copied_because() const { return inside_->copied; }
// Neither fails: the engine writes a flag.
void Model::stop() { [[maybe_unused]] const auto* status = inside_->api.RunOptionsSetTerminate(inside_->run_options.get()); }
void Model::go_on() { [[maybe_unused]] const auto* status = inside_->api.RunOptionsUnsetTerminate(inside_->run_options.get()); }

Result<std::unique_ptr<Model>> Model::load(Engine& engine, ModelData data, const LoadOptions& load) {
  const OrtApi& api = engine.api();
  auto inside = std::make_unique<Inside>(api);
  inside->data = std::move(data);
  if (inside->data.files.empty() || inside->data.files[0].bytes.size() == 0)
    return fail(Code::invalid_argument, "the model's file is empty");
  ORT_TRY(api, CreateCpuMemoryInfo(OrtArenaAllocator, OrtMemTypeDefault, inside->memory.out()));
  TRY(Opened opened, open_session(engine, inside->data, load, *inside->memory.get(), inside->weights));
  inside->session = std::move(opened.session);
  inside->copied = std::move(opened.copied);
  ORT_TRY(api, GetAllocatorWithDefaultOptions(&inside->allocator));
  ORT_TRY(api, CreateRunOptions(inside->run_options.out()));
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
  TRY(const bool maps, is_sequence_of_maps(*type.get()));
  if (maps && !input) {
    // What classic scikit-learn exports give (ZipMap): [{class: probability, …}, …]. Given as a matrix.
    map = true;
    spec.datatype = Datatype::fp32;
    spec.shape = {-1, -1};
    notes.push_back(what +
                    " is a sequence of maps; it is served as FP32 [rows, classes], classes in ascending order (export with "
                    "options={'zipmap': False} to save the conversion)");
    return spec;
  }
  if (kind != ONNX_TYPE_TENSOR)
    return fail(Code::unimplemented, what +
                                         " is a sequence, a map or optional, and not a tensor: export the model with tensors only "
                                         "(scikit-learn: options={'zipmap': False})");
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

// True for sequence(map(integer or string, float)).
Result<bool> Model::Inside::is_sequence_of_maps(const OrtTypeInfo& type) {
  const OrtSequenceTypeInfo* sequence = nullptr;  // these belong to `type`
  const OrtMapTypeInfo* map = nullptr;
  const OrtTensorTypeAndShapeInfo* tensor = nullptr;
  ORT_TRY(api, CastTypeInfoToSequenceTypeInfo(&type, &sequence));
  if (!sequence) return false;
  Owned<OrtTypeInfo> element(api.ReleaseTypeInfo), values(api.ReleaseTypeInfo);
  ORT_TRY(api, GetSequenceElementType(sequence, element.out()));
  ORT_TRY(api, CastTypeInfoToMapTypeInfo(element.get(), &map));
  if (!map) return false;
  ORT_TRY(api, GetMapValueType(map, values.out()));
  ORT_TRY(api, CastTypeInfoToTensorInfo(values.get(), &tensor));
  ONNXTensorElementDataType of_values = ONNX_TENSOR_ELEMENT_DATA_TYPE_UNDEFINED;
  if (tensor) ORT_TRY(api, GetTensorElementType(tensor, &of_values));
  return of_values == ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT;
}

Result<void> Model::Inside::describe() {
  std::size_t inputs = 0, outs = 0;
  ORT_TRY(api, SessionGetInputCount(session.get(), &inputs));
  ORT_TRY(api, SessionGetOutputCount(session.get(), &outs));
  if (inputs == 0 || outs == 0 || inputs > kTensorsMax || outs > kTensorsMax)
    return fail(Code::invalid_argument, "the model has " + std::to_string(inputs) + " inputs and " + std::to_string(outs) +
                                            " outputs; 1 to 256 of each can be served");
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
  const auto numbers = [](const TensorSpec& spec) { return spec.datatype != Datatype::bytes; };
  keeps_inputs = std::ranges::all_of(signature.inputs, numbers);
  keeps_outputs = std::ranges::all_of(signature.outputs, numbers) && std::ranges::none_of(is_map, [](bool map) { return map; });
  input_values.raw.resize(inputs);
  output_values.raw.resize(outs);
  aligned.resize(inputs);
  outputs.resize(outs);
  text.resize(outs);
  strings.resize(outs);
  mapped.resize(outs);
  return {};
}

Result<OrtValue*> Model::Inside::wrap(std::span<const std::byte> bytes, const std::vector<std::int64_t>& shape, Datatype type) {
  OrtValue* value = nullptr;
  // The engine only reads it, though its interface does not say so.
  ORT_TRY(api, CreateTensorWithDataAsOrtValue(memory.get(), const_cast<std::byte*>(bytes.data()), bytes.size(), shape.data(),
                                              shape.size(), theirs(type), &value));
  return value;
}

Result<void> Model::Inside::bind(std::span<const TensorView> inputs) {
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    const TensorView& tensor = inputs[i];
    const Datatype type = signature.inputs[i].datatype;
    if (type != Datatype::bytes) {
      std::span<const std::byte> bytes = tensor.data;
      if (reinterpret_cast<std::uintptr_t>(bytes.data()) % domain::element_size(type) != 0) {  // from the middle of a binary body
        aligned[i].assign(bytes.begin(), bytes.end());
        bytes = aligned[i];
      }
      TRY(input_values.raw[i], wrap(bytes, tensor.shape, type));
      continue;
    }
    ORT_TRY(api, CreateTensorAsOrtValue(allocator, tensor.shape.data(), tensor.shape.size(), ONNX_TENSOR_ELEMENT_DATA_TYPE_STRING,
                                        &input_values.raw[i]));
    for (std::size_t at = 0; at < tensor.strings.size(); ++at) {
      char* room = nullptr;
      ORT_TRY(api, GetResizedStringTensorElementBuffer(input_values.raw[i], at, tensor.strings[at].size(), &room));
      std::memcpy(room, tensor.strings[at].data(), tensor.strings[at].size());
    }
  }
  return {};
}

// After a request for more than there is, the engine's arena keeps the step that it had doubled up to that: the next small request would
// make it take all address space there is, and touch enough of it to be killed. Shrinking sets the step back, and can only be
// asked for with a run: the same one, which fails again.
void Model::Inside::shrink(Values& inputs, Values& outs) {
  Owned<OrtRunOptions> options(api.ReleaseRunOptions);
  OrtStatus* status = api.CreateRunOptions(options.out());
  if (!status) status = api.AddRunConfigEntry(options.get(), kOrtRunOptionsConfigEnableMemoryArenaShrinkage, "cpu:0");
  if (!status) status = run_with(options.get(), inputs, outs);
  if (status) api.ReleaseStatus(status);
}

Result<std::span<const TensorView>> Model::run(std::span<const TensorView> inputs) {
  Inside& in = *inside_;
  ASSERT(inputs.size() == in.signature.inputs.size(), "a run without all inputs");
  std::size_t bytes = 0;
  for (const TensorView& input : inputs) bytes += input.data.size();
  return in.keeps_inputs && bytes <= kKeptInputMax ? in.run_kept(inputs) : in.run_once(inputs);
}

Result<std::span<const TensorView>> Model::Inside::run_once(std::span<const TensorView> inputs) {
  output_values.release();
  const auto bound = bind(inputs);
  OrtStatus* status = bound ? run(input_values, output_values) : nullptr;
  input_values.release();
  if (!bound) return fail(bound.error());
  if (status) return fail(take_error(api, status));
  TRY_VOID(view_all(output_values.raw));
  return std::span<const TensorView>(outputs);
}

// The slot for these shapes, made where there is none.
Result<Slot*> Model::Inside::slot_for(std::span<const TensorView> inputs) {
  for (Slot& slot : slots)
    if (slot.fits(inputs)) return &slot;
  std::size_t bytes = 0;
  for (const TensorView& input : inputs) bytes += input.data.size();
  if (slots.size() >= kSlotsMax || slots_bytes + bytes > kSlotsBytesMax) {
    slots.clear();
    slots_bytes = 0;
  }
  slots_bytes += bytes;
  Slot slot(api);
  slot.inputs.raw.resize(inputs.size());
  slot.outputs.raw.resize(signature.outputs.size());
  slot.data.resize(inputs.size());
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    slot.shapes.push_back(inputs[i].shape);
    slot.data[i].resize(std::max<std::size_t>(inputs[i].data.size(), 1));
    TRY(slot.inputs.raw[i], wrap(std::span(slot.data[i]).first(inputs[i].data.size()), inputs[i].shape, signature.inputs[i].datatype));
  }
  return &slots.emplace_back(std::move(slot));
}

// The engine writes into the outputs of the slot's last run. Where their shapes turn out to depend on the inputs' values, which it
// refuses, this model's outputs are made anew for each run from then on.
Result<std::span<const TensorView>> Model::Inside::run_kept(std::span<const TensorView> inputs) {
  TRY(Slot * slot, slot_for(inputs));
  for (std::size_t i = 0; i < inputs.size(); ++i)
    if (!inputs[i].data.empty()) std::memcpy(slot->data[i].data(), inputs[i].data.data(), inputs[i].data.size());
  std::vector<TensorView> before;
  if (!slot->views.empty()) {
    OrtStatus* status = run(slot->inputs, slot->outputs);
    if (!status) return std::span<const TensorView>(slot->views);
    api.ReleaseStatus(status);
    before = std::exchange(slot->views, {});
    slot->outputs.release();
  }
  output_values.release();
  if (OrtStatus* status = run(slot->inputs, output_values)) return fail(take_error(api, status));
  TRY_VOID(view_all(output_values.raw));
  std::size_t bytes = 0;
  for (const TensorView& output : outputs) bytes += output.data.size();
  for (std::size_t i = 0; i < before.size(); ++i)
    if (before[i].shape != outputs[i].shape) keeps_outputs = false;
  if (!keeps_outputs || bytes > kKeptOutputMax || slots_bytes + bytes > kSlotsBytesMax) return std::span<const TensorView>(outputs);
  slots_bytes += bytes;
  std::swap(slot->outputs.raw, output_values.raw);
  slot->views = outputs;
  return std::span<const TensorView>(slot->views);
}

Result<void> Model::Inside::view_all(std::span<OrtValue* const> values) {
  for (std::size_t i = 0; i < values.size(); ++i) {
    TRY(outputs[i], is_map[i] ? view_map(values[i], i) : view(values[i], i));
  }
  return {};
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
      return fail(Code::unimplemented, "output '" + signature.outputs[index].name +
                                           "' is a sequence of maps, but not of one width and of floats: export with zipmap=False");
    columns = count;
    void* at = nullptr;
    ORT_TRY(api, GetTensorMutableData(values.get(), &at));
    mapped[index].insert(mapped[index].end(), static_cast<const float*>(at), static_cast<const float*>(at) + count);
  }
  return TensorView{.shape = {static_cast<std::int64_t>(rows), static_cast<std::int64_t>(columns)},
                    .data = std::as_bytes(std::span(mapped[index]))};
}

}  // namespace mayfly::worker
