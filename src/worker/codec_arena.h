// Memory for what a request decodes to. It grows by chunks whose addresses stay, is emptied all at once and keeps
// its chunks, so that a process that sees the same kind of request again allocates nothing. One decoder owns it.
// It runs no destructors: only bytes, numbers and views live here.
#pragma once
#include <algorithm>
#include <cstddef>
#include <memory>
#include <utility>
#include <vector>

#include "base/assert.h"

namespace mayfly::worker::codec {

class Arena {
 public:
  static constexpr std::size_t kAlign = 64;
  static constexpr std::size_t kChunk = 64 * 1024;
  static constexpr std::size_t kKept = 64 << 20;  // more than this goes back to the system in clear()

  // Uninitialised, aligned to kAlign. `size` may be more than will be used; give_back() what is not.
  std::byte* allocate(std::size_t size) {
    size = rounded(std::max<std::size_t>(size, 1));
    while (current_ < chunks_.size() && chunks_[current_].size - used_ < size) {
      ++current_;
      used_ = 0;
    }
    if (current_ == chunks_.size()) {
      const std::size_t wanted = std::max(size, kChunk);
      chunks_.push_back({std::make_unique_for_overwrite<std::byte[]>(wanted + kAlign), wanted});
    }
    last_ = used_;
    used_ += size;
    return start(chunks_[current_]) + last_;
  }

  // Of the last allocation only the first `size` bytes are used.
  void give_back(std::size_t size) {
    ASSERT(last_ + rounded(size) <= used_, "an arena's allocation is shrunk, never grown");
    used_ = last_ + rounded(size);
  }

  void clear() {
    std::size_t kept = 0;
    std::erase_if(chunks_, [&kept](const Chunk& chunk) { return (kept += chunk.size) > kKept; });
    current_ = used_ = last_ = 0;
  }

 private:
  struct Chunk {
    std::unique_ptr<std::byte[]> memory;
    std::size_t size = 0;
  };
  static constexpr std::size_t rounded(std::size_t size) { return (size + kAlign - 1) / kAlign * kAlign; }
  static std::byte* start(const Chunk& chunk) {
    void* at = chunk.memory.get();
    std::size_t space = chunk.size + kAlign;
    return static_cast<std::byte*>(std::align(kAlign, chunk.size, at, space));
  }

  std::vector<Chunk> chunks_;
  std::size_t current_ = 0;  // chunk in use
  std::size_t used_ = 0;     // bytes of it
  std::size_t last_ = 0;     // where the last allocation begins
};

}  // namespace mayfly::worker::codec
