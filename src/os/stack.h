// Several folders that strangers filled, as one: how the layers of a container's image become its root (OCI image specification,
// "Image Layer Filesystem Changeset"). Blocking: for a background line.
//
// In a layer a file `.wh.NAME` takes away NAME of the layers below, and `.wh..wh..opq` all that they have in its folder; other names
// that begin with `.wh..wh.` say nothing. Files are hard links to the layer's own where the file system has them, so that a layer
// that several roots share is on the disk, and in memory, once; else they are copies. No link is followed, whatever it says, and
// nothing outside `into` is changed. What is neither file, folder nor link is refused.
#pragma once
#include <string>
#include <vector>

#include "base/result.h"

namespace mayfly::os {

// `into` exists and is empty; the lowest layer comes first. After an error `into` holds a part.
[[nodiscard]] Result<void> stack_folders(const std::vector<std::string>& layers, const std::string& into);
// The same without whiteouts: names that begin with `.wh.` are names.
[[nodiscard]] Result<void> merge_folders(const std::vector<std::string>& layers, const std::string& into);
// The folder is there, and no link: what else has its name is taken away. `path` has no "..", its parents are folders.
[[nodiscard]] Result<void> replace_by_folder(const std::string& root, const std::string& name);
[[nodiscard]] Result<void> replace_by_file(const std::string& root, const std::string& name, const std::string& text);

}  // namespace mayfly::os
