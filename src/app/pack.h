// A folder of code as one archive: a tar with zstd, the same bytes for the same files on every machine, so that a deploy of what
// is there already is found to be one. Takes everything below the folder but the manifest, names that begin with a dot, but for
// .python_packages, where Azure has an app's dependencies, and __pycache__; links stay links, and must stay inside.
#pragma once
#include <string>

#include "app/package.h"
#include "base/result.h"
#include "os/fd.h"

namespace mayfly::app {

struct Packed {
  os::Fd file;           // of the archive; it has no name, and goes with this
  PackageFile entry;     // to be hashed and uploaded
};

[[nodiscard]] bool is_archive(const std::string& path);  // by its ending: .zip, .tar, .tar.gz, .tgz, .tar.zst, .tar.xz, .tar.bz2
[[nodiscard]] Result<Packed> pack_folder(const std::string& folder);
[[nodiscard]] Result<os::Fd> nameless_file();  // an empty one to write, which goes with its last descriptor
// The manifest in an archive, at its top: function.yaml; where there is none what read_manifest_of() says.
[[nodiscard]] Result<std::string> manifest_in(const std::string& archive);

}  // namespace mayfly::app
