#include "store/detail/segment.h"

#include <cstddef>
#include <cstring>

#include "base/assert.h"
#include "os/disk.h"
#include "store/detail/crc32c.h"

namespace mayfly::store {
namespace {

constexpr std::uint64_t kMagic = 0x67657375796c6679;  // "yflyuseg"
constexpr std::uint32_t kFormat = 1;
constexpr std::size_t kRecord = sizeof(domain::UsageRecord);
constexpr std::size_t kPage = 4096;

template <class T>
std::uint32_t checksum_of(const T& value) {
  return crc32c(os::bytes_of(value).first(offsetof(T, checksum)));
}

}  // namespace

bool is_sound(const domain::UsageRecord& record) { return record.checksum == checksum_of(record); }

Segment::Segment(std::string path, os::Fd fd, os::Mapping mapping)
    : path_(std::move(path)),
      fd_(std::move(fd)),
      mapping_(std::move(mapping)),
      capacity_((mapping_.size() - sizeof(SegmentHead)) / kRecord) {}

Result<std::unique_ptr<Segment>> Segment::make(const std::string& path, std::uint64_t capacity, bool touch) {
  const std::uint64_t size = sizeof(SegmentHead) + capacity * kRecord;
  TRY(os::Fd fd, os::open_file(path, os::OpenMode::create_new));
  auto reserved = os::reserve_space(fd.get(), size, path);
  auto mapping = reserved ? os::map_file(fd.get(), size, os::Access::write) : Result<os::Mapping>(fail(reserved.error()));
  if (!mapping) {
    [[maybe_unused]] const auto removed = os::remove_file(path);
    return fail(mapping.error());
  }
  if (touch)
    for (std::size_t at = 0; at < size; at += kPage) *reinterpret_cast<volatile std::byte*>(mapping->data() + at) = std::byte{0};
  return std::make_unique<Segment>(path, std::move(fd), *std::move(mapping));
}

Result<std::unique_ptr<Segment>> Segment::open(const std::string& path) {
  TRY(os::Fd fd, os::open_file(path, os::OpenMode::read_write));
  TRY(const auto status, os::file_status(path));
  if (status.size.count < sizeof(SegmentHead)) return fail(Code::data_loss, path + " is too short for a segment of the usage log");
  TRY(os::Mapping mapping, os::map_file(fd.get(), status.size.count, os::Access::write));
  auto segment = std::make_unique<Segment>(path, std::move(fd), std::move(mapping));
  SegmentHead head;
  std::memcpy(&head, segment->mapping_.data(), sizeof head);
  if (head.magic == 0) return segment;  // made and never begun
  if (head.magic != kMagic) return fail(Code::data_loss, path + " is no segment of the usage log");
  if (head.format != kFormat || head.record_size != kRecord)
    return fail(Code::unimplemented, path + " was written by another release of the usage log");
  segment->base_ = head.base;
  if (head.sealed_count != 0 && head.checksum == checksum_of(head) && head.sealed_count <= segment->capacity_) {
    segment->count_ = head.sealed_count;
    segment->first_us_ = head.first_us;
    segment->last_us_ = head.last_us;
    segment->sealed_ = true;
    TRY_VOID(segment->cut());
    return segment;
  }
  std::uint64_t count = 0;
  for (; count < segment->capacity_ && is_sound(segment->at(count)); ++count) segment->widen(segment->at(count).arrived_us);
  segment->count_ = count;
  if (count == 0) return segment;
  segment->seal();
  TRY_VOID(segment->cut());
  return segment;
}

void Segment::begin(std::uint64_t base) {
  ASSERT(base_ == 0 && base != 0, "a segment begins once");
  base_ = base;
  write_head();
}

void Segment::append(const domain::UsageRecord& record) {
  const std::uint64_t index = count_.load(std::memory_order_relaxed);
  ASSERT(index < capacity_, "a full segment takes no more");
  std::byte* at = mapping_.data() + sizeof(SegmentHead) + index * kRecord;
  std::memcpy(at, &record, kRecord);
  const std::uint32_t checksum = checksum_of(record);
  std::memcpy(at + offsetof(domain::UsageRecord, checksum), &checksum, sizeof checksum);
  widen(record.arrived_us);
  count_.store(index + 1, std::memory_order_release);
}

void Segment::widen(std::int64_t arrived_us) {
  if (arrived_us < first_us()) first_us_.store(arrived_us, std::memory_order_relaxed);
  if (arrived_us > last_us()) last_us_.store(arrived_us, std::memory_order_relaxed);
}

void Segment::write_head() {
  SegmentHead head{.magic = kMagic, .format = kFormat, .record_size = kRecord, .base = base_};
  if (sealed()) {
    head.sealed_count = count();
    head.first_us = first_us();
    head.last_us = last_us();
  }
  head.checksum = checksum_of(head);
  std::memcpy(mapping_.data(), &head, sizeof head);
}

void Segment::seal() {
  sealed_.store(true, std::memory_order_relaxed);
  write_head();
}

Result<void> Segment::cut() {
  ASSERT(sealed(), "a segment is sealed before it is cut");
  const std::uint64_t size = sizeof(SegmentHead) + count() * kRecord;
  if (size == mapping_.size()) return {};
  TRY_VOID(os::cut_file(fd_.get(), size, path_));
  TRY(mapping_, os::map_file(fd_.get(), size, os::Access::read));
  return {};
}

}  // namespace mayfly::store
