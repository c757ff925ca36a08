// A folder of pictures as a sample set, as torchvision's ImageFolder has it: a folder in it for each label, whose names in their order are
// the classes 0, 1, …; names that are numbers are the class itself; the model's metadata, or `labels.txt` beside them, names the classes in
// the model's order.
// Without such folders there are no labels. The pictures are decoded in confined processes (worker/pictures.h).
#pragma once
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "domain/tensor.h"
#include "gate/samples.h"
#include "worker/child_work.h"

namespace mayfly::app {

// Names of classes, and where they stand: those of labels.txt must know each folder, those of the model may be of other words.
struct ClassNames {
  std::vector<std::string> names;  // by class; none: nobody says them
  bool of_model = false;
};

struct PictureOptions {
  std::string how;                                             // gate::plan_pictures
  std::vector<std::string> classes;                            // that the model names, where it does
  std::function<void(const std::string&)> says = [](const std::string&) {};  // what was left out, what was guessed: a line each
  worker::ChildLimits limits;
};

// Reads at most 1 GiB of samples, evenly from what is there. Pictures that can't be read are said and left out, up to a twentieth.
[[nodiscard]] Result<gate::Samples> read_pictures(const std::string& folder, const domain::Signature& signature,
                                                  const PictureOptions& options);

// The label of each folder. Error: a folder that labels.txt does not name, or the model does not that names others.
[[nodiscard]] Result<std::vector<std::string>> labels_of_folders(const std::vector<std::string>& folders,
                                                                 const ClassNames& classes, bool by_name);

}  // namespace mayfly::app
