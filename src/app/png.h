// A picture as PNG: drawn from the SVG by rsvg-convert, a program of the machine's (librsvg), which Mayfly neither brings nor links: it and
// the thirty libraries below it would be the largest part of the binary, for one picture.
#pragma once
#include <string>

#include "base/result.h"

namespace mayfly::app {

// Where the program is. Error not_found says how to get it: asked before the work whose picture is wanted.
[[nodiscard]] Result<std::string> find_renderer();

// Twice as many pixels as the SVG says, for screens and print. Appears whole, by a rename.
[[nodiscard]] Result<void> write_png(const std::string& path, const std::string& svg);

}  // namespace mayfly::app
