// Small models for the unit tests and fuzz harnesses of this module, made where they are used: the nodes, inputs, outputs and
// constants of one graph, and how to look into what a step made of it. Not part of the product.
#pragma once
#include <string>
#include <vector>

#include "base/assert.h"
#include "optimize/detail/graph.h"

namespace mayfly::optimize {

class TestModel {
 public:
  explicit TestModel(std::int64_t opset = 17, std::int64_t ir = 8) {
    proto_.set_ir_version(ir);
    auto* one = proto_.add_opset_import();
    one->set_version(opset);
    proto_.mutable_graph()->set_name("graph");
  }
  TestModel& input(const std::string& name, const std::vector<std::string>& shape, int type = onnx::TensorProto::FLOAT) {
    return value(*proto_.mutable_graph()->add_input(), name, shape, type);
  }
  TestModel& output(const std::string& name, const std::vector<std::string>& shape = {}, int type = onnx::TensorProto::FLOAT) {
    return value(*proto_.mutable_graph()->add_output(), name, shape, type);
  }
  TestModel& floats(const std::string& name, const Shape& shape, const std::vector<float>& numbers) {
    *proto_.mutable_graph()->add_initializer() = make_tensor<float>(name, onnx::TensorProto::FLOAT, shape, numbers);
    return *this;
  }
  // Numbers between -1 and 1, the same each time.
  TestModel& floats(const std::string& name, const Shape& shape) { return floats(name, shape, pattern(*count_of(shape))); }
  TestModel& wholes(const std::string& name, const Shape& shape, const std::vector<std::int64_t>& numbers) {
    *proto_.mutable_graph()->add_initializer() = make_tensor<std::int64_t>(name, onnx::TensorProto::INT64, shape, numbers);
    return *this;
  }
  onnx::NodeProto& node(const std::string& kind, const std::vector<std::string>& inputs, const std::vector<std::string>& outputs) {
    onnx::NodeProto& made = *proto_.mutable_graph()->add_node();
    made = make_node(kind, inputs, outputs);
    made.set_name(outputs.front() + "_node");
    return made;
  }
  onnx::ModelProto& proto() { return proto_; }
  Model model() const {
    auto made = Model::parse(proto_.SerializeAsString());
    ASSERT(made.has_value(), made.error().message.c_str());
    return *std::move(made);
  }

  static std::vector<float> pattern(std::size_t count) {
    std::vector<float> numbers(count);
    std::uint32_t state = 12345;
    for (float& number : numbers) {
      state = state * 1664525 + 1013904223;
      number = static_cast<float>(state >> 8) / 8388608.0f - 1.0f;
    }
    return numbers;
  }

 private:
  TestModel& value(onnx::ValueInfoProto& info, const std::string& name, const std::vector<std::string>& shape, int type) {
    info.set_name(name);
    info.mutable_type()->mutable_tensor_type()->set_elem_type(type);
    if (shape.empty()) return *this;
    auto* dims = info.mutable_type()->mutable_tensor_type()->mutable_shape();
    for (const std::string& size : shape) {
      const bool digits = !size.empty() && size.find_first_not_of("0123456789") == std::string::npos;
      if (digits) dims->add_dim()->set_dim_value(std::stoll(size));
      else dims->add_dim()->set_dim_param(size);
    }
    return *this;
  }
  onnx::ModelProto proto_;
};

inline const onnx::TensorProto* constant_in(const Model& model, const std::string& name) {
  for (const auto& tensor : model.impl().proto.graph().initializer())
    if (tensor.name() == name) return &tensor;
  return nullptr;
}

// "MatMulInteger Cast Mul": the kinds in order.
inline std::string kinds(const Model& model) {
  std::string out;
  for (const auto& node : model.impl().proto.graph().node()) out += (out.empty() ? "" : " ") + node.op_type();
  return out;
}

inline Applied applied(const Model& model, const Step& step, const std::set<std::string>& keep = {}) {
  auto made = apply(model, step, keep);
  ASSERT(made.has_value(), made.error().message.c_str());
  return *std::move(made);
}

}  // namespace mayfly::optimize
