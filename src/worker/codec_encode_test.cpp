// Replies in every form; tables, a line a rule.
#include <gtest/gtest.h>

#include <bit>
#include <limits>

#include "worker/codec_test_support.h"

namespace mayfly::worker {
namespace {

using domain::Datatype;
using domain::Signature;
using domain::WireFormat;

const ReplyNames kNames{.model = "m\"1", .version = "3"};

// One output with these values, which must outlive it.
template <class T>
struct Output {
  std::vector<T> values;
  Signature signature;
  TensorView tensor;

  Output(Datatype type, std::vector<std::int64_t> shape, std::vector<T> v, bool batches = false) : values(std::move(v)) {
    signature = {.inputs = {}, .outputs = {{"y", type, std::vector<std::int64_t>(shape.size(), -1)}}, .batches = batches};
    tensor.shape = std::move(shape);
    if constexpr (std::is_same_v<T, std::string_view>) tensor.strings = values;
    else tensor.data = std::as_bytes(std::span(values));
  }
  Result<std::string> text(WireFormat format, WantedOutput wanted = {}, std::string_view id = "",
                           const std::vector<std::string>* labels = nullptr) const {
    Encoded encoded;
    const DecodedRequest request{.id = id, .inputs = {}, .outputs = {wanted}};
    ReplyNames names = kNames;
    names.labels = labels;
    TRY_VOID(encode(format, request, {&tensor, 1}, signature, names, encoded));
    return encoded.json_size ? std::to_string(encoded.json_size) + ":" + encoded.body : encoded.body;
  }
  std::string plain() const {
    const auto out = text(WireFormat::plain_json);
    return out ? *out : out.error().message;
  }
  std::string v2(WantedOutput wanted = {}, std::string_view id = "", const std::vector<std::string>* labels = nullptr) const {
    const auto out = text(WireFormat::v2_json, wanted, id, labels);
    return out ? *out : out.error().message;
  }
};

TEST(CodecEncode, PlainIsNestedAsTheShape) {
  EXPECT_EQ((Output<std::int32_t>(Datatype::int32, {2, 3}, {1, -2, 3, 4, 5, 6}).plain()), R"({"y":[[1,-2,3],[4,5,6]]})");
  EXPECT_EQ((Output<std::int32_t>(Datatype::int32, {}, {7}).plain()), R"({"y":7})");
  EXPECT_EQ((Output<std::int32_t>(Datatype::int32, {1, 1, 1}, {7}).plain()), R"({"y":[[[7]]]})");
  EXPECT_EQ((Output<std::int32_t>(Datatype::int32, {0}, {}).plain()), R"({"y":[]})");
  EXPECT_EQ((Output<std::int32_t>(Datatype::int32, {2, 0}, {}).plain()), R"({"y":[[],[]]})");
  EXPECT_EQ((Output<std::uint8_t>(Datatype::boolean, {2}, {1, 0}).plain()), R"({"y":[true,false]})");
  EXPECT_EQ((Output<std::string_view>(Datatype::bytes, {3}, {"", "a\"\\\n\t\x01/", "é😀"}).plain()),
            "{\"y\":[\"\",\"a\\\"\\\\\\n\\u0009\\u0001/\",\"é😀\"]}");
}

TEST(CodecEncode, NumbersInTheirShortestForm) {
  constexpr float kInf = std::numeric_limits<float>::infinity(), kNan = std::numeric_limits<float>::quiet_NaN();
  EXPECT_EQ((Output<float>(Datatype::fp32, {6}, {0.1F, 1.0F, -0.0F, 1e20F, 3.4028235e38F, 1e-45F}).plain()),
            R"({"y":[0.1,1,-0,1e+20,3.4028235e+38,1e-45]})");
  EXPECT_EQ((Output<double>(Datatype::fp64, {3}, {0.1, 1.0 / 3, 5e-324}).plain()), R"({"y":[0.1,0.3333333333333333,5e-324]})");
  EXPECT_EQ((Output<float>(Datatype::fp32, {3}, {kInf, kNan, 1}).plain()), R"({"y":[null,null,1]})");
  EXPECT_EQ((Output<std::uint64_t>(Datatype::uint64, {1}, {~0ULL}).plain()), R"({"y":[18446744073709551615]})");
  EXPECT_EQ((Output<std::int64_t>(Datatype::int64, {1}, {std::numeric_limits<std::int64_t>::min()}).plain()),
            R"({"y":[-9223372036854775808]})");
  EXPECT_EQ((Output<std::uint8_t>(Datatype::uint8, {1}, {200}).plain()), R"({"y":[200]})");
  EXPECT_EQ((Output<std::int8_t>(Datatype::int8, {1}, {-100}).plain()), R"({"y":[-100]})");
  EXPECT_EQ((Output<std::uint16_t>(Datatype::fp16, {4}, {0x3C00, 0xC000, 0x0001, 0x7C00}).plain()), R"({"y":[1,-2,5.9604645e-08,null]})");
  EXPECT_EQ((Output<std::uint16_t>(Datatype::bf16, {2}, {0x3F80, 0x7FC0}).plain()), R"({"y":[1,null]})");
}

TEST(CodecEncode, V2SaysWhatItIs) {
  const Output<float> y(Datatype::fp32, {1, 2}, {0.5F, 2});
  EXPECT_EQ(y.v2(), R"({"model_name":"m\"1","model_version":"3","outputs":[{"name":"y","datatype":"FP32","shape":[1,2],"data":[0.5,2]}]})");
  EXPECT_EQ(
      y.v2({}, "i\n"),
      R"({"model_name":"m\"1","model_version":"3","id":"i\n","outputs":[{"name":"y","datatype":"FP32","shape":[1,2],"data":[0.5,2]}]})");
  const std::string json =
      R"({"model_name":"m\"1","model_version":"3","outputs":[{"name":"y","datatype":"FP32","shape":[1,2],)"
      R"("parameters":{"binary_data_size":8}}]})";
  EXPECT_EQ(y.v2({.binary = true}), std::to_string(json.size()) + ":" + json + std::string("\0\0\0\x3f\0\0\0\x40", 8));
  const Output<std::string_view> text(Datatype::bytes, {2}, {"\xff", ""});
  const std::string head =
      R"({"model_name":"m\"1","model_version":"3","outputs":[{"name":"y","datatype":"BYTES","shape":[2],)"
      R"("parameters":{"binary_data_size":9}}]})";
  EXPECT_EQ(text.v2({.binary = true}), std::to_string(head.size()) + ":" + head + std::string("\1\0\0\0\xff\0\0\0\0", 9));
}

TEST(CodecEncode, WhatJsonCannotCarryIsAnErrorThatSaysSo) {
  const std::string nan =
      "output 'y': element 2 is NaN or infinite, for which JSON has no word; ask for it in binary form (\"binary_data\": true)";
  EXPECT_EQ((Output<float>(Datatype::fp32, {3}, {1, 2, std::numeric_limits<float>::quiet_NaN()}).v2()), nan);
  EXPECT_EQ((Output<double>(Datatype::fp64, {3}, {1, 2, -std::numeric_limits<double>::infinity()}).v2()), nan);
  const std::string bytes =
      "output 'y': element 1 is not UTF-8, which JSON cannot carry; ask for it in binary form (V2, \"binary_data\": true)";
  const Output<std::string_view> text(Datatype::bytes, {2}, {"a", "\xc3("});
  EXPECT_EQ(text.v2(), bytes);
  EXPECT_EQ(text.plain(), bytes);
  std::vector<float> many(5000, 1);
  many[4321] = std::numeric_limits<float>::infinity();
  EXPECT_TRUE((Output<float>(Datatype::fp32, {5000}, many).v2()).starts_with("output 'y': element 4321 is NaN"));
  Encoded kept{.body = "before", .json_size = 0};
  const Output<float> bad(Datatype::fp32, {5000}, many);
  EXPECT_FALSE(encode(WireFormat::v2_json, {.outputs = {{}}}, {&bad.tensor, 1}, bad.signature, kNames, kept));
  EXPECT_EQ(kept.body, "before") << "nothing is added";
  EXPECT_TRUE(encode(WireFormat::plain_json, {.outputs = {{}}}, {&bad.tensor, 1}, bad.signature, kNames, kept));
  EXPECT_TRUE(kept.body.starts_with("before{\"y\":[1,1,"));
}

TEST(CodecEncode, LongRowsKeepTheirCommas) {
  std::string expected = "{\"y\":[";
  std::vector<std::int32_t> values(2500);
  for (int i = 0; i < 2500; ++i) values[static_cast<std::size_t>(i)] = i, expected += (i ? "," : "") + std::to_string(i);
  EXPECT_EQ((Output<std::int32_t>(Datatype::int32, {2500}, values).plain()), expected + "]}");
}

TEST(CodecEncode, AskedForOutputsComeInTheOrderAskedFor) {
  const std::int32_t a = 1;
  const float b = 2.5F;
  const Signature signature{.inputs = {}, .outputs = {{"a", Datatype::int32, {1}}, {"b", Datatype::fp32, {1}}}, .batches = false};
  const TensorView outputs[] = {{.shape = {1}, .data = std::as_bytes(std::span(&a, 1))},
                                {.shape = {1}, .data = std::as_bytes(std::span(&b, 1))}};
  const auto names = [&](std::vector<WantedOutput> wanted) {
    Encoded encoded;
    EXPECT_TRUE(encode(WireFormat::v2_json, {.outputs = std::move(wanted)}, outputs, signature, {.model = "m", .version = "1"}, encoded));
    return encoded.body.substr(encoded.body.find("\"outputs\""));
  };
  EXPECT_EQ(
      names({{.index = 1}, {.index = 0}}),
      R"("outputs":[{"name":"b","datatype":"FP32","shape":[1],"data":[2.5]},{"name":"a","datatype":"INT32","shape":[1],"data":[1]}]})");
  EXPECT_EQ(names({{.index = 1}}), R"("outputs":[{"name":"b","datatype":"FP32","shape":[1],"data":[2.5]}]})");
  EXPECT_EQ(
      names({{.index = 1, .binary = true}, {.index = 0, .binary = true}}),
      R"("outputs":[{"name":"b","datatype":"FP32","shape":[1],"parameters":{"binary_data_size":4}},)"
      R"({"name":"a","datatype":"INT32","shape":[1],"parameters":{"binary_data_size":4}}]})" +
          std::string("\0\0\x20\x40\1\0\0\0", 8))
      << "tensors lie in the order of the JSON";
}

TEST(CodecEncode, ClassificationRanksEachRow) {
  const std::vector<std::string> labels{"cat", "dog"};
  const Output<float> scores(Datatype::fp32, {2, 3}, {0.25F, 0.5F, 0.25F, std::numeric_limits<float>::quiet_NaN(), 1, 2}, true);
  const auto list = [](const std::string& reply) { return reply.substr(reply.find("\"datatype\"")); };
  EXPECT_EQ(list(scores.v2({.classification = 2}, "", &labels)),
            R"("datatype":"BYTES","shape":[2,2],"data":["0.500000:1:dog","0.250000:0:cat","2.000000:2","1.000000:1:dog"]}]})");
  EXPECT_EQ(list(scores.v2({.classification = 9})),
            R"("datatype":"BYTES","shape":[2,3],"data":["0.500000:1","0.250000:0","0.250000:2","2.000000:2","1.000000:1","nan:0"]}]})")
      << "no more than there are";
  const Output<std::int64_t> whole(Datatype::int64, {3}, {(1LL << 60) + 1, 1LL << 60, (1LL << 60) + 2});
  EXPECT_EQ(list(whole.v2({.classification = 2})),
            R"("datatype":"BYTES","shape":[2],"data":["1152921504606846978:2","1152921504606846977:0"]}]})");
  EXPECT_NE(scores.v2({.binary = true, .classification = 1}).find("\"shape\":[2,1],\"parameters\":{\"binary_data_size\":28}"),
            std::string::npos);
}

TEST(CodecEncode, AnEngineThatLiesIsFoundOut) {
  Output<float> y(Datatype::fp32, {2, 2}, {1, 2, 3});
  EXPECT_EQ(y.plain(), "output 'y': shape [2,2] does not match the 3 elements that the engine gave");
  EXPECT_EQ(y.v2(), "output 'y': shape [2,2] does not match the 3 elements that the engine gave");
}

}  // namespace
}  // namespace mayfly::worker
