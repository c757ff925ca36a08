// The plain form, and what one element may be; tables, a line a rule.
#include <gtest/gtest.h>

#include <bit>
#include <limits>

#include "worker/codec_test_support.h"

namespace mayfly::worker {
namespace {

using domain::Datatype;
using domain::Signature;
using domain::WireFormat;
using Shape = std::vector<std::int64_t>;

Signature rows_of(Datatype type, std::int64_t width) {
  return {.inputs = {{"x", type, {-1, width}}}, .outputs = {{"y", Datatype::fp32, {-1}}}, .batches = true};
}
Signature list_of(Datatype type) { return {.inputs = {{"x", type, {-1}}}, .outputs = {{"y", Datatype::fp32, {-1}}}, .batches = false}; }
Decoded plain(const Signature& signature, std::string_view text) { return decode_text(signature, WireFormat::plain_json, text); }

TEST(CodecPlain, ShapeComesFromTheBrackets) {
  const auto d = plain(rows_of(Datatype::fp32, 3), R"( {"x" : [ [1, 2.5,-3] ,[4,5e0,6E+1]] } )");
  ASSERT_TRUE(d.request) << d.error();
  EXPECT_EQ(d.shape(), (Shape{2, 3}));
  EXPECT_EQ(d.values<float>(), (std::vector<float>{1, 2.5F, -3, 4, 5, 60}));
  EXPECT_EQ(d.request->rows, 2);
  ASSERT_EQ(d.request->outputs.size(), 1u);
  EXPECT_FALSE(d.request->outputs[0].binary);
}

TEST(CodecPlain, OneRowMayComeWithoutItsBrackets) {
  const auto d = plain(rows_of(Datatype::fp32, 3), R"({"x":[1,2,3]})");
  ASSERT_TRUE(d.request) << d.error();
  EXPECT_EQ(d.shape(), (Shape{1, 3}));
  const auto scalar = plain({.inputs = {{"x", Datatype::int64, {-1}}}, .outputs = {}, .batches = true}, R"({"x": 7 })");
  ASSERT_TRUE(scalar.request) << scalar.error();
  EXPECT_EQ(scalar.shape(), (Shape{1}));
  EXPECT_EQ(scalar.values<std::int64_t>(), (std::vector<std::int64_t>{7}));
  EXPECT_FALSE(plain({.inputs = {{"x", Datatype::fp32, {2, 3}}}, .outputs = {}, .batches = false}, R"({"x":[1,2,3]})").request)
      << "only where the model batches";
}

TEST(CodecPlain, OneInputGoesByCommonNamesToo) {
  const auto signature = rows_of(Datatype::fp32, 2);
  for (const char* text : {R"({"x":[[1,2]]})", R"({"input":[[1,2]]})", R"({"inputs":[[1,2]]})", R"({"instances":[[1,2]]})", "[[1,2]]",
                           "[1,2]", R"({"\u0078":[[1,2]]})"}) {
    const auto d = plain(signature, text);
    ASSERT_TRUE(d.request) << text << ": " << d.error();
    EXPECT_EQ(d.values<float>(), (std::vector<float>{1, 2})) << text;
  }
  const Signature two{.inputs = {{"a", Datatype::fp32, {-1}}, {"b", Datatype::fp32, {-1}}}, .outputs = {}, .batches = true};
  EXPECT_EQ(plain(two, "[[1,2]]").error(),
            "a bare list needs a model with one input, this one has 2; send an object from input name to list");
  EXPECT_EQ(plain(two, R"({"input":[1]})").error(), "the model has no input 'input'; it has 'a', 'b'");
}

TEST(CodecPlain, InputsComeInAnyOrder) {
  const Signature two{.inputs = {{"a", Datatype::fp32, {-1}}, {"b", Datatype::int8, {-1}}}, .outputs = {}, .batches = true};
  const auto d = plain(two, R"({"b":[1,2],"a":[3,4]})");
  ASSERT_TRUE(d.request) << d.error();
  EXPECT_EQ(d.values<float>(0), (std::vector<float>{3, 4}));
  EXPECT_EQ(d.values<std::int8_t>(1), (std::vector<std::int8_t>{1, 2}));
  EXPECT_EQ(plain(two, R"({"b":[1,2],"a":[3]})").error(), "input 'b' has 2 rows, input 'a' has 1; all inputs need the same number");
  EXPECT_EQ(plain(two, R"({"b":[1]})").error(), "missing: input 'a' (FP32 [-1]); a request holds every input of the model");
  EXPECT_EQ(plain(two, "{}").error(), "missing: input 'a' (FP32 [-1]), input 'b' (INT8 [-1]); a request holds every input of the model");
  EXPECT_EQ(plain(two, R"({"a":[1],"a":[2]})").error(), "input 'a' is there twice; send it once");
  EXPECT_EQ(plain(rows_of(Datatype::fp32, 1), R"({"x":[[1]],"input":[[2]]})").error(), "input 'x' is there twice; send it once")
      << "by another name too";
}

struct Refusal {
  const char* text;
  const char* error;
};

TEST(CodecPlain, RefusesWhatIsNoRectangleOfTheRightShape) {
  const Refusal table[] = {
      {R"({"x":[[1,2]]})", "input 'x': expected FP32 [-1,3], got a list of shape [1,2]; send 3 numbers a row"},
      {R"({"x":[1,2]})", "input 'x': expected FP32 [-1,3], got a list of shape [1,2]; send 3 numbers a row"},
      {R"({"x":[[[1,2,3]]]})", "input 'x': expected FP32 [-1,3], got a list of shape [1,1,3]; send 2 dimensions, not 3"},
      {R"({"x":5})", "input 'x': expected FP32 [-1,3], got a list of shape []; send 2 dimensions, not 0"},
      {R"({"x":[]})", "input 'x': expected FP32 [-1,3], got a list of shape [1,0]; send 3 numbers a row"},
      {R"({"x":[[]]})", "input 'x': expected FP32 [-1,3], got a list of shape [1,0]; send 3 numbers a row"},
      {R"({"x":[[1,2,3],[4,5]]})",
       "input 'x': a list at depth 2 has 2 elements where the first has 3; all of one depth must be equally long"},
      {R"({"x":[[],[1,2,3]]})", "input 'x': a list at depth 2 has 3 elements where the first has 0; all of one depth must be equally long"},
      {R"({"x":[[1,2,3],4]})", "input 'x': lists and values stand side by side in one list (near '4'); all elements must be at one depth"},
      {R"({"x":[1,[2],3]})", "input 'x': lists and values stand side by side in one list (before '['); all elements must be at one depth"},
      {R"({"x":[[1,2,3],[[4,5,6]]]})",
       "input 'x': lists and values stand side by side in one list (near '4'); all elements must be at one depth"},
      {R"({"x":[[[1,2,3]],[4,5,6]]})",
       "input 'x': lists and values stand side by side in one list (near '4'); all elements must be at one depth"},
  };
  for (const auto& [text, error] : table) EXPECT_EQ(plain(rows_of(Datatype::fp32, 3), text).error(), error) << text;
  const Signature deep{.inputs = {{"x", Datatype::fp32, {-1, 4, 5}}}, .outputs = {}, .batches = true};
  EXPECT_EQ(plain(deep, R"({"x":[[[1,2,3,4,5]]]})").error(),
            "input 'x': expected FP32 [-1,4,5], got a list of shape [1,1,5]; dimension 1 must be 4");
}

TEST(CodecPlain, RefusesWhatIsNotJson) {
  const Refusal table[] = {
      {"", "the body is empty: send JSON"},
      {"  ", "the body is not JSON: it holds nothing but blanks"},
      {"{", "the body is not JSON at byte 1: expected a field's name in quotes, found the end"},
      {R"({"x")", "the body is not JSON at byte 4: expected ':', found the end"},
      {R"({"x":)", "the body is not JSON at byte 5: expected a value, found the end"},
      {R"({"x":[)", "the body is not JSON at byte 6: expected a value, found the end"},
      {R"({"x":[[1,2)", "the body is not JSON at byte 10: expected ',' or ']', found the end"},
      {R"({"x":[[1,2])", "the body is not JSON at byte 11: expected ',' or ']', found the end"},
      {R"({"x":[[1,2]])", "the body is not JSON at byte 12: expected ',' or '}', found the end"},
      {R"({"x":[[1,2]]}})", "the body is not JSON at byte 13: expected the end, found '}'"},
      {R"({"x":[[1,2]]} 7)", "the body is not JSON at byte 14: expected the end, found '7'"},
      {R"({"x":[[1,2]],})", "the body is not JSON at byte 13: expected a field's name in quotes, found '}'"},
      {R"({"x":[[1,2],]})", "the body is not JSON at byte 12: expected a value, found ']'"},
      {R"({"x":[[1,]]})", "the body is not JSON at byte 9: expected a value, found ']'"},
      {R"({"x":[[,1]]})", "the body is not JSON at byte 7: expected a value, found ','"},
      {R"({"x":[[1 2]]})", "the body is not JSON at byte 9: expected ',' or ']', found '2'"},
      {R"({"x":[[1:2]]})", "the body is not JSON at byte 8: expected ',' or ']', found ':'"},
      {R"({"x":[[1,2}]})", "the body is not JSON at byte 10: expected ',' or ']', found '}'"},
      {R"({"x" [[1,2]]})", "the body is not JSON at byte 5: expected ':', found '['"},
      {R"({x:[[1,2]]})", "the body is not JSON at byte 1: expected a field's name in quotes, found 'x'"},
      {R"({"x":[["a]]})", "the body is not JSON: a string has no closing quote"},
      {"{\"x\":[[1,2]],\"\xff\":1}", "the body is not JSON: it is not UTF-8"},
      {"{\"x\n\":[[1,2]]}", "the body is not JSON: a string holds a control character; escape it as \\u00XX"},
      {R"({"\ud800":[[1,2]]})", "the body is not JSON at byte 1: expected a string with valid escapes, found \"\\ud800\""},
      {R"({"\q":[[1,2]]})", "the body is not JSON at byte 1: expected a string with valid escapes, found \"\\q\""},
      {"5", "the body is not JSON at byte 0: expected an object from input name to list, found '5'"},
  };
  for (const auto& [text, error] : table) EXPECT_EQ(plain(rows_of(Datatype::fp32, 2), text).error(), error) << text;
}

TEST(CodecPlain, NestingHasALimit) {
  const auto nested = [](int depth) {
    return R"({"x":)" + std::string(static_cast<std::size_t>(depth), '[') + "1" + std::string(static_cast<std::size_t>(depth), ']') + "}";
  };
  const Signature signature{.inputs = {{"x", Datatype::fp32, Shape(32, 1)}}, .outputs = {}, .batches = false};
  EXPECT_TRUE(plain(signature, nested(32)).request);
  EXPECT_EQ(plain(signature, nested(33)).error(), "input 'x': lists nest deeper than 32 levels");
  EXPECT_FALSE(plain(signature, nested(100000)).request);
}

TEST(CodecPlain, UnknownNamesGetTheNearest) {
  const Signature two{
      .inputs = {{"input_ids", Datatype::int64, {-1, -1}}, {"attention_mask", Datatype::int64, {-1, -1}}}, .outputs = {}, .batches = true};
  EXPECT_EQ(plain(two, R"({"input_id":[[1]]})").error(),
            "the model has no input 'input_id'; did you mean 'input_ids'? It has 'input_ids', 'attention_mask'");
  EXPECT_EQ(plain(two, R"({"zzz":[[1]]})").error(), "the model has no input 'zzz'; it has 'input_ids', 'attention_mask'");
}

// What one element may be ------------------------------------------------------------------------

template <class T>
void expect_value(Datatype type, const char* text, T value) {
  const auto d = plain(list_of(type), std::string(R"({"x":[)") + text + "]}");
  ASSERT_TRUE(d.request) << text << ": " << d.error();
  const auto got = d.values<T>();
  ASSERT_EQ(got.size(), 1u);
  EXPECT_EQ(std::memcmp(&got[0], &value, sizeof value), 0)
      << text << " as " << domain::name(type) << " is " << +got[0] << ", expected " << +value;
}

TEST(CodecElements, WholeNumbers) {
  expect_value<std::uint8_t>(Datatype::uint8, "255", 255);
  expect_value<std::int8_t>(Datatype::int8, "-128", -128);
  expect_value<std::uint16_t>(Datatype::uint16, "65535", 65535);
  expect_value<std::int16_t>(Datatype::int16, "-32768", -32768);
  expect_value<std::uint32_t>(Datatype::uint32, "4294967295", 4294967295U);
  expect_value<std::int32_t>(Datatype::int32, "-2147483648", std::numeric_limits<std::int32_t>::min());
  expect_value<std::uint64_t>(Datatype::uint64, "18446744073709551615", std::numeric_limits<std::uint64_t>::max());
  expect_value<std::int64_t>(Datatype::int64, "9223372036854775807", std::numeric_limits<std::int64_t>::max());
  expect_value<std::int64_t>(Datatype::int64, "-9223372036854775808", std::numeric_limits<std::int64_t>::min());
  expect_value<std::int64_t>(Datatype::int64, "9007199254740993", 9007199254740993);
  expect_value<std::int64_t>(Datatype::int64, "3.0", 3);
  expect_value<std::int64_t>(Datatype::int64, "-1.50e1", -15);
  expect_value<std::int64_t>(Datatype::int64, "9.223372036854775807e18", std::numeric_limits<std::int64_t>::max());
  expect_value<std::int64_t>(Datatype::int64, "-0", 0);
  expect_value<std::uint8_t>(Datatype::uint8, "-0", 0);
  expect_value<std::int32_t>(Datatype::int32, "0e999999999999999999", 0);
  expect_value<std::uint8_t>(Datatype::boolean, "true", 1);
  expect_value<std::uint8_t>(Datatype::boolean, "false", 0);
  expect_value<std::uint8_t>(Datatype::boolean, "1", 1);
}

TEST(CodecElements, Floats) {
  expect_value<float>(Datatype::fp32, "1", 1.0F);
  expect_value<float>(Datatype::fp32, "-0", -0.0F);
  expect_value<float>(Datatype::fp32, "-0.0e5", -0.0F);
  expect_value<float>(Datatype::fp32, "0.1", 0.1F);
  expect_value<float>(Datatype::fp32, "0.10000000149011612", 0.1F);
  expect_value<float>(Datatype::fp32, "3.4028235e38", std::numeric_limits<float>::max());
  expect_value<float>(Datatype::fp32, "1e-45", std::numeric_limits<float>::denorm_min());
  expect_value<float>(Datatype::fp32, "1.1754942e-38", std::bit_cast<float>(0x007FFFFFU));
  expect_value<float>(Datatype::fp32, "1e-400", 0.0F);
  expect_value<float>(Datatype::fp32, "-1e-99999999999", -0.0F);
  expect_value<float>(Datatype::fp32, "7.006492321624085e-46", 0.0F);
  // Half-way between two floats: to even; a hair above: up, though the nearest double is the half itself.
  expect_value<float>(Datatype::fp32, "16777217", 16777216.0F);
  expect_value<float>(Datatype::fp32, "16777217.000000000000000001", 16777218.0F);
  expect_value<float>(Datatype::fp32, "16777219", 16777220.0F);
  expect_value<double>(Datatype::fp64, "0.1", 0.1);
  expect_value<double>(Datatype::fp64, "1.7976931348623157e308", std::numeric_limits<double>::max());
  expect_value<double>(Datatype::fp64, "5e-324", std::numeric_limits<double>::denorm_min());
  expect_value<double>(Datatype::fp64, "2.2250738585072011e-308", 2.2250738585072011e-308);
  expect_value<double>(Datatype::fp64, "9007199254740993", 9007199254740992.0);
  expect_value<double>(Datatype::fp64, "9007199254740993.0000000000000000000000000000000000000000000001", 9007199254740994.0);
  expect_value<double>(Datatype::fp64, "123456789012345678901234567890", 123456789012345678901234567890.0);
  expect_value<double>(Datatype::fp64, "0.000000000000000000000000000001", 1e-30);
  expect_value<std::uint16_t>(Datatype::fp16, "1", 0x3C00);
  expect_value<std::uint16_t>(Datatype::fp16, "-2.5", 0xC100);
  expect_value<std::uint16_t>(Datatype::fp16, "65504", 0x7BFF);
  expect_value<std::uint16_t>(Datatype::fp16, "65519.99", 0x7BFF);
  expect_value<std::uint16_t>(Datatype::fp16, "5.960464477539063e-08", 0x0001);
  expect_value<std::uint16_t>(Datatype::fp16, "2.98023223876953125e-08", 0x0000);
  expect_value<std::uint16_t>(Datatype::fp16, "2.9802322387695317e-08", 0x0001);
  expect_value<std::uint16_t>(Datatype::fp16, "6.103515625e-05", 0x0400);
  expect_value<std::uint16_t>(Datatype::fp16, "6.102025508880615e-05", 0x0400);
  expect_value<std::uint16_t>(Datatype::fp16, "0.333251953125", 0x3555);
  expect_value<std::uint16_t>(Datatype::bf16, "1.0", 0x3F80);
  expect_value<std::uint16_t>(Datatype::bf16, "-3.140625", 0xC049);
  expect_value<std::uint16_t>(Datatype::bf16, "1.00390625", 0x3F80);
  expect_value<std::uint16_t>(Datatype::bf16, "1.01171875", 0x3F82);
}

TEST(CodecElements, Refusals) {
  const struct {
    Datatype type;
    const char* text;
    const char* error;
  } table[] = {
      {Datatype::uint8, "256", "'256' is out of the range of UINT8 (0 to 255)"},
      {Datatype::uint8, "-1", "'-1' is out of the range of UINT8 (0 to 255)"},
      {Datatype::int8, "128", "'128' is out of the range of INT8 (-128 to 127)"},
      {Datatype::int64, "9223372036854775808",
       "'9223372036854775808' is out of the range of INT64 (-9223372036854775808 to 9223372036854775807)"},
      {Datatype::uint64, "18446744073709551616", "'18446744073709551616' is out of the range of UINT64 (0 to 18446744073709551615)"},
      {Datatype::int32, "1e400", "'1e400' is out of the range of INT32 (-2147483648 to 2147483647)"},
      {Datatype::int32, "1.5", "'1.5' is not a whole number of at most 19 digits, which INT32 needs"},
      {Datatype::int32, "1e-1", "'1e-1' is not a whole number of at most 19 digits, which INT32 needs"},
      {Datatype::fp32, "1e39", "'1e39' is out of the range of FP32 (largest: 3.4028235e38)"},
      {Datatype::fp32, "3.4028236e38", "'3.4028236e38' is out of the range of FP32 (largest: 3.4028235e38)"},
      {Datatype::fp64, "-1e309", "'-1e309' is out of the range of FP64 (largest: 1.7976931348623157e308)"},
      {Datatype::fp16, "65520", "'65520' is out of the range of FP16 (largest: 65504)"},
      {Datatype::fp32, "\"1\"", "expected FP32, got \"1\"; send numbers"},
      {Datatype::fp32, "true", "expected FP32, got 'true'; send numbers"},
      {Datatype::fp32, "null", "expected FP32, got 'null'; send numbers"},
      {Datatype::int8, "\"1\"", "expected INT8, got \"1\"; send numbers"},
      {Datatype::fp32, "{}", "an object is no element; send a list of FP32"},
      {Datatype::fp32, "NaN", "'NaN' is not JSON, which has no word for NaN and infinities; send the tensor in binary form"},
      {Datatype::fp32, "Infinity", "'Infinity' is not JSON, which has no word for NaN and infinities; send the tensor in binary form"},
      {Datatype::boolean, "2", "expected BOOL, got '2'; send true, false, 0 or 1"},
      {Datatype::boolean, "\"true\"", "expected BOOL, got \"true\"; send true, false, 0 or 1"},
      {Datatype::boolean, "truely", "expected BOOL, got 'truely'; send true, false, 0 or 1"},
      {Datatype::bytes, "1", "expected BYTES, got '1'; send strings"},
      {Datatype::bytes, "null", "expected BYTES, got 'null'; send strings"},
  };
  for (const auto& [type, text, error] : table)
    EXPECT_EQ(plain(list_of(type), std::string(R"({"x":[)") + text + "]}").error(), std::string("input 'x': ") + error) << text;
  for (const char* text : {"01", "1.", "-", "1e", "1e+", "-.5", "1.e5", "00", "-01", "0x10", "1a", "1\"a\"", "+1", ".5", "--1", "1_000"})
    for (const Datatype type : {Datatype::fp32, Datatype::fp64, Datatype::int32, Datatype::fp16, Datatype::boolean})
      EXPECT_FALSE(plain(list_of(type), std::string(R"({"x":[)") + text + "]}").request) << text << " as " << domain::name(type);
}

TEST(CodecElements, Strings) {
  const auto d = plain(list_of(Datatype::bytes), R"({"x":["", "plain", "tab\tquote\"", "\u00e9\ud83d\ude00", "nul\u0000in", "]"]})");
  ASSERT_TRUE(d.request) << d.error();
  EXPECT_EQ(d.strings(), (std::vector<std::string>{"", "plain", "tab\tquote\"", "\u00e9\U0001F600", std::string("nul\0in", 6), "]"}));
  EXPECT_EQ(d.shape(), (Shape{6}));
  for (const char* text : {R"(["\ud800"])", R"(["\udc00"])", R"(["\ud800\u0041"])", R"(["\x"])", R"(["\u12"])", R"(["a" "b"])"})
    EXPECT_FALSE(plain(list_of(Datatype::bytes), std::string(R"({"x":)") + text + "}").request) << text;
}

}  // namespace
}  // namespace mayfly::worker
