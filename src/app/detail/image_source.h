// What an image consists of, by path: a folder's files, or an archive's (app/image.h). A file of an archive is copied out of it, to one
// without a name, where its bytes are wanted by themselves. Texts are small, archives have few entries; what is more is refused.
#pragma once
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "os/fd.h"

namespace mayfly::app {

struct Blob {
  std::string location;
  std::uint64_t size = 0;
  os::Fd held;                   // the file without a name
};

class ImageSource {
 public:
  virtual ~ImageSource() = default;
  virtual bool has(const std::string& path) const = 0;
  virtual Result<std::string> text(const std::string& path) = 0;
  virtual Result<std::map<std::string, Blob>> files(const std::vector<std::string>& paths) = 0;
};

// Of what is a folder or a file; an error says what it is instead.
[[nodiscard]] Result<std::unique_ptr<ImageSource>> open_image_folder(const std::string& path);
[[nodiscard]] Result<std::unique_ptr<ImageSource>> open_image_archive(const std::string& path);

[[nodiscard]] std::unexpected<Error> missing_in_image(const std::string& path);

}  // namespace mayfly::app
