#include "os/ring.h"

#include <fcntl.h>
#include <linux/memfd.h>
#include <sys/mman.h>

#include <cstring>
#include <new>

#include "base/assert.h"

namespace mayfly::os {
namespace {

constexpr std::size_t kIndexSize = 4096;  // a page for the indices of both directions
constexpr std::size_t kHeadSize = 8;      // before each frame: its size, and nothing

static_assert(2 * sizeof(RingIndex) <= kIndexSize);
static_assert(std::atomic<std::uint64_t>::is_always_lock_free);
static_assert(kFrameMax + kHeadSize + kPadding + kFrameAlign < kRingSize);

constexpr std::size_t padded(std::size_t size) { return (size + kHeadSize + kFrameAlign - 1) / kFrameAlign * kFrameAlign; }

}  // namespace

Ring::Ring(Mapping index, Mapping data, int direction, int doorbell)
    : index_mapping_(std::move(index)), data_(std::move(data)), doorbell_(doorbell) {
  index_ = std::launder(reinterpret_cast<RingIndex*>(index_mapping_.data())) + direction;
}

std::byte* Ring::reserve(std::size_t size) {
  ASSERT(size <= kFrameMax, "a frame over the limit");
  const std::uint64_t consumed = index_->consumed.load(std::memory_order_acquire);
  if (mine_ - consumed > kRingSize) broken_ = true;  // also where the peer claims more than was written
  if (broken_ || kRingSize - (mine_ - consumed) < padded(size)) return nullptr;
  return data_.data() + mine_ % kRingSize + kHeadSize;
}

std::size_t Ring::room() const {
  const std::uint64_t used = mine_ - index_->consumed.load(std::memory_order_acquire);
  return broken_ || used > kRingSize ? 0 : kRingSize - used;
}

void Ring::publish(std::size_t size) {
  const std::uint64_t written = size;
  std::memcpy(data_.data() + mine_ % kRingSize, &written, kHeadSize);
  mine_ += padded(size);
  index_->produced.store(mine_, std::memory_order_release);
}

void Ring::wake() {
  // Ordered after the publish and before the look at `sleeping`: with prepare_sleep's mirror image one
  // of the two sides always sees the other (Dekker).
  std::atomic_thread_fence(std::memory_order_seq_cst);
  if (index_->consumed.load(std::memory_order_relaxed) == mine_) return;  // all is read: to wake it would cost both sides, for nothing
  if (index_->sleeping.load(std::memory_order_relaxed) && index_->sleeping.exchange(0)) ring_doorbell(doorbell_);
}

std::optional<std::span<const std::byte>> Ring::front() {
  const std::uint64_t produced = index_->produced.load(std::memory_order_acquire);
  const std::uint64_t there = produced - mine_;
  if (there == 0 || broken_) return std::nullopt;
  std::uint64_t size = 0;
  std::memcpy(&size, data_.data() + mine_ % kRingSize, kHeadSize);
  if (there > kRingSize || size > kFrameMax || padded(size) > there) {
    broken_ = true;
    return std::nullopt;
  }
  front_size_ = padded(size);
  return std::span<const std::byte>(data_.data() + mine_ % kRingSize + kHeadSize, size);
}

void Ring::pop() {
  ASSERT(front_size_ > 0, "pop() without front()");
  mine_ += front_size_;
  front_size_ = 0;
  index_->consumed.store(mine_, std::memory_order_release);
}

bool Ring::prepare_sleep() {
  index_->sleeping.store(1, std::memory_order_relaxed);
  std::atomic_thread_fence(std::memory_order_seq_cst);
  if (empty() || broken_) return true;
  cancel_sleep();
  return false;
}

Result<Fd> make_ring_memory() {
  TRY(Fd memory, make_memfd("mayfly-ring", kIndexSize + 2 * kRingSize));
  // Either side could shrink it under the other's feet, whose next touch would be a SIGBUS.
  if (::fcntl(memory.get(), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0) return fail(os_error("F_ADD_SEALS", "a ring"));
  return memory;
}

Result<Ring> open_ring(int memory, int direction, int doorbell) {
  ASSERT(direction == 0 || direction == 1, "a ring has two directions");
  TRY(Mapping index, map_file(memory, kIndexSize, Access::write));
  void* room = ::mmap(nullptr, 2 * kRingSize, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (room == MAP_FAILED) return fail(os_error("mmap", "a ring"));
  Mapping data(room, 2 * kRingSize);
  const auto offset = static_cast<off_t>(kIndexSize + static_cast<std::size_t>(direction) * kRingSize);
  for (std::size_t copy = 0; copy < 2; ++copy) {
    void* at = ::mmap(data.data() + copy * kRingSize, kRingSize, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, memory, offset);
    if (at == MAP_FAILED) return fail(os_error("mmap", "a ring"));
  }
  return Ring(std::move(index), std::move(data), direction, doorbell);
}

}  // namespace mayfly::os
