// Two one-way rings of frames in one piece of shared memory: the link of the node to one instance.
// One producer, one consumer each; frames are contiguous (the data is mapped twice, end to end), so a
// frame is written and read in place. Either side may be hostile: every index that the other side
// wrote is read once and checked, and what is out of bounds breaks the ring (Code::data_loss), never
// this process.
//
//   producer:  if (std::byte* at = ring.reserve(n)) { fill at[0..n); ring.publish(n); }  then  ring.wake()
//   consumer:  while (auto frame = ring.front()) { use *frame; ring.pop(); }   then sleep:
//              if (ring.prepare_sleep()) block on the doorbell; clear it (an edge-triggered watch need not); again
//
// Frames leave in order, whole, once. A frame has at most kFrameMax bytes; behind its last byte at
// least kPadding more can be read (their content means nothing), which SIMD parsers want.
#pragma once
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "base/result.h"
#include "os/fd.h"

namespace mayfly::os {

constexpr std::size_t kRingSize = 1 << 18;                // of one direction's data
constexpr std::size_t kFrameMax = 64 * 1024 + 256;
constexpr std::size_t kPadding = 64;
constexpr std::size_t kFrameAlign = 64;

struct RingIndex {                                        // in shared memory
  alignas(64) std::atomic<std::uint64_t> produced;        // bytes, ever; written by the producer
  alignas(64) std::atomic<std::uint64_t> consumed;        // bytes, ever; written by the consumer
  alignas(64) std::atomic<std::uint32_t> sleeping;        // 1: the consumer blocks and wants the doorbell
};

// What one side sees of one direction. Not copyable: it owns the double mapping.
class Ring {
 public:
  Ring() = default;
  Ring(Mapping index, Mapping data, int direction, int doorbell);

  // Producer. reserve: null where there is no room (or the ring is broken).
  std::byte* reserve(std::size_t size);
  void publish(std::size_t size);
  std::size_t room() const;           // bytes, of frames with their heads
  // Rings the doorbell if the consumer sleeps and has something to read. Cheap otherwise; call it once after a burst of frames.
  void wake();

  // Consumer.
  std::optional<std::span<const std::byte>> front();
  void pop();
  // False if there is a frame after all: do not sleep.
  bool prepare_sleep();
  void cancel_sleep() { index_->sleeping.store(0, std::memory_order_relaxed); }
  bool empty() const { return index_->produced.load(std::memory_order_acquire) == mine_; }

  bool broken() const { return broken_; }
  int doorbell() const { return doorbell_; }

 private:
  Mapping index_mapping_;
  Mapping data_;
  RingIndex* index_ = nullptr;
  std::uint64_t mine_ = 0;            // the index that this side writes; the shared copy is never read back
  std::size_t front_size_ = 0;        // consumer: of the frame that front() gave
  int doorbell_ = -1;
  bool broken_ = false;
};

// The shared memory of both directions, sealed against another size. Direction 0: node to instance; 1: instance to node.
[[nodiscard]] Result<Fd> make_ring_memory();
[[nodiscard]] Result<Ring> open_ring(int memory, int direction, int doorbell);

}  // namespace mayfly::os
