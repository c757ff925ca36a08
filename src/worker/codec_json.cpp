#include "worker/codec_json.h"

#include <cmath>
#include <cstring>
#include <limits>
#include <type_traits>

#include "worker/detail/half.h"

namespace mayfly::worker {
namespace {

using domain::Datatype;
namespace json = simdjson::ondemand;

struct Half {};
struct Brain {};

// Room for numbers that grows by doubling and is cut at the end: an append is a store.
template <class T>
class Appender {
 public:
  Appender(std::vector<std::byte>& bytes, std::size_t reserve) : bytes_(bytes) { bytes_.resize(std::max<std::size_t>(reserve, 16) * sizeof(T)); }
  ~Appender() { bytes_.resize(size_ * sizeof(T)); }
  Appender(const Appender&) = delete;
  void add(T value) {
    if ((size_ + 1) * sizeof(T) > bytes_.size()) bytes_.resize(bytes_.size() * 2);
    std::memcpy(bytes_.data() + size_++ * sizeof(T), &value, sizeof(T));
  }

 private:
  std::vector<std::byte>& bytes_;
  std::size_t size_ = 0;
};

std::string_view token_of(json::value& value) {
  const std::string_view raw = value.raw_json_token();
  return raw.substr(0, std::min<std::size_t>(raw.find_last_not_of(" \t\r\n") + 1, 40));
}

Error wrong(const ListReader& to, json::value& value, const std::string& wanted) {
  return {Code::invalid_argument, to.what + ": " + std::string(token_of(value)) + " is not " + wanted + " (" + std::string(domain::name(to.datatype)) + ")"};
}

template <class T>
Result<T> integer(const ListReader& to, json::value& value) {
  if constexpr (std::is_unsigned_v<T>) {
    std::uint64_t number = 0;
    if (!value.get_uint64().get(number) && number <= std::numeric_limits<T>::max()) return static_cast<T>(number);
  } else {
    std::int64_t number = 0;
    if (!value.get_int64().get(number) && number >= std::numeric_limits<T>::min() && number <= std::numeric_limits<T>::max()) return static_cast<T>(number);
  }
  double number = 0;  // 3.0 is three
  if (!value.get_double().get(number) && number == std::trunc(number) && std::abs(number) < 9.0e15 &&
      number >= static_cast<double>(std::numeric_limits<T>::min()) && number <= static_cast<double>(std::numeric_limits<T>::max()))
    return static_cast<T>(number);
  return fail(wrong(to, value, "a whole number in range"));
}

template <class T>
Result<T> element(const ListReader& to, json::value& value) {
  if constexpr (std::is_same_v<T, bool>) {
    bool flag = false;
    if (!value.get_bool().get(flag)) return flag;
    std::uint64_t number = 0;
    if (!value.get_uint64().get(number) && number <= 1) return number == 1;
    return fail(wrong(to, value, "true, false, 0 or 1"));
  } else if constexpr (std::is_floating_point_v<T>) {
    double number = 0;
    if (value.get_double().get(number)) return fail(wrong(to, value, "a number"));
    if (std::is_same_v<T, float> && std::abs(number) > std::numeric_limits<float>::max()) return fail(wrong(to, value, "in the range of this type"));
    return static_cast<T>(number);
  } else {
    return integer<T>(to, value);
  }
}

template <class T, class Out, Out (*Convert)(T)>
struct Converting {
  using Stored = Out;
  static Result<Out> read(const ListReader& to, json::value& value) {
    TRY(const T number, element<T>(to, value));
    return Convert(number);
  }
};
template <class T>
T same(T value) { return value; }

// Lists of lists: the numbers in order, the lengths checked against the first list of each level.
template <class Kind>
class Walk {
 public:
  Walk(ListReader& to, std::size_t reserve) : to_(to), out_(to.data, reserve) {}

  template <class Value>
  Result<void> list(Value& value, std::size_t depth) {
    if (depth >= kNestingMax) return fail(Code::invalid_argument, to_.what + ": lists are nested more than 32 deep");
    json::array array;
    if (value.get_array().get(array)) return fail(Code::invalid_argument, to_.what + ": a list was expected");
    const bool first = to_.shape.size() == depth;
    if (first) {
      if (leaf_depth_ && depth >= leaf_depth_) return fail(Code::invalid_argument, to_.what + ": numbers and lists are mixed in one list");
      to_.shape.push_back(0);
    }
    std::int64_t count = 0;
    for (auto item : array) {
      json::value entry;
      if (const auto error = std::move(item).get(entry)) return fail(Code::invalid_argument, to_.what + ": the JSON is malformed: " + simdjson::error_message(error));
      TRY_VOID(one(entry, depth));
      ++count;
    }
    if (first && !seen_[depth]) to_.shape[depth] = count;
    else if (to_.shape[depth] != count && !to_.ragged_allowed)
      return fail(Code::invalid_argument, to_.what + ": lists of " + std::to_string(to_.shape[depth]) + " and of " + std::to_string(count) + " entries on one level: it must be a full matrix");
    seen_[depth] = true;
    return {};
  }

 private:
  Result<void> one(json::value& entry, std::size_t depth) {
    const auto first = *entry.raw_json_token().data();
    if (first == '[') {
      if (leaf_depth_ == depth + 1) return fail(Code::invalid_argument, to_.what + ": numbers and lists are mixed in one list");
      return list(entry, depth + 1);
    }
    if (leaf_depth_ == 0) leaf_depth_ = depth + 1;
    else if (leaf_depth_ != depth + 1) return fail(Code::invalid_argument, to_.what + ": numbers and lists are mixed in one list");
    auto number = Kind::read(to_, entry);
    if (!number) return fail(std::move(number).error());
    out_.add(*number);
    return {};
  }

  ListReader& to_;
  Appender<typename Kind::Stored> out_;
  std::size_t leaf_depth_ = 0;                  // 1 + the depth of the lists that hold numbers; 0: not seen yet
  bool seen_[kNestingMax] = {};
};

struct Text {
  using Stored = std::string_view;
  static Result<std::string_view> read(ListReader& to, json::value& value) {
    std::string_view text;
    if (value.get_string().get(text)) return fail(wrong(to, value, "a string"));
    return keep_text(text, to.text);
  }
};

template <class Kind, class Value>
Result<void> run(ListReader& to, Value& value, std::size_t reserve) { return Walk<Kind>(to, reserve).list(value, 0); }

template <class Value>
Result<void> read_strings(ListReader& to, Value& value) {
  std::vector<std::byte> views;  // of string_views, as the walk stores them
  ListReader inner{.datatype = to.datatype, .what = to.what, .data = views, .strings = to.strings, .text = to.text, .ragged_allowed = to.ragged_allowed};
  TRY_VOID((Walk<Text>(inner, 16).list(value, 0)));
  to.strings.resize(views.size() / sizeof(std::string_view));
  if (!views.empty()) std::memcpy(static_cast<void*>(to.strings.data()), views.data(), views.size());
  to.shape = std::move(inner.shape);
  return {};
}

template <class Value>
Result<void> read_list(ListReader& to, Value& value, std::size_t reserve) {
  switch (to.datatype) {
    case Datatype::boolean: return run<Converting<bool, bool, same<bool>>>(to, value, reserve);
    case Datatype::uint8: return run<Converting<std::uint8_t, std::uint8_t, same<std::uint8_t>>>(to, value, reserve);
    case Datatype::uint16: return run<Converting<std::uint16_t, std::uint16_t, same<std::uint16_t>>>(to, value, reserve);
    case Datatype::uint32: return run<Converting<std::uint32_t, std::uint32_t, same<std::uint32_t>>>(to, value, reserve);
    case Datatype::uint64: return run<Converting<std::uint64_t, std::uint64_t, same<std::uint64_t>>>(to, value, reserve);
    case Datatype::int8: return run<Converting<std::int8_t, std::int8_t, same<std::int8_t>>>(to, value, reserve);
    case Datatype::int16: return run<Converting<std::int16_t, std::int16_t, same<std::int16_t>>>(to, value, reserve);
    case Datatype::int32: return run<Converting<std::int32_t, std::int32_t, same<std::int32_t>>>(to, value, reserve);
    case Datatype::int64: return run<Converting<std::int64_t, std::int64_t, same<std::int64_t>>>(to, value, reserve);
    case Datatype::fp16: return run<Converting<float, std::uint16_t, float_to_half>>(to, value, reserve);
    case Datatype::bf16: return run<Converting<float, std::uint16_t, float_to_bf16>>(to, value, reserve);
    case Datatype::fp32: return run<Converting<float, float, same<float>>>(to, value, reserve);
    case Datatype::fp64: return run<Converting<double, double, same<double>>>(to, value, reserve);
    case Datatype::bytes: return read_strings(to, value);
  }
  return fail(Code::internal, "an unknown datatype");
}

}  // namespace

std::string_view keep_text(std::string_view text, std::vector<std::unique_ptr<char[]>>& in) {
  if (text.empty()) return {};
  in.push_back(std::make_unique<char[]>(text.size()));
  std::memcpy(in.back().get(), text.data(), text.size());
  return {in.back().get(), text.size()};
}

Result<void> ListReader::read(simdjson::ondemand::value value, std::size_t reserve) { return read_list(*this, value, reserve); }
Result<void> ListReader::read(simdjson::ondemand::document& document, std::size_t reserve) { return read_list(*this, document, reserve); }

}  // namespace mayfly::worker
