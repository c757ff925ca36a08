// Any text as the names of classes: no more than there may be, and of a list or a mapping none that is not quoted in it.
#include <cstdint>
#include <string>

#include "base/assert.h"
#include "gate/class_names.h"

extern "C" const char* const* mayfly_fuzz_seeds() {
  static constexpr const char* kSeeds[] = {"{0: 'a', 1: \"b\"}", R"({"0": "a", "1": "b"})", R"(["a", "b\"c"])", "a\nb\n", "a,b", nullptr};
  return kSeeds;
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  std::size_t letters = 0;
  const auto names = mayfly::gate::parse_class_names(text);
  for (const std::string& name : names) letters += name.size();
  ASSERT(letters <= text.size(), "names are parts of the text");
  ASSERT(names.size() <= 100'000, "there is a limit");
  return 0;
}
