#include "optimize/model.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "optimize/test_models.h"

namespace mayfly::optimize {
namespace {

using onnx::TensorProto;

struct Folder {
  std::filesystem::path path = std::filesystem::temp_directory_path() / ("optimize_test_" + std::to_string(::getpid()));
  Folder() { std::filesystem::create_directories(path); }
  ~Folder() { std::filesystem::remove_all(path); }
  std::string file(const std::string& name) const { return path / name; }
  void put(const std::string& name, const std::string& bytes) const { std::ofstream(path / name, std::ios::binary) << bytes; }
  std::vector<std::string> names() const {
    std::vector<std::string> out;
    for (const auto& entry : std::filesystem::directory_iterator(path)) out.push_back(entry.path().filename());
    std::ranges::sort(out);
    return out;
  }
};

TestModel product() {
  TestModel made;
  made.input("x", {"n", "8"}).output("y").floats("w", {8, 4}).node("MatMul", {"x", "w"}, {"y"});
  return made;
}

void make_external(TensorProto& tensor, const std::string& location, std::uint64_t offset) {
  tensor.clear_raw_data();
  tensor.set_data_location(TensorProto::EXTERNAL);
  auto* entry = tensor.add_external_data();
  entry->set_key("location"), entry->set_value(location);
  entry = tensor.add_external_data();
  entry->set_key("offset"), entry->set_value(std::to_string(offset));
}

TEST(Model, WhatIsWrittenIsReadAgain) {
  const Folder folder;
  const Model model = product().model();
  ASSERT_TRUE(model.write(folder.file("m.onnx")).has_value());
  EXPECT_EQ(folder.names(), std::vector<std::string>{"m.onnx"});  // no temporary stays
  const auto read = Model::read(folder.file("m.onnx"));
  ASSERT_TRUE(read.has_value()) << read.error().message;
  EXPECT_EQ(read->size(), std::filesystem::file_size(folder.file("m.onnx")));
  EXPECT_EQ(read->impl().proto.SerializeAsString(), model.impl().proto.SerializeAsString());
  EXPECT_EQ(read->opset(), 17);
  EXPECT_EQ(read->nodes(), 1u);
  EXPECT_EQ(read->parameters(), 32u);
  EXPECT_EQ(read->parameters_of(read->impl().proto.graph().node(0).name()), 32u);
  EXPECT_EQ(read->parameters_of("another"), 0u);
}

TEST(Model, ACopyIsItsOwn) {
  const Model model = product().model();
  Model copy = model.copy();
  copy.impl().proto.mutable_graph()->clear_initializer();
  EXPECT_EQ(model.parameters(), 32u);
}

TEST(Model, ExternalDataIsReadFromItsFolder) {
  const Folder folder;
  TestModel made = product();
  TensorProto& weights = *made.proto().mutable_graph()->mutable_initializer(0);
  const std::string bytes = weights.raw_data();
  folder.put("part.bin", "12345678" + bytes);
  make_external(weights, "part.bin", 8);
  folder.put("m.onnx", made.proto().SerializeAsString());
  const auto read = Model::read(folder.file("m.onnx"));
  ASSERT_TRUE(read.has_value()) << read.error().message;
  EXPECT_EQ(constant_in(*read, "w")->raw_data(), bytes);
  EXPECT_FALSE(constant_in(*read, "w")->has_data_location());
}

TEST(Model, ExternalDataThatIsWrongIsSaid) {
  const Folder folder;
  folder.put("short.bin", std::string(100, 'x'));
  std::filesystem::create_symlink("/etc/hostname", folder.file("link.bin"));
  const std::pair<std::string, std::string> cases[] = {{"../w.bin", "outside the model's folder"}, {"/etc/passwd", "no relative path"},
      {"none.bin", "is not there"}, {"short.bin", "which has 100"}, {"", "no name"}, {"link.bin", "leads out of the model's folder"}};
  for (const auto& [location, why] : cases) {
    TestModel made = product();
    make_external(*made.proto().mutable_graph()->mutable_initializer(0), location, 0);
    folder.put("m.onnx", made.proto().SerializeAsString());
    const auto read = Model::read(folder.file("m.onnx"));
    ASSERT_FALSE(read.has_value()) << location;
    EXPECT_EQ(read.error().code, Code::invalid_argument);
    EXPECT_NE(read.error().message.find(why), std::string::npos) << read.error().message;
  }
}

TEST(Model, LargeWeightsGoBesideTheModel) {
  const Folder folder;
  TestModel made = product();
  made.floats("large", {100, 99}).floats("larger", {301, 101});
  const Model model = made.model();
  ASSERT_TRUE(model.write(folder.file("m.onnx"), 10'000).has_value());
  EXPECT_EQ(folder.names(), (std::vector<std::string>{"m.onnx", "m.onnx.data"}));
  EXPECT_LT(std::filesystem::file_size(folder.file("m.onnx")), 2000u);
  EXPECT_EQ(std::filesystem::file_size(folder.file("m.onnx.data")), 40960u + 301 * 101 * 4);  // each begins on a page
  EXPECT_EQ(model.impl().proto.SerializeAsString(), made.model().impl().proto.SerializeAsString());  // as it was
  const auto read = Model::read(folder.file("m.onnx"));
  ASSERT_TRUE(read.has_value()) << read.error().message;
  EXPECT_EQ(read->impl().proto.SerializeAsString(), model.impl().proto.SerializeAsString());
}

TEST(Model, WhatIsNoModelIsSaid) {
  EXPECT_EQ(Model::read("/tmp/there/is/no/such.onnx").error().code, Code::not_found);
  const auto why = [](const std::string& bytes) {
    const auto parsed = Model::parse(bytes);
    return parsed ? "it was read" : parsed.error().message;
  };
  EXPECT_NE(why("a letter\n").find("not an ONNX model"), std::string::npos);
  EXPECT_NE(why("").find("not an ONNX model"), std::string::npos);
  const std::string whole = product().proto().SerializeAsString();
  EXPECT_NE(why(whole.substr(0, whole.size() / 2)).find("truncated"), std::string::npos);
  TestModel opset(99);
  opset.node("Relu", {"x"}, {"y"});
  EXPECT_NE(why(opset.proto().SerializeAsString()).find("opset is 99"), std::string::npos);
  TestModel damaged = product();
  damaged.proto().mutable_graph()->mutable_initializer(0)->set_dims(0, 9);
  EXPECT_NE(why(damaged.proto().SerializeAsString()).find("needs 144"), std::string::npos);
  damaged.proto().mutable_graph()->mutable_initializer(0)->set_dims(0, -1);
  EXPECT_NE(why(damaged.proto().SerializeAsString()).find("no tensor can have"), std::string::npos);
  damaged.proto().mutable_graph()->mutable_initializer(0)->set_data_type(999);
  EXPECT_NE(why(damaged.proto().SerializeAsString()), "it was read");
}

TEST(Model, TypedFieldsBecomeBytes) {
  TestModel made = product();
  TensorProto& weights = *made.proto().mutable_graph()->mutable_initializer(0);
  weights.clear_raw_data();
  for (int i = 0; i < 32; ++i) weights.add_float_data(static_cast<float>(i));
  const Model model = made.model();
  EXPECT_EQ(values<float>(*constant_in(model, "w"))[31], 31.0f);
  EXPECT_EQ(constant_in(model, "w")->float_data_size(), 0);
}

TEST(Model, AWriteThatFailsLeavesNothing) {
  const Folder folder;
  std::filesystem::create_directories(folder.path / "m.onnx" / "inner");  // a folder of that name: the rename fails at the end
  EXPECT_FALSE(product().model().write(folder.file("m.onnx")).has_value());
  EXPECT_EQ(folder.names(), std::vector<std::string>{"m.onnx"});
  EXPECT_FALSE(product().model().write(folder.file("none/m.onnx")).has_value());
}

TEST(Tensor, SixteenBits) {
  EXPECT_EQ(to_half(1.0f), 0x3c00);
  EXPECT_EQ(to_half(-2.5f), 0xc100);
  EXPECT_EQ(to_half(65504.0f), 0x7bff);
  EXPECT_EQ(to_half(65520.0f), 0x7c00);
  EXPECT_EQ(to_half(65519.0f), 0x7bff);
  EXPECT_EQ(to_half(5.9604645e-8f), 0x0001);
  EXPECT_EQ(to_half(2.0e-8f), 0x0000);
  EXPECT_EQ(to_half(1.0f + 1.0f / 2048), 0x3c00);  // to even
  EXPECT_EQ(to_half(1.0f + 3.0f / 2048), 0x3c02);
  EXPECT_EQ(to_bfloat16(1.0f), 0x3f80);
  EXPECT_EQ(to_bfloat16(1.00390625f), 0x3f80);  // to even
}

}  // namespace
}  // namespace mayfly::optimize
