// The Open Inference Protocol's request, with and without tensors behind the JSON. Fields come in any order: an
// input's data is read on the spot where name, datatype and shape have come before, and otherwise when its object ends.
#include "worker/codec_check.h"
#include "worker/codec_decode.h"
#include "worker/codec_elements.h"

namespace mayfly::worker::codec {
namespace {

using domain::TensorSpec;

constexpr std::int64_t kClassesMax = 1 << 20;

class V2 {
 public:
  V2(Decoding& decoding, std::span<const std::byte> tensors) : d_(decoding), tensors_(tensors), whole_(tensors.size()) {}

  Result<void> run(std::span<const std::byte> json) {
    TRY_VOID(d_.tokens.index(json));
    TRY_VOID(d_.tokens.object(d_.text, "an object with \"inputs\"", [this](std::string_view key) { return field(key); }));
    if (!d_.tokens.at_end()) return fail(d_.tokens.not_json(d_.tokens.position(), "the end"));
    if (!tensors_.empty())
      return fail(Code::invalid_argument,
                  std::to_string(tensors_.size()) + " of the " + std::to_string(whole_) +
                      " bytes behind the JSON belong to no input; the sum of binary_data_size must be their number");
    if (d_.request.outputs.empty()) d_.all_outputs(binary_);
    else if (binary_) default_to_binary();
    return check_complete(d_.signature, d_.seen, d_.request);
  }

 private:
  struct Input {
    const TensorSpec* spec = nullptr;
    std::size_t index = 0;
    bool typed = false, shaped = false, read = false;
    std::optional<std::size_t> data;  // token
    std::optional<std::int64_t> binary_size;
  };

  Result<void> once(bool& seen, std::string_view key) {
    if (seen) return fail(Code::invalid_argument, "\"" + std::string(key) + "\" is there twice; send it once");
    seen = true;
    return {};
  }

  Result<void> field(std::string_view key) {
    if (key == "inputs") {
      TRY_VOID(once(inputs_seen_, key));
      return d_.tokens.list("a list of inputs", [this](std::size_t at) { return read_input(at); });
    }
    if (key == "outputs") {
      TRY_VOID(once(outputs_seen_, key));
      return d_.tokens.list("a list of outputs", [this](std::size_t at) { return read_output(at); });
    }
    if (key == "id") {
      TRY_VOID(once(id_seen_, key));
      TRY(d_.request.id, d_.tokens.take_string(d_.text, "the id"));
      return {};
    }
    if (key == "parameters") {
      TRY_VOID(once(parameters_seen_, key));
      return d_.tokens.object(d_.text, "an object of parameters", [this](std::string_view name) -> Result<void> {
        if (name != "binary_data_output") return d_.tokens.skip(1);
        TRY(binary_, d_.tokens.take_bool("parameter binary_data_output"));
        return {};
      });
    }
    return d_.tokens.skip(1);
  }

  Result<void> read_input(std::size_t at) {
    Input in;
    TRY_VOID(d_.tokens.object(d_.text, "an object with name, shape, datatype and data", [&](std::string_view key) -> Result<void> {
      if (key == "name") return read_name(in, at);
      if (key == "shape") return read_shape(in);
      if (key == "datatype") return read_datatype(in);
      if (key == "data") return meet_data(in);
      if (key != "parameters") return d_.tokens.skip(1);
      return d_.tokens.object(d_.text, "an object of parameters", [&](std::string_view name) -> Result<void> {
        if (name != "binary_data_size") return d_.tokens.skip(1);
        TRY(in.binary_size, d_.tokens.take_integer("parameter binary_data_size"));
        return {};
      });
    }));
    return finish(in, at);
  }

  Result<void> read_name(Input& in, std::size_t at) {
    if (in.spec) return fail(Code::invalid_argument, "input " + std::to_string(at) + " of the request has two names");
    TRY(const std::string_view name, d_.tokens.take_string(d_.text, "an input's name"));
    const auto index = find(d_.signature.inputs, name, at);
    if (!index) return fail(unknown("input", name, d_.signature.inputs));
    in.index = *index;
    in.spec = &d_.signature.inputs[*index];
    if (d_.seen[*index]) return fail(Code::invalid_argument, input(*in.spec) + " is there twice; send it once");
    d_.seen[*index] = 1;
    return {};
  }

  // Kept beside the request until the name is known.
  Result<void> read_shape(Input& in) {
    if (in.shaped) return fail(Code::invalid_argument, "an input has two shapes; send one");
    in.shaped = true;
    rank_ = 0;
    return d_.tokens.list("a list of sizes", [this](std::size_t at) -> Result<void> {
      if (at >= kNestingMax) return fail(Code::invalid_argument, "a shape has more than " + std::to_string(kNestingMax) + " dimensions");
      TRY(shape_[at], d_.tokens.take_integer("a shape's size"));
      if (shape_[at] < 0)
        return fail(Code::invalid_argument,
                    "a shape's size is " + std::to_string(shape_[at]) + "; a request states each size, -1 stands in models only");
      rank_ = at + 1;
      return {};
    });
  }

  Result<void> read_datatype(Input& in) {
    if (in.typed) return fail(Code::invalid_argument, "an input has two datatypes; send one");
    in.typed = true;
    TRY(datatype_, d_.tokens.take_string(d_.text, "a datatype"));
    return {};
  }

  Result<void> meet_data(Input& in) {
    if (in.data) return fail(Code::invalid_argument, "an input has data twice; send it once");
    in.data = d_.tokens.position();
    if (in.spec && in.typed && in.shaped) return read_data(in);
    return d_.tokens.skip_unread();
  }

  // Name, datatype and shape are known: do they fit the model?
  Result<void> check(const Input& in) {
    const TensorSpec& spec = *in.spec;
    if (datatype_ != domain::name(spec.datatype)) {
      const bool known = domain::datatype_named(datatype_).has_value();
      return fail(Code::invalid_argument, input(spec) + ": expected " + text(spec) + ", got datatype " +
                                              std::string(datatype_.substr(0, 20)) +
                                              (known ? "; convert it before sending" : ", which the protocol does not know"));
    }
    const std::span<const std::int64_t> shape(shape_.data(), rank_);
    TRY_VOID(check_shape(spec, shape, "a tensor"));
    d_.request.inputs[in.index].shape.assign(shape.begin(), shape.end());
    return {};
  }

  Result<void> read_data(Input& in) {
    TRY_VOID(check(in));
    const TensorSpec& spec = *in.spec;
    if (d_.tokens.peek() != '[')
      return fail(Code::invalid_argument, input(spec) + ": data must be a list, not " + d_.tokens.quoted(d_.tokens.position()));
    Elements elements;
    TRY_VOID(read_elements(d_.tokens, spec, d_.arena, d_.text, elements));
    const std::span<const std::int64_t> shape(shape_.data(), rank_);
    const auto count = count_of(shape);
    if (!count || *count != elements.count)
      return fail(Code::invalid_argument, input(spec) + ": shape " + text(shape) + " needs " +
                                              (count ? std::to_string(*count) : "too many") + " elements, data has " +
                                              std::to_string(elements.count));
    // Flat, or nested exactly as the shape says; an empty tensor may be written either way.
    if (elements.nesting.rank > 1 && elements.count > 0 && !std::ranges::equal(elements.nesting.shape(), shape))
      return fail(Code::invalid_argument, input(spec) + ": data is nested as " + text(elements.nesting.shape()) + ", the shape is " +
                                              text(shape) + "; nest it like the shape or send it flat");
    d_.request.inputs[in.index].data = elements.data;
    d_.request.inputs[in.index].strings = elements.strings;
    in.read = true;
    return {};
  }

  Result<void> finish(Input& in, std::size_t at) {
    if (!in.spec) return fail(Code::invalid_argument, "input " + std::to_string(at) + " of the request has no name; send \"name\"");
    const TensorSpec& spec = *in.spec;
    if (!in.typed)
      return fail(Code::invalid_argument,
                  input(spec) + " has no datatype; send \"datatype\": \"" + std::string(domain::name(spec.datatype)) + "\"");
    if (!in.shaped)
      return fail(Code::invalid_argument, input(spec) + " has no shape; send \"shape\", for the model it is " + text(spec.shape));
    if (in.data && in.binary_size)
      return fail(Code::invalid_argument, input(spec) + " has both data and binary_data_size; send one of them");
    if (in.binary_size) return read_binary(in);
    if (!in.data) return fail(Code::invalid_argument, input(spec) + " has neither data nor binary_data_size; send one of them");
    if (in.read) return {};
    const std::size_t behind = d_.tokens.position();
    d_.tokens.seek(*in.data);
    TRY_VOID(read_data(in));
    d_.tokens.seek(behind);
    return {};
  }

  Result<void> read_binary(const Input& in) {
    TRY_VOID(check(in));
    const std::int64_t size = *in.binary_size;
    if (size < 0 || static_cast<std::uint64_t>(size) > tensors_.size())
      return fail(Code::invalid_argument, input(*in.spec) + ": binary_data_size is " + std::to_string(size) + ", but of the " +
                                              std::to_string(whole_) + " bytes behind the JSON " + std::to_string(tensors_.size()) +
                                              " are left; does Inference-Header-Content-Length say where the JSON ends?");
    TRY_VOID(take_binary(*in.spec, tensors_.first(static_cast<std::size_t>(size)), d_.arena, d_.request.inputs[in.index]));
    tensors_ = tensors_.subspan(static_cast<std::size_t>(size));
    return {};
  }

  Result<void> read_output(std::size_t at) {
    const auto& outputs = d_.signature.outputs;
    std::optional<std::size_t> index;
    WantedOutput wanted;
    bool binary_said = false;
    TRY_VOID(d_.tokens.object(d_.text, "an object with an output's name", [&](std::string_view key) -> Result<void> {
      if (key == "name") {
        TRY(const std::string_view name, d_.tokens.take_string(d_.text, "an output's name"));
        index = find(outputs, name, at);
        return index ? Result<void>() : fail(unknown("output", name, outputs));
      }
      if (key != "parameters") return d_.tokens.skip(1);
      return d_.tokens.object(d_.text, "an object of parameters", [&](std::string_view name) -> Result<void> {
        if (name == "binary_data") {
          TRY(wanted.binary, d_.tokens.take_bool("parameter binary_data"));
          binary_said = true;
          return {};
        }
        if (name != "classification") return d_.tokens.skip(1);
        TRY(const std::int64_t classes, d_.tokens.take_integer("parameter classification"));
        if (classes < 0 || classes > kClassesMax)
          return fail(Code::invalid_argument, "parameter classification is " + std::to_string(classes) +
                                                  "; send a number of classes from 1 to " + std::to_string(kClassesMax) +
                                                  ", or 0 for none");
        wanted.classification = static_cast<int>(classes);
        return {};
      });
    }));
    if (!index) return fail(Code::invalid_argument, "output " + std::to_string(at) + " of the request has no name; send \"name\"");
    for (const WantedOutput& other : d_.request.outputs)
      if (other.index == *index) return fail(Code::invalid_argument, "output '" + outputs[*index].name + "' is asked for twice; ask once");
    if (wanted.classification > 0 && outputs[*index].datatype == domain::Datatype::bytes)
      return fail(Code::invalid_argument,
                  "output '" + outputs[*index].name + "' is BYTES, which classification cannot rank; ask for it without");
    wanted.index = *index;
    d_.request.outputs.push_back(wanted);
    // What was not said follows binary_data_output, which may come later. Signed off by output number.
    if (!binary_said && at < kSilentMax) silent_ |= std::uint64_t{1} << at;
    return {};
  }

  void default_to_binary() {
    for (std::size_t i = 0; i < d_.request.outputs.size() && i < kSilentMax; ++i)
      if (silent_ >> i & 1) d_.request.outputs[i].binary = true;
  }

  static constexpr std::size_t kSilentMax = 64;

  Decoding& d_;
  std::span<const std::byte> tensors_;  // not yet taken
  std::size_t whole_;
  std::array<std::int64_t, kNestingMax> shape_{};
  std::size_t rank_ = 0;
  std::string_view datatype_;
  std::uint64_t silent_ = 0;
  bool binary_ = false;
  bool inputs_seen_ = false, outputs_seen_ = false, id_seen_ = false, parameters_seen_ = false;
};

}  // namespace

Result<void> decode_v2(Decoding& d, std::span<const std::byte> json, std::span<const std::byte> tensors) {
  return V2(d, tensors).run(json);
}

}  // namespace mayfly::worker::codec
