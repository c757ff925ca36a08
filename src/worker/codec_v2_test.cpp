// The Open Inference Protocol's requests, in JSON, with binary tensors, and raw; tables, a line a rule.
#include <gtest/gtest.h>

#include "worker/codec_test_support.h"

namespace mayfly::worker {
namespace {

using domain::Datatype;
using domain::Signature;
using domain::WireFormat;
using Shape = std::vector<std::int64_t>;

const Signature kRows{.inputs = {{"x", Datatype::fp32, {-1, 3}}},
                      .outputs = {{"label", Datatype::int64, {-1}}, {"scores", Datatype::fp32, {-1, 2}}, {"names", Datatype::bytes, {-1}}},
                      .batches = true};
const Signature kTwo{.inputs = {{"ids", Datatype::int64, {-1, -1}}, {"text", Datatype::bytes, {-1}}},
                     .outputs = {{"y", Datatype::fp32, {-1}}},
                     .batches = true};

Decoded v2(const Signature& signature, std::string_view text) { return decode_text(signature, WireFormat::v2_json, text); }
Decoded binary(const Signature& signature, std::string_view json, std::string_view tensors) {
  return decode_text(signature, WireFormat::v2_binary, std::string(json) + std::string(tensors), json.size());
}
// A request whose one input has these fields.
std::string with(std::string_view fields, std::string_view others = "") {
  return "{\"inputs\":[{" + std::string(fields) + "}]" + std::string(others) + "}";
}
constexpr std::string_view kGood = R"("name":"x","shape":[1,3],"datatype":"FP32","data":[1,2,3])";

template <class T>
std::string raw(const std::vector<T>& values) {
  return {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T)};
}
std::string counted(const std::vector<std::string>& strings) {
  std::string out;
  for (const std::string& s : strings) {
    const auto size = static_cast<std::uint32_t>(s.size());
    out += std::string(reinterpret_cast<const char*>(&size), sizeof size) + s;
  }
  return out;
}

TEST(CodecV2, TakesFlatAndNestedDataAndFieldsInAnyOrder) {
  for (const char* fields : {R"("name":"x","shape":[2,3],"datatype":"FP32","data":[1,2,3,4,5,6])",
                             R"("name":"x","shape":[2,3],"datatype":"FP32","data":[[1,2,3],[4,5,6]])",
                             R"("data":[[1,2,3],[4,5,6]],"datatype":"FP32","shape":[2,3],"name":"x")",
                             R"("data" : [1, 2, 3, 4, 5, 6 ] , "shape" : [ 2 , 3 ] ,"name":"x", "datatype":"FP32")",
                             R"("n\u0061me":"x","shape":[2,3],"datatype":"FP32","data":[1,2,3,4,5,6],"more":{"a":[1,{"b":null}]})"}) {
    const auto d = v2(kRows, with(fields));
    ASSERT_TRUE(d.request) << fields << ": " << d.error();
    EXPECT_EQ(d.shape(), (Shape{2, 3})) << fields;
    EXPECT_EQ(d.values<float>(), (std::vector<float>{1, 2, 3, 4, 5, 6})) << fields;
    EXPECT_EQ(d.request->rows, 2);
  }
}

TEST(CodecV2, TakesInputsInAnyOrder) {
  const auto d = v2(kTwo, R"({"id":"a\"b","inputs":[{"name":"text","shape":[2],"datatype":"BYTES","data":["é","\u00e9\n"]},
                             {"name":"ids","shape":[2,1],"datatype":"INT64","data":[[7],[-8]]}]})");
  ASSERT_TRUE(d.request) << d.error();
  EXPECT_EQ(d.request->id, "a\"b");
  EXPECT_EQ(d.values<std::int64_t>(0), (std::vector<std::int64_t>{7, -8}));
  EXPECT_EQ(d.strings(1), (std::vector<std::string>{"é", "é\n"}));
}

TEST(CodecV2, OutputsAreAllOrThoseAskedFor) {
  const auto wants = [](std::string_view others) {
    const auto d = v2(kRows, with(kGood, others));
    std::string text = d.error();
    if (d.request)
      for (const WantedOutput& w : d.request->outputs)
        text += std::to_string(w.index) + (w.binary ? "b" : "") + (w.classification ? "c" + std::to_string(w.classification) : "") + " ";
    return text;
  };
  EXPECT_EQ(wants(""), "0 1 2 ");
  EXPECT_EQ(wants(R"(,"outputs":[])"), "0 1 2 ");
  EXPECT_EQ(wants(R"(,"parameters":{"binary_data_output":true})"), "0b 1b 2b ");
  EXPECT_EQ(wants(R"(,"outputs":[{"name":"scores"},{"name":"label"}])"), "1 0 ");
  EXPECT_EQ(wants(R"(,"outputs":[{"name":"scores","parameters":{"binary_data":true}},{"name":"label"}])"), "1b 0 ");
  EXPECT_EQ(
      wants(
          R"(,"outputs":[{"name":"scores","parameters":{"binary_data":false}},{"name":"label"}],"parameters":{"binary_data_output":true})"),
      "1 0b ");
  EXPECT_EQ(wants(R"(,"outputs":[{"parameters":{"classification":3,"else":[1]},"name":"scores"}])"), "1c3 ");
  EXPECT_EQ(wants(R"(,"outputs":[{"name":"score"}])"),
            "the model has no output 'score'; did you mean 'scores'? It has 'label', 'scores', 'names'");
  EXPECT_EQ(wants(R"(,"outputs":[{"name":"label"},{"name":"label"}])"), "output 'label' is asked for twice; ask once");
  EXPECT_EQ(wants(R"(,"outputs":[{"parameters":{}}])"), "output 0 of the request has no name; send \"name\"");
  EXPECT_EQ(wants(R"(,"outputs":[{"name":"names","parameters":{"classification":1}}])"),
            "output 'names' is BYTES, which classification cannot rank; ask for it without");
  EXPECT_EQ(wants(R"(,"outputs":[{"name":"scores","parameters":{"classification":-1}}])"),
            "parameter classification is -1; send a number of classes from 1 to 1048576, or 0 for none");
  EXPECT_EQ(wants(R"(,"outputs":[{"name":"scores","parameters":{"binary_data":1}}])"),
            "parameter binary_data must be true or false, not '1'");
}

TEST(CodecV2, IgnoresWhatItDoesNotKnowButReadsIt) {
  EXPECT_TRUE(
      v2(kRows,
         with(
             kGood,
             R"(,"parameters":{"sequence_id":1,"priority":"x","timeout":1.5e3,"a":null,"b":[[],{}]},)"
      R"("extra":{"deep":[{"er":[true,false]}]})"))
          .request);
  for (const char* bad : {R"(,"parameters":{"a":})", R"(,"parameters":{"a" 1})", R"(,"parameters":{"a":nul})", R"(,"parameters":{"a":01})",
                          R"(,"parameters":[])", R"(,"extra":[1,])", R"(,"extra":{1:2})", R"(,"extra":[1}])", R"(,"id":5)",
                          R"(,"outputs":{})", R"(,"extra":tru)", R"(,"extra":"\x" 1)"})
    EXPECT_FALSE(v2(kRows, with(kGood, bad)).request) << bad;
  EXPECT_EQ(v2(kRows, with(kGood, ",\"extra\":" + std::string(100, '[') + std::string(100, ']'))).error(),
            "the body nests deeper than 32 levels");
  EXPECT_FALSE(v2(kRows, with(kGood, ",\"extra\":" + std::string(1000000, '['))).request);
}

struct Refusal {
  const char* fields;
  const char* error;
};

TEST(CodecV2, RefusesInputsThatDoNotFit) {
  const Refusal table[] = {
      {R"("name":"x","shape":[1,29],"datatype":"FP32","data":[1])",
       "input 'x': expected FP32 [-1,3], got a tensor of shape [1,29]; send 3 numbers a row"},
      {R"("name":"x","shape":[3],"datatype":"FP32","data":[1,2,3])",
       "input 'x': expected FP32 [-1,3], got a tensor of shape [3]; send 2 dimensions, not 1"},
      {R"("name":"x","shape":[1,3],"datatype":"FP64","data":[1,2,3])",
       "input 'x': expected FP32 [-1,3], got datatype FP64; convert it before sending"},
      {R"("name":"x","shape":[1,3],"datatype":"FLOAT","data":[1,2,3])",
       "input 'x': expected FP32 [-1,3], got datatype FLOAT, which the protocol does not know"},
      {R"("name":"x","shape":[1,3],"datatype":"FP32","data":[1,2])", "input 'x': shape [1,3] needs 3 elements, data has 2"},
      {R"("name":"x","shape":[1,3],"datatype":"FP32","data":[1,2,3,4])", "input 'x': shape [1,3] needs 3 elements, data has 4"},
      {R"("name":"x","shape":[2,3],"datatype":"FP32","data":[[1,2],[3,4],[5,6]])",
       "input 'x': data is nested as [3,2], the shape is [2,3]; nest it like the shape or send it flat"},
      {R"("name":"x","shape":[2,3],"datatype":"FP32","data":[[1,2,3],[4,5]])",
       "input 'x': a list at depth 2 has 2 elements where the first has 3; all of one depth must be equally long"},
      {R"("name":"x","shape":[-1,3],"datatype":"FP32","data":[1,2,3])",
       "a shape's size is -1; a request states each size, -1 stands in models only"},
      {R"("name":"x","shape":[1.5,3],"datatype":"FP32","data":[1,2,3])", "a shape's size must be a whole number, not '1.5'"},
      {R"("name":"x","shape":["1",3],"datatype":"FP32","data":[1,2,3])", "a shape's size must be a whole number, not \"1\""},
      {R"("name":"x","shape":[9223372036854775807,3],"datatype":"FP32","data":[1,2,3])",
       "input 'x': shape [9223372036854775807,3] needs too many elements, data has 3"},
      {R"("name":"x","shape":[1,3],"datatype":"FP32")", "input 'x' has neither data nor binary_data_size; send one of them"},
      {R"("name":"x","shape":[1,3],"datatype":"FP32","data":5)", "input 'x': data must be a list, not '5'"},
      {R"("name":"x","shape":[1,3],"datatype":"FP32","data":[1,2,3],"data":[1,2,3])", "an input has data twice; send it once"},
      {R"("name":"x","name":"x","shape":[1,3],"datatype":"FP32","data":[1,2,3])", "input 0 of the request has two names"},
      {R"("name":"x","shape":[1,3],"shape":[1,3],"datatype":"FP32","data":[1,2,3])", "an input has two shapes; send one"},
      {R"("name":"x","shape":[1,3],"datatype":"FP32","datatype":"FP32","data":[1,2,3])", "an input has two datatypes; send one"},
      {R"("name":"x","shape":[1,3],"data":[1,2,3])", "input 'x' has no datatype; send \"datatype\": \"FP32\""},
      {R"("name":"x","datatype":"FP32","data":[1,2,3])", "input 'x' has no shape; send \"shape\", for the model it is [-1,3]"},
      {R"("shape":[1,3],"datatype":"FP32","data":[1,2,3])", "input 0 of the request has no name; send \"name\""},
      {R"("name":"y","shape":[1,3],"datatype":"FP32","data":[1,2,3])", "the model has no input 'y'; it has 'x'"},
      {R"("name":"x","shape":[0,3],"datatype":"FP32","data":[])", "input 'x' has no rows; send at least one"},
      {R"("name":"x","shape":[1,3],"datatype":"FP32","data":[1,2,3],"parameters":{"binary_data_size":12})",
       "input 'x' has both data and binary_data_size; send one of them"},
      {R"("data":[1,2,3],"name":"x","shape":[1,3],"datatype":"FP64")",
       "input 'x': expected FP32 [-1,3], got datatype FP64; convert it before sending"},
      {R"("data":[1,2,"3"],"name":"x","shape":[1,3],"datatype":"FP32")", "input 'x': expected FP32, got \"3\"; send numbers"},
  };
  for (const auto& [fields, error] : table) EXPECT_EQ(v2(kRows, with(fields)).error(), error) << fields;
  EXPECT_EQ(v2(kRows, with(R"("name":"x","shape":[)" + std::string(64, '1') + R"(],"datatype":"FP32","data":[1])")).error(),
            "a shape's size must be a whole number, not '11111111111111111111111111111111…'");
  EXPECT_FALSE(
      v2(kRows,
         with(R"("name":"x","shape":[1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1],"datatype":"FP32","data":[1])"))
          .request);
}

TEST(CodecV2, RefusesRequestsThatAreNotWhole) {
  EXPECT_EQ(v2(kRows, "{}").error(), "missing: input 'x' (FP32 [-1,3]); a request holds every input of the model");
  EXPECT_EQ(v2(kRows, R"({"inputs":[]})").error(), "missing: input 'x' (FP32 [-1,3]); a request holds every input of the model");
  const std::string good(kGood);
  EXPECT_EQ(v2(kRows, "{\"inputs\":[{" + good + "},{" + good + "}]}").error(), "input 'x' is there twice; send it once");
  EXPECT_EQ(v2(kRows, "{\"inputs\":[{" + good + "}],\"inputs\":[]}").error(), "\"inputs\" is there twice; send it once");
  EXPECT_EQ(v2(kRows, with(kGood) + "x").error(), "the body is not JSON at byte 72: expected the end, found 'x'");
  EXPECT_TRUE(v2(kRows, with(kGood) + " \n").request);
  const std::string whole = with(kGood, R"(,"id":"1","parameters":{"a":[1]},"outputs":[{"name":"label"}])");
  ASSERT_TRUE(v2(kRows, whole).request);
  for (std::size_t size = 0; size < whole.size(); ++size) EXPECT_FALSE(v2(kRows, whole.substr(0, size)).request) << whole.substr(0, size);
}

TEST(CodecBinary, TensorsLieBehindTheJsonInItsOrder) {
  const std::string json = R"({"inputs":[{"name":"text","shape":[2],"datatype":"BYTES","parameters":{"binary_data_size":13}},
                               {"name":"ids","shape":[2,1],"datatype":"INT64","parameters":{"binary_data_size":16}}]})";
  for (int blanks = 0; blanks < 8; ++blanks) {
    const auto d = binary(kTwo, json + std::string(static_cast<std::size_t>(blanks), ' '),
                          counted({"", std::string("\xff\0abc", 5)}) + raw<std::int64_t>({-5, 1LL << 60}));
    ASSERT_TRUE(d.request) << d.error();
    EXPECT_EQ(d.values<std::int64_t>(0), (std::vector<std::int64_t>{-5, 1LL << 60}));
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(d.request->inputs[0].data.data()) % 8, 0u) << "aligned for its type";
    EXPECT_EQ(d.strings(1), (std::vector<std::string>{"", std::string("\xff\0abc", 5)}));
  }
}

TEST(CodecBinary, MayBeMixedWithJson) {
  const auto d = binary(kTwo, R"({"inputs":[{"name":"text","shape":[1],"datatype":"BYTES","data":["a"]},
                                  {"parameters":{"binary_data_size":8},"name":"ids","shape":[1,1],"datatype":"INT64"}]})",
                        raw<std::int64_t>({9}));
  ASSERT_TRUE(d.request) << d.error();
  EXPECT_EQ(d.values<std::int64_t>(0), (std::vector<std::int64_t>{9}));
}

TEST(CodecBinary, SizesThatLieAreRefused) {
  const auto error = [](const char* shape, const char* size, std::size_t bytes) {
    return binary(
               kRows,
               with(R"("name":"x","shape":)" + std::string(shape) + R"(,"datatype":"FP32","parameters":{"binary_data_size":)" + size + "}"),
               std::string(bytes, 'A'))
        .error();
  };
  EXPECT_EQ(error("[1,3]", "12", 12), "");
  EXPECT_EQ(error("[1,3]", "16", 16), "input 'x': FP32 of shape [1,3] is 12 bytes, got 16");
  EXPECT_EQ(error("[1,3]", "12", 13),
            "1 of the 13 bytes behind the JSON belong to no input; the sum of binary_data_size must be their number");
  const std::string missing =
      ", but of the 11 bytes behind the JSON 11 are left; does Inference-Header-Content-Length say where the JSON ends?";
  EXPECT_EQ(error("[1,3]", "12", 11), "input 'x': binary_data_size is 12" + missing);
  EXPECT_EQ(error("[1,3]", "-1", 11), "input 'x': binary_data_size is -1" + missing);
  EXPECT_EQ(error("[1,3]", "9223372036854775807", 11), "input 'x': binary_data_size is 9223372036854775807" + missing);
  EXPECT_EQ(error("[1,3]", "18446744073709551628", 12), "parameter binary_data_size must be a whole number, not '18446744073709551628'");
  EXPECT_EQ(error("[6148914691236517206,3]", "8", 8), "input 'x': shape [6148914691236517206,3] has more elements than any body");
  EXPECT_EQ(error("[1537228672809129302,3]", "8", 8), "input 'x': shape [1537228672809129302,3] has more elements than any body")
      << "their product wraps to 8 bytes";
  EXPECT_EQ(error("[0,3]", "0", 0), "input 'x' has no rows; send at least one");
  EXPECT_EQ(decode_text(kRows, WireFormat::v2_binary, "{}", 3).error(),
            "Inference-Header-Content-Length is 3, but the body has only 2 bytes");
  EXPECT_FALSE(decode_text(kRows, WireFormat::v2_binary, "{}", ~std::uint64_t{0}).request);
  EXPECT_EQ(v2(kRows, with(R"("name":"x","shape":[1,3],"datatype":"FP32","parameters":{"binary_data_size":12})")).error(),
            "input 'x': binary_data_size is 12, but of the 0 bytes behind the JSON 0 are left; does Inference-Header-Content-Length say "
            "where the JSON ends?");
}

TEST(CodecBinary, StringsThatLieAreRefused) {
  const Signature text{.inputs = {{"t", Datatype::bytes, {-1}}}, .outputs = {}, .batches = false};
  const auto error = [&](const char* shape, std::string bytes) {
    return binary(text,
                  with(R"("name":"t","shape":)" + std::string(shape) + R"(,"datatype":"BYTES","parameters":{"binary_data_size":)" +
                       std::to_string(bytes.size()) + "}"),
                  bytes)
        .error();
  };
  const std::string rule = "; each element is its length (4 bytes, little-endian) and its bytes, for shape ";
  EXPECT_EQ(error("[0]", ""), "");
  EXPECT_EQ(error("[2]", counted({"ab", "c"})), "");
  EXPECT_EQ(error("[2]", counted({"ab"})), "input 't': 6 bytes are too few" + rule + "[2] 2 times");
  EXPECT_EQ(error("[2]", counted({"abcdef"})), "input 't': the bytes end before element 1" + rule + "[2] 2 times");
  EXPECT_EQ(error("[1]", counted({"a", "b"})), "input 't': 5 bytes are left over" + rule + "[1] 1 times");
  EXPECT_EQ(error("[1]", std::string("\xff\xff\xff\xff"
                                     "ab",
                                     6)),
            "input 't': element 0 says it has 4294967295 bytes, 2 are left" + rule + "[1] 1 times");
  EXPECT_EQ(error("[1152921504606846976]", counted({"a"})),
            "input 't': 5 bytes are too few" + rule + "[1152921504606846976] 1152921504606846976 times");
}

TEST(CodecBinary, BoolsAreZeroOrOne) {
  const Signature flags{.inputs = {{"b", Datatype::boolean, {-1}}}, .outputs = {}, .batches = false};
  EXPECT_EQ(decode_text(flags, WireFormat::v2_raw, std::string("\0\1", 2)).error(), "");
  EXPECT_EQ(decode_text(flags, WireFormat::v2_raw, std::string("\0\2", 2)).error(), "input 'b': a BOOL is a byte of 0 or 1, got 2");
}

TEST(CodecRaw, TheOpenSizeFollowsFromTheBytes) {
  const auto d = decode_text(kRows, WireFormat::v2_raw, raw<float>({1, 2, 3, 4, 5, 6}));
  ASSERT_TRUE(d.request) << d.error();
  EXPECT_EQ(d.shape(), (Shape{2, 3}));
  EXPECT_EQ(d.values<float>(), (std::vector<float>{1, 2, 3, 4, 5, 6}));
  ASSERT_EQ(d.request->outputs.size(), 3u);
  EXPECT_TRUE(d.request->outputs[0].binary && d.request->outputs[1].binary && d.request->outputs[2].binary);
  EXPECT_EQ(decode_text(kRows, WireFormat::v2_raw, std::string(13, 'A')).error(),
            "input 'x': expected FP32 [-1,3], got 13 bytes; send a multiple of 12");
  EXPECT_EQ(decode_text(kRows, WireFormat::v2_raw, "").error(), "input 'x' has no rows; send at least one");
  const Signature sequence{.inputs = {{"s", Datatype::int16, {-1, -1}}}, .outputs = {}, .batches = true};
  const auto row = decode_text(sequence, WireFormat::v2_raw, "abcdef");
  ASSERT_TRUE(row.request) << row.error();
  EXPECT_EQ(row.shape(), (Shape{1, 3})) << "one row";
  EXPECT_FALSE(
      decode_text({.inputs = {{"s", Datatype::int16, {-1, -1}}}, .outputs = {}, .batches = false}, WireFormat::v2_raw, "abcdef").request);
  EXPECT_EQ(decode_text({.inputs = {{"s", Datatype::int16, {2}}}, .outputs = {}, .batches = false}, WireFormat::v2_raw, "abc").error(),
            "input 's': INT16 of shape [2] is 4 bytes, got 3");
  EXPECT_EQ(decode_text(kTwo, WireFormat::v2_raw, "abc").error(),
            "a raw body needs a model with one input, this one has 2; send JSON or JSON with binary tensors");
  const Signature text{.inputs = {{"t", Datatype::bytes, {-1, 1}}}, .outputs = {}, .batches = true};
  const auto whole = decode_text(text, WireFormat::v2_raw, std::string("a\0b", 3));
  ASSERT_TRUE(whole.request) << whole.error();
  EXPECT_EQ(whole.strings(), (std::vector<std::string>{std::string("a\0b", 3)}));
  EXPECT_EQ(whole.shape(), (Shape{1, 1}));
}

TEST(CodecDecoder, KeepsItsMemoryAndForgetsTheRequestBefore) {
  Decoder decoder(kTwo);
  DecodeMemory memory;
  DecodedRequest request;
  const PaddedBody first(
      R"({"id":"one","inputs":[{"name":"text","shape":[2],"datatype":"BYTES","data":["\u0061","b"]},)"
      R"({"name":"ids","shape":[2,1],"datatype":"INT64","data":[7,8]}],"outputs":[{"name":"y"}]})");
  const PaddedBody second(R"({"inputs":[{"name":"ids","shape":[1,1],"datatype":"INT64","data":[9]}]})");
  ASSERT_TRUE(decoder.decode(WireFormat::v2_json, first.bytes(), 0, memory, request));
  const auto* shape = request.inputs[0].shape.data();
  const auto* data = request.inputs[0].data.data();
  EXPECT_FALSE(decoder.decode(WireFormat::v2_json, second.bytes(), 0, memory, request))
      << "the text of the request before is no input of this one";
  ASSERT_TRUE(decoder.decode(WireFormat::v2_json, first.bytes(), 0, memory, request));
  EXPECT_EQ(request.outputs.size(), 1u);
  EXPECT_EQ(request.inputs[0].shape.data(), shape);
  EXPECT_EQ(request.inputs[0].data.data(), data);
}

}  // namespace
}  // namespace mayfly::worker
