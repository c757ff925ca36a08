// Reads numpy's .npy form (numpy.lib.format, versions 1.0 to 3.0): a header in the words of Python, then the elements. Any bytes may
// come. Numbers of every type that a model can take, texts (`S`, `U`) as UTF-8; little-endian; Fortran's order is put in C's.
#pragma once
#include <string>
#include <string_view>

#include "base/result.h"
#include "gate/array.h"

namespace mayfly::gate {

// `name` is for the array and for messages. Error invalid_argument: no such file, cut short, or a type that no model takes.
[[nodiscard]] Result<Array> parse_npy(std::string_view bytes, const std::string& name);

}  // namespace mayfly::gate
