#include "serve/routes.h"

#include <algorithm>
#include <charconv>

namespace mayfly::serve {
namespace {

const Target* numbered(const Route& route, int number) {
  const auto at = std::ranges::lower_bound(route.targets, number, {}, &Target::number);
  return at != route.targets.end() && at->number == number ? &*at : nullptr;
}

const Target* weighted(const Route& route, const domain::Alias& alias, Random& random) {
  // One weight, the usual case, needs no dice.
  if (alias.weights.size() == 1) return numbered(route, alias.weights[0].version);
  double dice = static_cast<double>(random.next() >> 11) * 0x1.0p-53;
  const Target* last = nullptr;
  for (const domain::Weight& weight : alias.weights) {
    if (const Target* target = numbered(route, weight.version); target && weight.share > 0) {
      last = target;
      if (dice < weight.share) return target;
    }
    dice -= weight.share;
  }
  return last;  // rounding: the shares add up to a little less than 1
}

std::string what_there_is(const Route& route) {
  std::string text = "aliases:";
  for (const domain::Alias& alias : route.aliases) text += " " + alias.name;
  text += "; versions:";
  const std::size_t from = route.targets.size() > 10 ? route.targets.size() - 10 : 0;
  for (std::size_t i = from; i < route.targets.size(); ++i) text += " " + std::to_string(route.targets[i].number);
  return text;
}

}  // namespace

void Routes::set(std::string_view function, Route route) {
  route.any_http = std::ranges::any_of(route.targets, &Target::http);
  routes_.insert_or_assign(std::string(function), std::move(route));
}

void Routes::remove(std::string_view function) {
  if (const auto at = routes_.find(function); at != routes_.end()) routes_.erase(at);
}

const Route* Routes::find(std::string_view function) const {
  const auto at = routes_.find(function);
  return at == routes_.end() ? nullptr : &at->second;
}

Result<const Target*> Routes::resolve(std::string_view function, std::string_view qualifier, Random& random) const {
  const auto at = routes_.find(function);
  if (at == routes_.end())
    return fail(Code::not_found, "no function '" + std::string(function) + "' can serve: deploy it, or see 'mayfly list'");
  const Route& route = at->second;
  const Target* target = nullptr;
  int number = 0;
  const char* const end = qualifier.data() + qualifier.size();
  if (qualifier == "$LATEST") {
    target = &route.targets.back();
  } else if (const auto parsed = std::from_chars(qualifier.data(), end, number); parsed.ptr == end && parsed.ec == std::errc()) {
    target = numbered(route, number);
  } else {
    const std::string_view alias = qualifier.empty() ? "live" : qualifier;
    const auto found = std::ranges::find(route.aliases, alias, &domain::Alias::name);
    if (found != route.aliases.end()) target = weighted(route, *found, random);
  }
  if (target) return target;
  return fail(Code::not_found, "function '" + std::string(function) + "' has no version or alias '" +
                                   std::string(qualifier.empty() ? "live" : qualifier) + "' that can serve; " + what_there_is(route));
}

}  // namespace mayfly::serve
