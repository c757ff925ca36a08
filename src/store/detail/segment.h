// One file of the usage log: a head and up to `capacity` records, in mapped memory. The loop's thread
// appends; any thread reads what was there when it asked. A record that a kill tore has a wrong checksum,
// and the log ends before it. Space is taken from the disk before the first record, so a full disk shows
// when a segment is made and not as a SIGBUS in the middle of a call.
#pragma once
#include <atomic>
#include <cstdint>
#include <memory>
#include <string>

#include "base/result.h"
#include "domain/usage.h"
#include "os/fd.h"

namespace mayfly::store {

struct SegmentHead {
  std::uint64_t magic = 0;
  std::uint32_t format = 0, record_size = 0;
  std::uint64_t base = 0;             // sequence of the first record
  std::uint64_t sealed_count = 0;     // 0: not sealed
  std::int64_t first_us = 0, last_us = 0;  // sealed: earliest and latest arrival
  std::uint64_t reserved = 0;
  std::uint32_t reserved2 = 0;
  std::uint32_t checksum = 0;         // CRC32C of the bytes before it
};
static_assert(sizeof(SegmentHead) == 64);

[[nodiscard]] bool is_sound(const domain::UsageRecord& record);

class Segment {
 public:
  // Reserves and maps a new file. `touch`: takes the page faults now instead of in append().
  [[nodiscard]] static Result<std::unique_ptr<Segment>> make(const std::string& path, std::uint64_t capacity, bool touch);
  // An existing one, sealed: where it wasn't (the node was killed), by reading to the first unsound record, and cut to its size.
  // An Error for what is no segment; count() is 0 for one that was made and never used.
  [[nodiscard]] static Result<std::unique_ptr<Segment>> open(const std::string& path);

  void begin(std::uint64_t base);                    // once, before the first append
  void append(const domain::UsageRecord& record);    // only while !full()
  void seal();                                       // writes the count into the head
  [[nodiscard]] Result<void> cut();                  // gives back the space behind the last record; sealed only

  bool full() const { return count_.load(std::memory_order_relaxed) == capacity_; }
  std::uint64_t base() const { return base_; }
  std::uint64_t count() const { return count_.load(std::memory_order_acquire); }
  std::uint64_t end() const { return base_ + count(); }  // sequence behind the last record
  std::uint64_t capacity() const { return capacity_; }
  bool sealed() const { return sealed_.load(std::memory_order_relaxed); }
  std::int64_t first_us() const { return first_us_.load(std::memory_order_relaxed); }
  std::int64_t last_us() const { return last_us_.load(std::memory_order_relaxed); }
  const domain::UsageRecord& at(std::uint64_t index) const {
    return reinterpret_cast<const domain::UsageRecord*>(mapping_.data() + sizeof(SegmentHead))[index];
  }
  const std::string& path() const { return path_; }
  std::uint64_t file_size() const { return mapping_.size(); }
  int fd() const { return fd_.get(); }

  Segment(std::string path, os::Fd fd, os::Mapping mapping);

 private:
  void write_head();
  void widen(std::int64_t arrived_us);

  std::string path_;
  os::Fd fd_;
  os::Mapping mapping_;
  std::uint64_t capacity_ = 0, base_ = 0;
  std::atomic<std::uint64_t> count_ = 0;
  std::atomic<bool> sealed_ = false;
  std::atomic<std::int64_t> first_us_ = INT64_MAX, last_us_ = INT64_MIN;
};

}  // namespace mayfly::store
