#include "worker/recorded.h"

#include <algorithm>
#include <cstring>
#include <map>

#include "base/units.h"
#include "domain/recording.h"
#include "gate/sizes.h"
#include "os/ring.h"
#include "worker/codec.h"
#include "worker/detail/trial_wire.h"
#include "worker/seccomp.h"

namespace mayfly::worker {
namespace {

constexpr std::uint64_t kSamplesMax = 1ULL << 30;

// A call's inputs, one array each, and what makes them fit together: their sizes beyond the first.
struct Decoded {
  std::vector<gate::Array> inputs;
  std::vector<std::int64_t> sizes;
};

Result<Decoded> decode(Decoder& decoder, const domain::RecordedCall& call, const domain::Signature& signature) {
  std::vector<std::byte> body(call.body.size() + os::kPadding);
  std::memcpy(body.data(), call.body.data(), call.body.size());
  DecodeMemory memory;
  TRY(const DecodedRequest request, decoder.decode(call.format, std::span(body).first(call.body.size()), call.json_size, memory));
  Decoded decoded;
  for (std::size_t i = 0; i < signature.inputs.size(); ++i) {
    const TensorView& view = request.inputs[i];
    if (view.shape.empty()) return fail(Code::invalid_argument, "'" + signature.inputs[i].name + "' has no dimension for samples");
    gate::Array array{.name = signature.inputs[i].name, .datatype = signature.inputs[i].datatype, .shape = view.shape,
                      .data = {view.data.begin(), view.data.end()}};
    for (const std::string_view text : view.strings) array.strings.emplace_back(text);
    decoded.sizes.insert(decoded.sizes.end(), view.shape.begin() + 1, view.shape.end());
    decoded.sizes.push_back(-1);  // the next input begins
    if (view.shape[0] != decoded.inputs.emplace_back(std::move(array)).shape[0] || view.shape[0] != decoded.inputs[0].shape[0])
      return fail(Code::invalid_argument, "its inputs have different numbers of rows");
  }
  return decoded;
}

void append(gate::Array& to, gate::Array&& from) {
  to.shape[0] += from.shape[0];
  to.data.insert(to.data.end(), from.data.begin(), from.data.end());
  std::ranges::move(from.strings, std::back_inserter(to.strings));
}

using Inputs = std::vector<gate::Array>;

std::string packed(const RecordedSamples& made, const std::vector<Inputs>& sizes) {
  std::string bytes = wire::packed(made.calls) + wire::packed(made.refused) + wire::packed(made.other_shapes);
  const auto text = [&](std::string_view of) { bytes += wire::packed(std::uint64_t{of.size()}) + std::string(of); };
  text(made.why);
  bytes += wire::packed(std::uint64_t{sizes.size()});
  for (const Inputs& inputs : sizes)
    for (const gate::Array& input : inputs) {
      bytes += wire::packed(std::uint64_t{input.shape.size()});
      for (const std::int64_t size : input.shape) bytes += wire::packed(static_cast<std::uint64_t>(size));
      text({reinterpret_cast<const char*>(input.data.data()), input.data.size()});
      bytes += wire::packed(std::uint64_t{input.strings.size()});
      for (const std::string& element : input.strings) text(element);
    }
  return bytes;
}

// Calls of one size together, those of which there are most first; of sizes beyond what a set may have they are left out.
std::vector<Inputs> by_size(std::vector<Decoded> all, std::size_t sizes_max, RecordedSamples& made) {
  std::map<std::vector<std::int64_t>, std::uint64_t> counts;
  for (const Decoded& decoded : all) ++counts[decoded.sizes];
  std::vector<std::pair<std::vector<std::int64_t>, std::uint64_t>> order(counts.begin(), counts.end());
  std::ranges::stable_sort(order, std::ranges::greater(), [](const auto& count) { return count.second; });
  if (order.size() > sizes_max) order.resize(sizes_max);
  std::map<std::vector<std::int64_t>, std::size_t> place;
  for (std::size_t i = 0; i < order.size(); ++i) place[order[i].first] = i;
  std::vector<Inputs> sizes(order.size());
  for (Decoded& decoded : all) {
    const auto found = place.find(decoded.sizes);
    if (found == place.end()) {
      ++made.other_shapes;
      continue;
    }
    ++made.calls;
    Inputs& inputs = sizes[found->second];
    if (inputs.empty()) inputs = std::move(decoded.inputs);
    else
      for (std::size_t i = 0; i < inputs.size(); ++i) append(inputs[i], std::move(decoded.inputs[i]));
  }
  return sizes;
}

Result<std::string> work(std::string_view bytes, const domain::Signature& signature) {
  TRY_VOID(apply_decoder_filter());
  TRY(auto calls, domain::read_calls(bytes));
  std::ranges::sort(calls, {}, &domain::RecordedCall::seen);  // in the order in which they came
  Decoder decoder(signature);
  RecordedSamples made;
  std::vector<Decoded> all;
  std::uint64_t held = 0;
  for (const domain::RecordedCall& call : calls) {
    auto decoded = decode(decoder, call, signature);
    if (!decoded) {
      if (made.refused++ == 0) made.why = decoded.error().message.substr(0, 500);
      continue;
    }
    for (const gate::Array& input : decoded->inputs) held += input.data.size() + input.strings.size() * sizeof(std::string);
    if (held > kSamplesMax)
      return fail(Code::exhausted, "the recorded calls take more than " + to_text(Bytes{kSamplesMax}) + " as tensors");
    all.push_back(std::move(*decoded));
  }
  const std::vector<Inputs> sizes = by_size(std::move(all), gate::sizes_max(signature), made);
  return packed(made, sizes);
}

Result<Inputs> read_inputs(wire::Reader& reader, const domain::Signature& signature) {
  Inputs inputs;
  for (const domain::TensorSpec& spec : signature.inputs) {
    gate::Array input{.name = spec.name, .datatype = spec.datatype};
    for (std::uint64_t left = reader.count(8); left > 0; --left) input.shape.push_back(static_cast<std::int64_t>(reader.number()));
    const std::string_view data = reader.text();
    input.data.resize(data.size());
    if (!data.empty()) std::memcpy(input.data.data(), data.data(), data.size());
    for (std::uint64_t left = reader.count(8); left > 0 && reader.good(); --left) input.strings.emplace_back(reader.text());
    const std::uint64_t count = gate::count_of(input.shape), size = domain::element_size(spec.datatype);
    const bool whole = size == 0 ? input.strings.size() == count : input.data.size() / size == count && input.data.size() % size == 0;
    if (!reader.good() || input.shape.empty() || !whole)
      return fail(Code::internal, "a process that decoded recorded calls sent no result");
    inputs.push_back(std::move(input));
  }
  return inputs;
}

}  // namespace

Result<RecordedSamples> samples_of_calls(std::string_view bytes, const domain::Signature& signature, const ChildLimits& limits) {
  TRY(const std::string result, in_a_process([&] { return work(bytes, signature); }, limits));
  wire::Reader reader(result);
  RecordedSamples made{.calls = reader.number(), .refused = reader.number(), .other_shapes = reader.number()};
  made.why = std::string(reader.text());
  if (!reader.good()) return fail(Code::internal, "a process that decoded recorded calls sent no result");
  if (made.calls == 0)
    return fail(Code::not_found, made.refused == 0
                                     ? "no call is recorded yet: it takes some"
                                     : "of " + std::to_string(made.refused) + " recorded calls the model takes none: " + made.why);
  const std::int64_t rows = signature.inputs[0].shape.empty() ? 1 : std::max<std::int64_t>(1, signature.inputs[0].shape[0]);
  std::vector<gate::Samples> sets;
  for (std::uint64_t left = reader.count(8); left > 0; --left) {
    TRY(auto inputs, read_inputs(reader, signature));
    gate::Samples set{.inputs = std::move(inputs), .rows = rows};
    set.count = static_cast<std::uint64_t>(set.inputs[0].shape[0] / rows);
    sets.push_back(std::move(set));
  }
  if (sets.empty()) return fail(Code::internal, "a process that decoded recorded calls sent no result");
  made.samples = gate::joined(std::move(sets));
  return made;
}

}  // namespace mayfly::worker
