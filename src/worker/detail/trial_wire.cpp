#include "worker/detail/trial_wire.h"

#include <bit>
#include <cstring>

#include "worker/trial.h"

namespace mayfly::worker::wire {
namespace {

void add(std::string& to, std::uint64_t number) { to.append(reinterpret_cast<const char*>(&number), sizeof number); }
void add(std::string& to, std::string_view text) {
  add(to, static_cast<std::uint64_t>(text.size()));
  to.append(text);
}
void add(std::string& to, const std::vector<std::int64_t>& shape) {
  add(to, static_cast<std::uint64_t>(shape.size()));
  for (const std::int64_t d : shape) add(to, static_cast<std::uint64_t>(d));
}
void add(std::string& to, const Latency& latency) {
  add(to, static_cast<std::uint64_t>(latency.rows));
  add(to, latency.runs);
  add(to, static_cast<std::uint64_t>(latency.p50.count()));
  add(to, static_cast<std::uint64_t>(latency.p99.count()));
  add(to, std::bit_cast<std::uint64_t>(latency.per_second));
}

std::vector<std::int64_t> shape_of(Reader& reader) {
  std::vector<std::int64_t> shape(reader.count(8));
  for (std::int64_t& d : shape) d = static_cast<std::int64_t>(reader.number());
  return shape;
}

Latency latency_of(Reader& reader) {
  Latency latency;
  latency.rows = static_cast<std::int64_t>(reader.number());
  latency.runs = reader.number();
  latency.p50 = reader.duration();
  latency.p99 = reader.duration();
  latency.per_second = reader.real();
  return latency;
}

gate::Array array_of(Reader& reader) {
  gate::Array array{.datatype = static_cast<domain::Datatype>(reader.number() & 0xff), .shape = shape_of(reader)};
  const std::string_view data = reader.text();
  array.data.resize(data.size());
  if (!data.empty()) std::memcpy(array.data.data(), data.data(), data.size());
  for (std::uint64_t left = reader.count(8); left > 0; --left) array.strings.emplace_back(reader.text());
  return array;
}

}  // namespace

std::string packed(std::uint64_t number) {
  std::string bytes;
  add(bytes, number);
  return bytes;
}
std::string packed(Duration duration) { return packed(static_cast<std::uint64_t>(duration.count())); }

std::string packed(const Trial& trial) {
  std::string bytes;
  add(bytes, trial.one);
  add(bytes, trial.best);
  add(bytes, trial.memory);
  add(bytes, static_cast<std::uint64_t>(trial.outputs.specs.size()));
  for (const auto& spec : trial.outputs.specs) {
    add(bytes, std::string_view(spec.name));
    add(bytes, static_cast<std::uint64_t>(spec.datatype));
    add(bytes, spec.shape);
  }
  add(bytes, static_cast<std::uint64_t>(trial.outputs.samples.size()));
  for (const auto& sample : trial.outputs.samples)
    for (const gate::Array& array : sample) {
      add(bytes, static_cast<std::uint64_t>(array.datatype));
      add(bytes, array.shape);
      add(bytes, {reinterpret_cast<const char*>(array.data.data()), array.data.size()});
      add(bytes, static_cast<std::uint64_t>(array.strings.size()));
      for (const std::string& text : array.strings) add(bytes, std::string_view(text));
    }
  return bytes;
}

std::string_view Reader::take(std::uint64_t size) {
  if (size > bytes_.size()) {
    good_ = false;
    bytes_ = {};
    return {};
  }
  const std::string_view taken = bytes_.substr(0, size);
  bytes_.remove_prefix(size);
  return taken;
}

std::uint64_t Reader::number() {
  std::uint64_t value = 0;
  if (const auto bytes = take(sizeof value); !bytes.empty()) std::memcpy(&value, bytes.data(), sizeof value);
  return value;
}
double Reader::real() { return std::bit_cast<double>(number()); }
std::string_view Reader::text() { return take(number()); }

std::uint64_t Reader::count(std::uint64_t bytes_each) {
  const std::uint64_t count = number();
  if (count <= bytes_.size() / bytes_each) return count;
  good_ = false;
  return 0;
}

Result<Trial> trial_of(std::string_view bytes) {
  Reader reader(bytes);
  Trial trial;
  trial.one = latency_of(reader);
  trial.best = latency_of(reader);
  trial.memory = reader.number();
  for (std::uint64_t left = reader.count(24); left > 0; --left) {
    domain::TensorSpec spec{.name = std::string(reader.text())};
    spec.datatype = static_cast<domain::Datatype>(reader.number() & 0xff);
    spec.shape = shape_of(reader);
    trial.outputs.specs.push_back(std::move(spec));
  }
  for (std::uint64_t left = reader.count(8); left > 0 && reader.good(); --left) {
    auto& sample = trial.outputs.samples.emplace_back();
    for (std::size_t i = 0; i < trial.outputs.specs.size(); ++i) sample.push_back(array_of(reader));
  }
  if (!reader.good()) return fail(Code::internal, "a process that measured the model sent a result that is cut short");
  return trial;
}

}  // namespace mayfly::worker::wire
