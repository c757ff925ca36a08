// A client of one registry of images, for one image: the OCI Distribution spec ("Pull"), which is Docker Registry's HTTP API V2. Blocks:
// for a pool. It asks what the node's configuration names and nothing else: an image's registry by its configured endpoint, a token
// where the registry or `tokens` is, and a blob that the registry sends elsewhere only at one of `redirects`, a bounded number of times.
// The login goes to the registry and the token service alone, and stands in no message.
// Promises: what a text or a blob was named by is checked while it is read: more than its size is not taken, another digest is an error.
#pragma once
#include <atomic>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/time.h"
#include "domain/container_image.h"
#include "domain/image_reference.h"
#include "os/http_get.h"
#include "store/objects.h"
#include "store/registry_forms.h"

namespace mayfly::store {

struct Registry {
  std::string endpoint;                    // "": https:// and the name that images have it by
  std::string user, password;              // "": none
  std::vector<std::string> repositories;   // which may be pulled: "shop/cart", "shop/*"; none: all that the login may
  std::string tokens;                      // an endpoint, where the registry's own tokens are made elsewhere
  std::vector<std::string> redirects;      // endpoints
  Bytes size_max = 10_GiB;                 // of an image's layers together, as they are sent
};
using Registries = std::map<std::string, Registry, std::less<>>;   // by the name that images have them by: "registry.example:5000"

// The one that the image names, if it may be pulled from there.
[[nodiscard]] Result<Registry> find_registry(const Registries& registries, const domain::ImageReference& image);

class RegistryClient {
 public:
  // `registry` is what find_registry() gave. `until`: when it gives up.
  RegistryClient(const Registry& registry, const domain::ImageReference& image, Instant until, const std::atomic<bool>& stop);
  [[nodiscard]] Result<void> open();

  struct Document {
    std::string text, type, sha256;
  };
  // By a tag, or by "sha256:…".
  [[nodiscard]] Result<Document> manifest(const std::string& name);
  // `what` is "layer 3", in an error. The digest is for the caller to check, who has the bytes.
  [[nodiscard]] Result<void> blob(const domain::Descriptor& blob, const std::string& what, const TakePiece& take);

 private:
  struct Wanted {
    std::string target, accept;
    Bytes size_max;
  };
  Result<os::HttpGot> ask(const Place& place, const Wanted& wanted, const TakePiece& take, const std::string& authorization);
  Result<os::HttpGot> ask_registry(const Wanted& wanted, const TakePiece& take);   // once more, where it wants to know who asks
  Result<bool> answer_challenge(const os::HttpGot& got);   // false: nothing that is known helps
  Result<std::string> fetch_token(const Challenge& challenge);
  Result<Place> follow(const os::HttpGot& got, const Place& from, const std::string& what) const;
  std::unexpected<Error> refused(const os::HttpGot& got, const std::string& what) const;
  std::unexpected<Error> failed(const Error& error) const;

  const Registry& registry_;
  const domain::ImageReference& image_;
  const Instant until_;
  const std::atomic<bool>& stop_;
  Endpoint endpoint_;
  std::string authorization_;              // of the requests that follow
};

}  // namespace mayfly::store
