#include "os/large_text.h"

#include <link.h>
#include <sys/mman.h>

#include <cstdint>
#include <cstring>
#include <unordered_set>
#include <utility>

#include "os/fd.h"

namespace mayfly::os {
namespace {

constexpr std::uintptr_t kLargePage = 2 << 20;

struct Text {
  std::string_view name;
  std::uintptr_t begin = 0, end = 0;   // whole large pages
};

int find_text(dl_phdr_info* library, std::size_t, void* into) {
  Text& text = *static_cast<Text*>(into);
  if (!std::string_view(library->dlpi_name).ends_with(text.name)) return 0;
  for (int i = 0; i < library->dlpi_phnum; ++i) {
    const auto& segment = library->dlpi_phdr[i];
    if (segment.p_type != PT_LOAD || !(segment.p_flags & PF_X) || (segment.p_flags & PF_W)) continue;
    const std::uintptr_t begin = library->dlpi_addr + segment.p_vaddr;
    text.begin = (begin + kLargePage - 1) / kLargePage * kLargePage;
    text.end = (begin + segment.p_memsz) / kLargePage * kLargePage;
  }
  return 1;
}

}  // namespace

Result<std::size_t> move_text_to_large_pages(std::string_view name) {
  static std::unordered_set<std::uintptr_t> moved;
  Text text{.name = name};
  if (::dl_iterate_phdr(find_text, &text) == 0) return fail(Code::not_found, "no library is loaded as " + std::string(name));
  if (text.begin >= text.end || !moved.insert(text.begin).second) return 0;
  const std::size_t size = text.end - text.begin;
  void* room = ::mmap(nullptr, size + kLargePage, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (room == MAP_FAILED) return fail(os_error("mmap"));
  const Mapping owner(room, size + kLargePage);
  const auto at = reinterpret_cast<std::byte*>((reinterpret_cast<std::uintptr_t>(room) + kLargePage - 1) / kLargePage * kLargePage);
  ::madvise(at, size, MADV_HUGEPAGE);  // where it can't be, small pages do
  if (::mprotect(at, size, PROT_READ | PROT_WRITE) != 0) return fail(os_error("mprotect"));
  std::memcpy(at, reinterpret_cast<const void*>(text.begin), size);
  __builtin___clear_cache(reinterpret_cast<char*>(at), reinterpret_cast<char*>(at) + size);
  if (::mprotect(at, size, PROT_READ | PROT_EXEC) != 0) return fail(os_error("mprotect"));
  // One call puts it in the old one's place: nobody sees a gap.
  if (::mremap(at, size, size, MREMAP_MAYMOVE | MREMAP_FIXED, reinterpret_cast<void*>(text.begin)) == MAP_FAILED)
    return fail(os_error("mremap"));
  return size;
}

}  // namespace mayfly::os
