// A container's image as `mayfly deploy oci:PATH` takes it: an OCI image layout (a folder), the same as an archive, or what
// `docker save` writes. Makes of it what any deploy sends: the manifest with the image's configuration in it, and its layers as files.
//
// Everything in an image is named by its SHA-256, from the index to the last layer: each size and each digest is checked here, and
// the node names what it gets by its own hash. What a layer holds only the node looks at, in a sandbox (worker/unpack.h). Refused,
// with what is wrong: what isn't there, of another size or digest, of a kind that is not known, for another machine, or too large.
#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "app/package.h"
#include "base/result.h"
#include "os/fd.h"

namespace mayfly::app {

constexpr std::string_view kImagePrefix = "oci:";

struct ImagePackage {
  Package package;              // hashed already
  std::vector<os::Fd> held;     // the layers of an archive: files without a name, which go with this
};

// `where`: a path behind oci:, maybe with :TAG behind it. `manifest`: the function's, "" for none; the image goes into it, and a
// runtime by what the image starts, where it names none.
[[nodiscard]] Result<ImagePackage> read_image(const std::string& where, const std::string& manifest);
// `image: oci:PATH` of a manifest: "oci:PATH"; "" where there is none, or it is the image's configuration itself.
[[nodiscard]] std::string image_named_in(const std::string& manifest);

}  // namespace mayfly::app
