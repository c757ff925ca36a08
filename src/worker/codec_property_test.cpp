// Random signatures and tensors, written in every form and read back: what comes out is what went in, bit by bit.
// The requests are written by a second, simple writer, so that a mistake common to encode() and decode() shows.
#include <gtest/gtest.h>

#include <cmath>
#include <cstdio>

#include "base/random.h"
#include "worker/codec_test_support.h"

namespace mayfly::worker {
namespace {

using domain::Datatype;
using domain::Signature;
using domain::TensorSpec;
using domain::WireFormat;

constexpr int kDatatypes = 14;

struct Tensor {
  std::vector<std::int64_t> shape;
  std::vector<std::byte> data;
  std::vector<std::string> strings;
  std::vector<std::string_view> views;

  std::size_t count() const {
    std::size_t n = 1;
    for (const auto d : shape) n *= static_cast<std::size_t>(d);
    return n;
  }
  TensorView view() const { return {.shape = shape, .data = data, .strings = views}; }
};

bool finite(Datatype type, const std::byte* at) {
  const auto exponent_full = [&]<class Bits>(Bits mask) {
    Bits v;
    std::memcpy(&v, at, sizeof v);
    return (v & mask) == mask;
  };
  switch (type) {
    case Datatype::fp16: return !exponent_full(std::uint16_t{0x7C00});
    case Datatype::bf16: return !exponent_full(std::uint16_t{0x7F80});
    case Datatype::fp32: return !exponent_full(std::uint32_t{0x7F800000});
    case Datatype::fp64: return !exponent_full(std::uint64_t{0x7FF0000000000000});
    default: return true;
  }
}

std::string random_text(Random& random) {
  static constexpr const char* kPieces[] = {"a", "\"", "\\", "\n", "\x01", "é", "😀", "/", "]", "", "zz", "\x7f"};
  std::string text;
  for (int i = random.between(0, 6); i > 0; --i) text += kPieces[random.between(0, 11)];
  if (random.chance(0.1)) text += '\0';
  return text;
}

// Bits at random: subnormal and huge floats as often as others.
Tensor random_tensor(const TensorSpec& spec, std::int64_t rows, Random& random) {
  Tensor t;
  t.shape = spec.shape;
  for (std::size_t i = 0; i < t.shape.size(); ++i)
    if (t.shape[i] == -1) t.shape[i] = i == 0 && rows > 0 ? rows : random.between(1, 4);
  if (spec.datatype == Datatype::bytes) {
    for (std::size_t i = 0; i < t.count(); ++i) t.strings.push_back(random_text(random));
    t.views.assign(t.strings.begin(), t.strings.end());
    return t;
  }
  const std::size_t size = domain::element_size(spec.datatype);
  t.data.resize(t.count() * size);
  for (std::size_t i = 0; i < t.count(); ++i) {
    std::byte* at = t.data.data() + i * size;
    do {
      const std::uint64_t bits = random.next() & random.next() >> random.between(0, 40);
      std::memcpy(at, &bits, size);
      if (spec.datatype == Datatype::boolean) at[0] &= std::byte{1};
    } while (!finite(spec.datatype, at));
  }
  return t;
}

template <class T>
T at(const Tensor& t, std::size_t i) {
  T v;
  std::memcpy(&v, t.data.data() + i * sizeof v, sizeof v);
  return v;
}

double of_half(std::uint16_t h) {
  const int exponent = h >> 10 & 31, fraction = h & 1023;
  const double size = exponent == 0 ? std::ldexp(fraction, -24) : std::ldexp(1024 + fraction, exponent - 25);
  return h & 0x8000 ? -size : size;
}

std::string escaped(const std::string& text, Random& random) {
  std::string out = "\"";
  char code[8];
  for (const char c : text) {
    if (static_cast<unsigned char>(c) < 0x20 || c == '"' || c == '\\' || (static_cast<unsigned char>(c) < 0x80 && random.chance(0.2))) {
      std::snprintf(code, sizeof code, "\\u%04X", static_cast<unsigned>(c));
      out += code;
    } else {
      out += c;
    }
  }
  return out + '"';
}

std::string element(const Tensor& t, Datatype type, std::size_t i, Random& random) {
  char text[64];
  const auto real = [&](double v, int least) {
    std::snprintf(text, sizeof text, "%.*g", random.chance(0.5) ? least : 17, v);
    return std::string(text);
  };
  switch (type) {
    case Datatype::boolean: return at<std::uint8_t>(t, i) ? random.chance(0.5) ? "true" : "1" : random.chance(0.5) ? "false" : "0";
    case Datatype::uint8: return std::to_string(at<std::uint8_t>(t, i));
    case Datatype::uint16: return std::to_string(at<std::uint16_t>(t, i));
    case Datatype::uint32: return std::to_string(at<std::uint32_t>(t, i));
    case Datatype::uint64: return std::to_string(at<std::uint64_t>(t, i));
    case Datatype::int8: return std::to_string(at<std::int8_t>(t, i));
    case Datatype::int16: return std::to_string(at<std::int16_t>(t, i));
    case Datatype::int32: return std::to_string(at<std::int32_t>(t, i));
    case Datatype::int64: return std::to_string(at<std::int64_t>(t, i));
    case Datatype::fp16: return real(of_half(at<std::uint16_t>(t, i)), 9);
    case Datatype::bf16:
      return real(static_cast<double>(std::bit_cast<float>(static_cast<std::uint32_t>(at<std::uint16_t>(t, i)) << 16)), 9);
    case Datatype::fp32: return real(static_cast<double>(at<float>(t, i)), 9);
    case Datatype::fp64: return real(at<double>(t, i), 17);
    case Datatype::bytes: return escaped(t.strings[i], random);
  }
  return "";
}

std::string blank(Random& random) { return random.chance(0.2) ? random.chance(0.5) ? " " : "\n\t" : ""; }

std::string nested(const Tensor& t, Datatype type, std::size_t depth, std::size_t& next, Random& random) {
  if (depth == t.shape.size()) return element(t, type, next++, random);
  std::string out = "[" + blank(random);
  for (std::int64_t i = 0; i < t.shape[depth]; ++i)
    out += (i ? "," : "") + blank(random) + nested(t, type, depth + 1, next, random) + blank(random);
  return out + "]";
}

std::string shape_text(const Tensor& t) {
  std::string out = "[";
  for (std::size_t i = 0; i < t.shape.size(); ++i) out += (i ? "," : "") + std::to_string(t.shape[i]);
  return out + "]";
}

std::string bytes_of(const Tensor& t, Datatype type) {
  if (type != Datatype::bytes) return {reinterpret_cast<const char*>(t.data.data()), t.data.size()};
  std::string out;
  for (const std::string& s : t.strings) {
    const auto size = static_cast<std::uint32_t>(s.size());
    out += std::string(reinterpret_cast<const char*>(&size), sizeof size) + s;
  }
  return out;
}

Signature random_signature(Random& random) {
  Signature signature{.inputs = {}, .outputs = {}, .batches = random.chance(0.5)};
  for (int i = random.between(1, 4); i > 0; --i) {
    TensorSpec spec{.name = "in" + std::to_string(i) + (random.chance(0.1) ? "\"é" : ""),
                    .datatype = static_cast<Datatype>(random.between(0, kDatatypes - 1)),
                    .shape = {}};
    if (signature.batches) spec.shape.push_back(-1);
    for (int rank = random.between(signature.batches ? 0 : 1, 4); rank > 0; --rank)
      spec.shape.push_back(random.chance(0.3) ? -1 : random.between(1, 5));
    signature.inputs.push_back(spec);
  }
  signature.outputs = signature.inputs;
  return signature;
}

struct Body {
  std::string text;
  std::size_t json_size = 0;
};

Body write_request(WireFormat format, const Signature& signature, const std::vector<Tensor>& tensors, Random& random) {
  Body body;
  std::string json = "{" + blank(random), tail;
  if (format != WireFormat::plain_json) json += "\"id\":\"7\",\"inputs\":[";
  std::vector<std::size_t> order(tensors.size());
  for (std::size_t i = 0; i < order.size(); ++i) order[i] = i;
  for (std::size_t i = order.size(); i > 1; --i)
    std::swap(order[i - 1], order[static_cast<std::size_t>(random.between(0, static_cast<int>(i) - 1))]);
  for (std::size_t n = 0; n < order.size(); ++n) {
    const TensorSpec& spec = signature.inputs[order[n]];
    const Tensor& t = tensors[order[n]];
    std::size_t next = 0;
    if (n > 0) json += ",";
    if (format == WireFormat::plain_json) {
      json += escaped(spec.name, random) + blank(random) + ":" + nested(t, spec.datatype, 0, next, random);
      continue;
    }
    std::vector<std::string> fields{"\"name\":" + escaped(spec.name, random), "\"shape\":" + shape_text(t),
                                    "\"datatype\":\"" + std::string(domain::name(spec.datatype)) + "\""};
    if (format == WireFormat::v2_binary && random.chance(0.8)) {
      const std::string bytes = bytes_of(t, spec.datatype);
      fields.push_back("\"parameters\":{\"binary_data_size\":" + std::to_string(bytes.size()) + "}");
      tail += bytes;
    } else if (random.chance(0.5)) {
      Tensor flat = t;
      flat.shape = {static_cast<std::int64_t>(t.count())};
      fields.push_back("\"data\":" + nested(flat, spec.datatype, 0, next, random));
    } else {
      fields.push_back("\"data\":" + nested(t, spec.datatype, 0, next, random));
    }
    if (random.chance(0.5))
      std::swap(fields[static_cast<std::size_t>(random.between(0, 3))], fields[static_cast<std::size_t>(random.between(0, 3))]);
    json += "{";
    for (std::size_t i = 0; i < fields.size(); ++i) json += (i ? "," : "") + fields[i];
    json += "}";
  }
  if (format != WireFormat::plain_json) json += "]";
  body.text = json + "}";
  body.json_size = body.text.size();
  body.text += tail;
  return body;
}

void expect_same(const Tensor& expected, const TensorView& got, const TensorSpec& spec, const std::string& body) {
  ASSERT_EQ(got.shape, expected.shape) << body;
  if (spec.datatype == Datatype::bytes) {
    ASSERT_TRUE(std::ranges::equal(got.strings, expected.views)) << body;
  } else {
    ASSERT_EQ(got.data.size(), expected.data.size()) << body;
    ASSERT_EQ(reinterpret_cast<std::uintptr_t>(got.data.data()) % domain::element_size(spec.datatype), 0u);
    ASSERT_EQ(std::memcmp(got.data.data(), expected.data.data(), expected.data.size()), 0) << domain::name(spec.datatype) << ": " << body;
  }
}

TEST(CodecProperty, WhatIsSentArrivesInEveryForm) {
  Random random(1);
  for (int round = 0; round < 400; ++round) {
    const Signature signature = random_signature(random);
    const std::int64_t rows = signature.batches ? random.between(1, 4) : 0;
    std::vector<Tensor> tensors;
    for (const TensorSpec& spec : signature.inputs) tensors.push_back(random_tensor(spec, rows, random));
    Decoder decoder(signature);
    DecodeMemory memory;
    DecodedRequest request;
    for (const WireFormat format : {WireFormat::plain_json, WireFormat::v2_json, WireFormat::v2_binary}) {
      const Body body = write_request(format, signature, tensors, random);
      const PaddedBody padded(body.text);
      const auto done = decoder.decode(format, padded.bytes(), body.json_size, memory, request);
      ASSERT_TRUE(done) << "round " << round << ": " << done.error().message << "\n" << body.text;
      EXPECT_EQ(request.rows, signature.batches ? rows : 1);
      for (std::size_t i = 0; i < tensors.size(); ++i) expect_same(tensors[i], request.inputs[i], signature.inputs[i], body.text);
    }
  }
}

// A reply's outputs are named like the inputs, so that a plain reply is a plain request.
TEST(CodecProperty, WhatIsEncodedDecodesToTheSame) {
  Random random(2);
  Encoded encoded;
  for (int round = 0; round < 400; ++round) {
    const Signature signature = random_signature(random);
    std::vector<Tensor> tensors;
    std::vector<TensorView> views;
    DecodedRequest all;
    for (const TensorSpec& spec : signature.inputs) tensors.push_back(random_tensor(spec, signature.batches ? 2 : 0, random));
    for (const Tensor& t : tensors) all.outputs.push_back({.index = views.size()}), views.push_back(t.view());
    Decoder decoder(signature);
    DecodeMemory memory;
    DecodedRequest request;
    for (const bool binary : {false, true}) {
      for (WantedOutput& wanted : all.outputs) wanted.binary = binary;
      for (const WireFormat format : {WireFormat::plain_json, WireFormat::v2_json}) {
        if (binary && format == WireFormat::plain_json) continue;
        encoded.body.clear();
        ASSERT_TRUE(encode(format, all, views, signature, {.model = "m", .version = "1"}, encoded));
        std::string text = encoded.body;
        // A V2 reply is a request but for the word; a name in the reply cannot hold it.
        if (const auto word = text.find("\"outputs\":["); format != WireFormat::plain_json) text.replace(word, 10, "\"inputs\": ");
        const PaddedBody padded(text);
        const auto done = decoder.decode(binary ? WireFormat::v2_binary : format, padded.bytes(), binary ? encoded.json_size : text.size(),
                                         memory, request);
        ASSERT_TRUE(done) << done.error().message << "\n" << text;
        for (std::size_t i = 0; i < tensors.size(); ++i) expect_same(tensors[i], request.inputs[i], signature.inputs[i], text);
      }
    }
  }
}

// Digits around the half-way points, where one rounding too many shows.
TEST(CodecProperty, FloatsAreTheNearestOfTheirOwnType) {
  Random random(3);
  const Signature signature{.inputs = {{"x", Datatype::fp32, {-1}}}, .outputs = {}, .batches = false};
  const Signature wide{.inputs = {{"x", Datatype::fp64, {-1}}}, .outputs = {}, .batches = false};
  std::string body = "[";
  std::vector<float> expected;
  std::vector<double> expected_wide;
  for (int i = 0; i < 40000; ++i) {
    const auto bits = static_cast<std::uint32_t>(random.next()) & 0x7FFFFFFF;
    const float low = std::bit_cast<float>(bits), high = std::bit_cast<float>(bits + 1);
    if (!std::isfinite(low) || !std::isfinite(high)) continue;
    const double middle = (static_cast<double>(low) + static_cast<double>(high)) / 2;
    char text[400];
    switch (random.between(0, 3)) {
      case 0: std::snprintf(text, sizeof text, "%.*g", random.between(1, 25), middle); break;
      case 1: std::snprintf(text, sizeof text, "%.*e", random.between(1, 60), middle); break;
      case 2:
        std::snprintf(text, sizeof text, "%.60e", middle);
        text[std::strlen(text) - 5] = '1';
        break;
      default: std::snprintf(text, sizeof text, "%.*g", random.between(7, 20), static_cast<double>(low));
    }
    if (!std::isfinite(std::strtof(text, nullptr))) continue;
    body += (expected.empty() ? "" : ",") + std::string(text);
    expected.push_back(std::strtof(text, nullptr));
    expected_wide.push_back(std::strtod(text, nullptr));
  }
  body += "]";
  const auto narrow = decode_text(signature, WireFormat::plain_json, body), doubles = decode_text(wide, WireFormat::plain_json, body);
  ASSERT_TRUE(narrow.request) << narrow.error();
  ASSERT_TRUE(doubles.request) << doubles.error();
  ASSERT_GT(expected.size(), 30000u);
  const auto floats = narrow.values<float>();
  const auto wides = doubles.values<double>();
  for (std::size_t i = 0; i < expected.size(); ++i) {
    ASSERT_EQ(std::bit_cast<std::uint32_t>(floats.at(i)), std::bit_cast<std::uint32_t>(expected[i]));
    ASSERT_EQ(std::bit_cast<std::uint64_t>(wides.at(i)), std::bit_cast<std::uint64_t>(expected_wide[i]));
  }
}

}  // namespace
}  // namespace mayfly::worker
