#include "domain/layer.h"

#include <algorithm>
#include <charconv>

#include "domain/detail/layers.h"
#include "domain/detail/text.h"

namespace mayfly::domain {
namespace {

constexpr std::string_view kInArn = ":layer:";

}  // namespace

bool valid_layer_name(std::string_view name) {
  constexpr std::string_view kCharacters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
  return !name.empty() && name.size() <= 140 && name.find_first_not_of(kCharacters) == name.npos;
}

Result<LayerName> parse_layer(std::string_view text) {
  const auto wrong = [&] {
    return fail(Code::invalid_argument, in_quotes(text) + " is no layer: write NAME:VERSION, NAME for the newest, or "
                                                          "arn:aws:lambda:REGION:ACCOUNT:layer:NAME:VERSION");
  };
  std::string_view rest = text;
  const bool arn = rest.starts_with("arn:");
  if (arn) {  // arn:aws:lambda:REGION:ACCOUNT
    const std::size_t at = rest.find(kInArn);
    if (at == rest.npos || std::ranges::count(rest.substr(0, at), ':') != 4 || rest.find(":lambda:") == rest.npos) return wrong();
    rest.remove_prefix(at + kInArn.size());
  }
  const std::size_t colon = std::min(rest.find(':'), rest.size());
  LayerName layer{.name = std::string(rest.substr(0, colon))};
  if (!valid_layer_name(layer.name) || (arn && colon == rest.size())) return wrong();
  if (colon == rest.size()) return layer;
  const std::string_view number = rest.substr(colon + 1);
  const auto [end, error] = std::from_chars(number.data(), number.data() + number.size(), layer.number);
  if (error != std::errc() || end != number.data() + number.size() || layer.number < 1) return wrong();
  return layer;
}

std::string to_text(const LayerName& layer) {
  return layer.number == 0 ? layer.name : layer.name + ":" + std::to_string(layer.number);
}

Result<void> read_layers(const Tree& value, std::vector<std::string>& into) {
  if (value.kind != Tree::Kind::list) return fail(Code::invalid_argument, "a list of layers is wanted: [NAME:VERSION, …]");
  if (value.items.size() > kFunctionLayersMax)
    return fail(Code::invalid_argument, "Cannot reference more than " + std::to_string(kFunctionLayersMax) + " layers.");
  std::vector<std::string> names;
  for (const Tree& item : value.items) {
    const auto layer = parse_layer(item.kind == Tree::Kind::scalar ? item.text : std::string());
    if (!layer) return refuse(item.line, "layers: " + layer.error().message);
    if (std::ranges::find(names, layer->name) != names.end())
      return refuse(item.line, "Two different versions of the same layer are not allowed to be referenced in the same function: " +
                                   layer->name);
    names.push_back(layer->name);
    into.push_back(to_text(*layer));
  }
  return {};
}

}  // namespace mayfly::domain
