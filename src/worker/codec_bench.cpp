// How long the codec takes: a V2 request of 30 numbers and its two small outputs, and two million numbers against
// simdjson's own walk over the same bytes. Prints one line a case; CPU time, the best of several repetitions.
//
//   codec_bench
#include <simdjson.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <string>

#include "base/assert.h"
#include "base/random.h"
#include "os/ring.h"
#include "worker/codec.h"

namespace {
std::size_t allocations = 0;
}

// Counts what the measured code asks of the heap.
void* operator new(std::size_t size) {
  ++allocations;
  if (void* memory = std::aligned_alloc(16, (size + 15) / 16 * 16)) return memory;
  std::abort();
}
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }

namespace {

using namespace mayfly;
using domain::Datatype;
using domain::WireFormat;

// Of this process's CPU time: neighbours that take the CPU away do not count, those that slow it down do, hence the best.
double cpu_ns() {
  timespec now{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) * 1e9 + static_cast<double>(now.tv_nsec);
}

template <class Run>
double best_ns(int repetitions, int times, Run&& run) {
  double best = 1e18;
  for (int r = 0; r < repetitions; ++r) {
    const double begin = cpu_ns();
    for (int i = 0; i < times; ++i) run();
    best = std::min(best, (cpu_ns() - begin) / times);
  }
  return best;
}

// Floats as a client writes them: `digits` 9 as C++ and JavaScript do from a float, 17 as Python does from a float32.
std::string numbers(int count, int digits, Random& random) {
  std::string text;
  char number[40];
  for (int i = 0; i < count; ++i) {
    const auto value = static_cast<float>(random.between(-1000000, 1000000)) / 333333.0F;
    std::snprintf(number, sizeof number, "%s%.*g", i ? ", " : "", digits, static_cast<double>(value));
    text += number;
  }
  return text;
}

std::span<const std::byte> padded(std::string& text) {
  const std::size_t size = text.size();
  text.reserve(size + os::kPadding);
  return std::as_bytes(std::span(text.data(), size));
}

void small() {
  const domain::Signature signature{.inputs = {{"input", Datatype::fp32, {-1, 30}}},
                                    .outputs = {{"label", Datatype::int64, {-1}}, {"probabilities", Datatype::fp32, {-1, 2}}},
                                    .batches = true};
  Random random(1);
  const std::string data = numbers(30, 9, random);
  std::string v2 = R"({"inputs":[{"name":"input","shape":[1,30],"datatype":"FP32","data":[)" + data + "]}]}";
  std::string plain = R"({"input": [[)" + data + "]]}";
  std::string binary = R"({"inputs":[{"name":"input","shape":[1,30],"datatype":"FP32","parameters":{"binary_data_size":120}}]})";
  const std::size_t json_size = binary.size();
  binary.append(120, '\1');
  worker::Decoder decoder(signature);
  worker::DecodeMemory memory;
  worker::DecodedRequest request;
  const std::int64_t label = 1;
  const float probabilities[] = {0.0412987F, 0.95870125F};
  const worker::TensorView outputs[] = {{.shape = {1}, .data = std::as_bytes(std::span(&label, 1))},
                                        {.shape = {1, 2}, .data = std::as_bytes(std::span(probabilities))}};
  worker::Encoded encoded;
  const auto measure = [&](const char* what, WireFormat format, std::string& body, std::size_t json) {
    const auto bytes = padded(body);
    ASSERT(decoder.decode(format, bytes, json, memory, request), "the request is good");
    ASSERT(worker::encode(format, request, outputs, signature, {.model = "fraud", .version = "3"}, encoded), "the outputs are good");
    const std::size_t before = allocations;
    const double decode = best_ns(100, 1000, [&] { ASSERT(decoder.decode(format, bytes, json, memory, request), "the request is good"); });
    const double encode = best_ns(100, 1000, [&] {
      encoded.body.clear();
      ASSERT(worker::encode(format, request, outputs, signature, {.model = "fraud", .version = "3"}, encoded), "the outputs are good");
    });
    std::printf(
        "%-10s 30 numbers, %4zu bytes: decode %6.0f ns, encode two outputs (%zu bytes) %6.0f ns, %zu allocations in 100,000 of each\n",
        what, body.size(), decode, encoded.body.size(), encode, allocations - before);
  };
  measure("v2 json", WireFormat::v2_json, v2, v2.size());
  measure("plain", WireFormat::plain_json, plain, plain.size());
  measure("v2 binary", WireFormat::v2_binary, binary, json_size);
}

double simdjson_ns(simdjson::ondemand::parser& parser, std::span<const std::byte> bytes) {
  return best_ns(5, 1, [&] {
    auto document = parser.iterate(reinterpret_cast<const char*>(bytes.data()), bytes.size(), bytes.size() + os::kPadding);
    double sum = 0;
    std::size_t count = 0;
    for (auto input : document["inputs"].get_array())
      for (const double value : input["data"].get_array()) sum += value, ++count;
    ASSERT(count == 2000000 && sum < 1e18, "simdjson reads them all");
  });
}

void large(int digits) {
  Random random(2);
  std::string body =
      R"({"inputs":[{"name":"input","shape":[1,2000000],"datatype":"FP32","data":[)" + numbers(2000000, digits, random) + "]}]}";
  std::string nested =
      R"({"input":[[)" + body.substr(body.find("\"data\":[") + 8, body.rfind("]}]}") - body.find("\"data\":[") - 8) + "]]}";
  const auto bytes = padded(body);
  worker::Decoder decoder({.inputs = {{"input", Datatype::fp32, {-1, -1}}}, .outputs = {}, .batches = true});
  worker::DecodeMemory memory;
  worker::DecodedRequest request;
  simdjson::ondemand::parser parser;
  // Alternating, so that a neighbour's load meets both.
  double ours = 1e18, theirs = 1e18;
  for (int i = 0; i < 3; ++i) {
    theirs = std::min(theirs, simdjson_ns(parser, bytes));
    ours = std::min(ours, best_ns(5, 1, [&] {
                      ASSERT(decoder.decode(WireFormat::v2_json, bytes, bytes.size(), memory, request), "the request is good");
                    }));
  }
  const auto plain = padded(nested);
  const double as_plain =
      best_ns(5, 1, [&] { ASSERT(decoder.decode(WireFormat::plain_json, plain, plain.size(), memory, request), "the request is good"); });
  const auto megabytes = static_cast<double>(body.size()) / 1e6;
  std::printf(
      "v2 json    2,000,000 floats of %d digits (%.1f MB): decode %.1f ms (%.0f MB/s), simdjson ondemand %.1f ms; speed ratio %.2f; plain "
      "form %.1f ms\n",
      digits, megabytes, ours / 1e6, megabytes / ours * 1e9, theirs / 1e6, theirs / ours, as_plain / 1e6);
  const std::span<const float> values(reinterpret_cast<const float*>(request.inputs[0].data.data()), 2000000);
  const domain::Signature out{.inputs = {}, .outputs = {{"output", Datatype::fp32, {-1, -1}}}, .batches = true};
  const worker::TensorView output[] = {{.shape = {1, 2000000}, .data = std::as_bytes(values)}};
  request.outputs = {{.index = 0}};
  worker::Encoded encoded;
  const double encode = best_ns(3, 1, [&] {
    encoded.body.clear();
    ASSERT(worker::encode(WireFormat::v2_json, request, output, out, {.model = "m", .version = "1"}, encoded), "the outputs are good");
  });
  std::printf("v2 json    2,000,000 floats: encode %.1f ms, %.1f ns each\n", encode / 1e6, encode / 2e6);
}

}  // namespace

int main() {
  small();
  large(9);
  large(17);
}
