#include "optimize/model.h"

#include <algorithm>
#include <climits>
#include <filesystem>
#include <fstream>
#include <functional>
#include <map>

#include "base/units.h"
#include "optimize/detail/tensor.h"
#include "os/disk.h"

namespace mayfly::optimize {
namespace {

using onnx::GraphProto;
using onnx::ModelProto;
using onnx::TensorProto;

constexpr std::size_t kExternalFilesMax = 64, kExternalNameMax = 240;
constexpr std::uint64_t kExternalLeast = 1024;  // smaller constants stay in the model's own file
constexpr int kDepthMax = 30;                   // of branches in branches; the reader of protobuf stops at 33

using Visit = std::function<Result<void>(TensorProto&)>;

Result<void> each_tensor(GraphProto& graph, const Visit& visit, int depth = 0) {
  if (depth > kDepthMax) return fail(Code::invalid_argument, "graphs are nested more than 30 deep");
  for (TensorProto& tensor : *graph.mutable_initializer()) TRY_VOID(visit(tensor));
  for (onnx::NodeProto& node : *graph.mutable_node()) {
    for (onnx::AttributeProto& attribute : *node.mutable_attribute()) {
      if (attribute.has_t()) TRY_VOID(visit(*attribute.mutable_t()));
      for (TensorProto& tensor : *attribute.mutable_tensors()) TRY_VOID(visit(tensor));
      if (attribute.has_g()) TRY_VOID(each_tensor(*attribute.mutable_g(), visit, depth + 1));
      for (GraphProto& inner : *attribute.mutable_graphs()) TRY_VOID(each_tensor(inner, visit, depth + 1));
    }
  }
  return {};
}

std::uint64_t count_nodes(const GraphProto& graph) {
  auto count = static_cast<std::uint64_t>(graph.node_size());
  for (const onnx::NodeProto& node : graph.node())
    for (const onnx::AttributeProto& attribute : node.attribute()) {
      if (attribute.has_g()) count += count_nodes(attribute.g());
      for (const GraphProto& inner : attribute.graphs()) count += count_nodes(inner);
    }
  return count;
}

// The files that hold a model's weights: each name is checked once, and read where a tensor says.
class ExternalData {
 public:
  explicit ExternalData(std::string folder) : folder_(std::move(folder)) {}

  Result<void> load(TensorProto& tensor) {
    std::string location;
    std::uint64_t offset = 0;
    for (const auto& entry : tensor.external_data()) {
      if (entry.key() == "location") location = entry.value();
      if (entry.key() == "offset") TRY_VOID(number(tensor, entry.value(), offset));
    }
    const auto count = count_of(shape_of(tensor));
    const auto bytes = count ? bytes_of(tensor.data_type(), *count) : std::nullopt;
    if (!bytes)
      return fail(Code::invalid_argument, "the constant '" + tensor.name().substr(0, 100) + "' is in a file of its own and has no size");
    TRY(std::ifstream * file, open(location));
    std::string data;
    const std::uint64_t size = sizes_[location];
    if (offset > size || *bytes > size - offset)
      return fail(Code::invalid_argument, "the constant '" + tensor.name().substr(0, 100) + "' is said to be at bytes " +
                                              std::to_string(offset) + " to " + std::to_string(offset + *bytes) + " of '" + location +
                                              "', which has " + std::to_string(size) + ": copy that file again");
    if ((total_ += *bytes) > kModelBytesMax) return fail(Code::invalid_argument, "its weights are more than 64 GiB");
    data.resize(*bytes);
    file->seekg(static_cast<std::streamoff>(offset));
    if (!file->read(data.data(), static_cast<std::streamsize>(data.size())))
      return fail(Code::invalid_argument, "the file '" + location + "' with the model's weights can't be read");
    tensor.set_raw_data(std::move(data));
    tensor.clear_external_data();
    tensor.clear_data_location();
    return {};
  }

 private:
  static Result<void> number(const TensorProto& tensor, const std::string& text, std::uint64_t& out) {
    const bool digits = !text.empty() && text.size() < 19 && std::ranges::all_of(text, [](char c) { return c >= '0' && c <= '9'; });
    if (!digits) return fail(Code::invalid_argument, "the constant '" + tensor.name().substr(0, 100) + "' has an offset that is no number");
    out = 0;
    for (const char c : text) out = out * 10 + static_cast<std::uint64_t>(c - '0');
    return {};
  }

  Result<std::ifstream*> open(const std::string& location) {
    if (const auto found = files_.find(location); found != files_.end()) return &found->second;
    const auto refuse = [&](const std::string& why) {
      return fail(Code::invalid_argument, "the model's weights are in '" + location.substr(0, 100) + "', which " + why +
                                              ": save the model with its data beside it, named by a relative path");
    };
    if (folder_.empty()) return refuse("a model without a folder can't have");
    if (location.empty() || location.size() > kExternalNameMax) return refuse("is no name of 1 to 240 bytes");
    if (location.front() == '/' || location.find('\0') != std::string::npos || location.find('\\') != std::string::npos)
      return refuse("is no relative path");
    for (const auto& part : std::filesystem::path(location))
      if (part == "..") return refuse("is outside the model's folder");
    if (files_.size() >= kExternalFilesMax)
      return fail(Code::invalid_argument, "its weights are in more than 64 files: join them into fewer");
    const std::string path = folder_ + "/" + location;
    if (!os::is_there(path)) return refuse("is not there");
    std::error_code error;
    const auto inside = std::filesystem::relative(path, folder_, error);  // with links followed
    if (error || inside.empty() || *inside.begin() == "..") return refuse("leads out of the model's folder");
    const std::uint64_t size = std::filesystem::file_size(path, error);
    if (error) return refuse("is no file");
    std::ifstream file(path, std::ios::binary);
    if (!file) return refuse("can't be opened");
    sizes_[location] = size;
    return &files_.emplace(location, std::move(file)).first->second;
  }

  std::string folder_;
  std::map<std::string, std::ifstream> files_;
  std::map<std::string, std::uint64_t> sizes_;
  std::uint64_t total_ = 0;
};

std::int64_t opset_of(const ModelProto& proto) {
  std::int64_t version = 0;
  for (const auto& opset : proto.opset_import())
    if (opset.domain().empty() || opset.domain() == "ai.onnx") version = opset.version();
  return version;
}

Result<Model> parse_in(std::string_view bytes, const std::string& folder) {
  auto impl = std::make_unique<Model::Impl>();
  ModelProto& proto = impl->proto;
  if (bytes.size() > INT_MAX) return fail(Code::invalid_argument, "the model's file has more than 2 GiB: save it with external data");
  if (!proto.ParseFromArray(bytes.data(), static_cast<int>(bytes.size())))
    return fail(Code::invalid_argument,
                "this is not an ONNX model, or it is truncated or damaged: its bytes are not a protobuf ModelProto");
  if (!proto.has_graph() || proto.ir_version() <= 0)
    return fail(Code::invalid_argument, "this is not an ONNX model: it has no graph or no ir_version");
  const std::int64_t opset = opset_of(proto);
  if (opset < kOpsetMin || opset > kOpsetMax)
    return fail(Code::invalid_argument, "the model's opset is " + std::to_string(opset) + ", known are " + std::to_string(kOpsetMin) +
                                            " to " + std::to_string(kOpsetMax) + ": export it again with one of them");
  if (proto.graph().node_size() == 0) return fail(Code::invalid_argument, "the model has no nodes");
  ExternalData external(folder);
  auto whole = each_tensor(*proto.mutable_graph(), [&](TensorProto& tensor) -> Result<void> {
    if (tensor.data_location() == TensorProto::EXTERNAL) TRY_VOID(external.load(tensor));
    return make_whole(tensor);
  });
  if (!whole) return fail(std::move(whole).error());
  if (count_nodes(proto.graph()) > kNodesMax) return fail(Code::invalid_argument, "the model has more than 1,000,000 nodes");
  return Model(std::move(impl));
}

// Takes the bytes of the large constants out of a model, and puts them back at its end: what is between serialises without them.
class Without {
 public:
  explicit Without(ModelProto& proto, const std::string& location) {
    static_cast<void>(each_tensor(*proto.mutable_graph(), [&](TensorProto& tensor) -> Result<void> {
      if (!tensor.has_raw_data() || tensor.raw_data().size() < kExternalLeast) return {};
      const auto add = [&](const char* key, std::string value) {
        auto* entry = tensor.add_external_data();
        entry->set_key(key);
        entry->set_value(std::move(value));
      };
      constexpr std::uint64_t kPage = 4096;  // what maps the file needs each constant on a page of its own
      offset_ = (offset_ + kPage - 1) / kPage * kPage;
      taken_.push_back({&tensor, {}, offset_});
      add("location", location);
      add("offset", std::to_string(offset_));
      add("length", std::to_string(tensor.raw_data().size()));
      tensor.set_data_location(TensorProto::EXTERNAL);
      offset_ += tensor.raw_data().size();
      taken_.back().bytes.swap(*tensor.mutable_raw_data());
      tensor.clear_raw_data();
      return {};
    }));
  }
  ~Without() {
    for (Taken& one : taken_) {
      one.tensor->mutable_raw_data()->swap(one.bytes);
      one.tensor->clear_external_data();
      one.tensor->clear_data_location();
    }
  }
  Without(const Without&) = delete;
  Without& operator=(const Without&) = delete;

  std::uint64_t size() const { return offset_; }
  Result<void> write(int fd, const std::string& path) const {
    std::uint64_t at = 0;
    for (const Taken& one : taken_) {
      const std::string gap(one.offset - at, '\0');
      TRY_VOID(os::write_all(fd, std::as_bytes(std::span(gap)), path));
      TRY_VOID(os::write_all(fd, std::as_bytes(std::span(one.bytes)), path));
      at = one.offset + one.bytes.size();
    }
    return {};
  }

 private:
  struct Taken {
    TensorProto* tensor;
    std::string bytes;
    std::uint64_t offset;
  };
  std::vector<Taken> taken_;
  std::uint64_t offset_ = 0;
};

std::string folder_of(const std::string& path) {
  const std::size_t slash = path.rfind('/');
  return slash == std::string::npos ? "." : slash == 0 ? "/" : path.substr(0, slash);
}

// Writes a temporary beside `path` by `fill`; it is gone again unless keep() renames it.
class Temporary {
 public:
  explicit Temporary(const std::string& path) : path_(path), temporary_(path + ".part") {}
  ~Temporary() {
    if (!kept_) static_cast<void>(os::remove_file(temporary_));
  }
  Temporary(const Temporary&) = delete;
  Temporary& operator=(const Temporary&) = delete;

  template <class Fill>
  Result<void> fill(const Fill& fill) {
    TRY_VOID(os::remove_file(temporary_));  // of a run that was stopped
    TRY(const os::Fd file, os::open_file(temporary_, os::OpenMode::create_new));
    TRY_VOID(fill(file.get(), temporary_));
    return os::sync_file(file.get(), temporary_);
  }
  Result<void> keep() {
    TRY_VOID(os::rename_file(temporary_, path_));
    kept_ = true;
    return {};
  }

 private:
  std::string path_, temporary_;
  bool kept_ = false;
};

}  // namespace

Model::Model(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Model::Model(Model&&) noexcept = default;
Model& Model::operator=(Model&&) noexcept = default;
Model::~Model() = default;

Result<Model> Model::read(const std::string& path) {
  TRY(const std::string bytes, os::read_file(path, Bytes{INT_MAX}));
  auto model = parse_in(bytes, folder_of(path));
  if (!model) return fail(model.error().code, "'" + path + "': " + model.error().message);
  return model;
}

Result<Model> Model::parse(std::string_view bytes) { return parse_in(bytes, {}); }

Model Model::copy() const { return Model(std::make_unique<Impl>(*impl_)); }

Result<void> Model::write(const std::string& path, std::uint64_t inline_max) const {
  ModelProto& proto = impl_->proto;
  Temporary model_file(path), data_file(path + ".data");
  if (proto.ByteSizeLong() <= std::min(inline_max, kInlineBytesMax)) {
    std::string bytes;
    if (!proto.SerializeToString(&bytes)) return fail(Code::internal, "the model can't be written as protobuf");
    TRY_VOID(model_file.fill([&](int fd, const std::string& name) { return os::write_all(fd, std::as_bytes(std::span(bytes)), name); }));
  } else {
    const Without large(proto, path.substr(path.rfind('/') + 1) + ".data");
    std::string bytes;
    if (proto.ByteSizeLong() > INT_MAX || !proto.SerializeToString(&bytes))
      return fail(Code::invalid_argument, "the model's graph has more than 2 GiB without its weights");
    TRY_VOID(data_file.fill([&](int fd, const std::string& name) { return large.write(fd, name); }));
    TRY_VOID(model_file.fill([&](int fd, const std::string& name) { return os::write_all(fd, std::as_bytes(std::span(bytes)), name); }));
    TRY_VOID(data_file.keep());
  }
  TRY_VOID(model_file.keep());
  return os::sync_folder(folder_of(path));
}

std::uint64_t Model::size() const {
  ModelProto& proto = impl_->proto;
  const std::uint64_t inlined = proto.ByteSizeLong();
  if (inlined <= kInlineBytesMax) return inlined;
  const Without large(proto, "model.onnx.data");
  return proto.ByteSizeLong() + large.size();
}

std::int64_t Model::opset() const { return opset_of(impl_->proto); }
std::uint64_t Model::nodes() const { return count_nodes(impl_->proto.graph()); }

std::uint64_t Model::parameters() const {
  std::uint64_t count = 0;
  static_cast<void>(each_tensor(*impl_->proto.mutable_graph(), [&](TensorProto& tensor) -> Result<void> {
    count += elements(tensor);
    return {};
  }));
  return count;
}

std::uint64_t Model::parameters_of(const std::string& node) const {
  const auto& graph = impl_->proto.graph();
  std::uint64_t count = 0;
  for (const auto& each : graph.node()) {
    if (each.name() != node) continue;
    for (const TensorProto& tensor : graph.initializer())
      if (std::ranges::find(each.input(), tensor.name()) != each.input().end()) count += elements(tensor);
  }
  return count;
}

}  // namespace mayfly::optimize
