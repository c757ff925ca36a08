// The name of an image in a registry: HOST[:PORT]/NAME[:TAG][@sha256:DIGEST], as container engines write it and Lambda's ImageUri has it,
// with docker:// before it or not. Pure. The registry is always named: a name alone means another registry to everybody.
#pragma once
#include <string>
#include <string_view>

#include "base/result.h"

namespace mayfly::domain {

constexpr std::string_view kPullPrefix = "docker://";    // as skopeo writes it

struct ImageReference {
  std::string registry;    // "registry.example:5000", in lower case
  std::string repository;  // "shop/cart"
  std::string tag;         // "latest" where neither is named
  std::string digest;      // 64 hex digits, and goes over the tag; "": none
  std::string text() const;                              // without the prefix
  std::string resolved(std::string_view sha256) const;   // HOST/NAME@sha256:…
  friend bool operator==(const ImageReference&, const ImageReference&) = default;
};

// invalid_argument: what is wrong with it.
[[nodiscard]] Result<ImageReference> parse_image_reference(std::string_view text);
// "registry.example:5000", "[::1]:5000": what a reference may begin with.
[[nodiscard]] bool is_registry_host(std::string_view text);

}  // namespace mayfly::domain
