#include "store/usage_log.h"

#include <algorithm>
#include <charconv>
#include <cstdio>
#include <utility>

#include "os/disk.h"

namespace mayfly::store {
namespace {

constexpr std::size_t kSegmentsMax = 512;       // a node that restarts all the time makes small ones
constexpr std::uint64_t kLostBeforeRetry = 1024;
constexpr std::uint64_t kRecentScanMax = 1'000'000;

}  // namespace

UsageLog::UsageLog(std::string folder, UsageOptions options, std::unique_ptr<Database> sums)
    : folder_(std::move(folder)), options_(options), sums_(std::move(sums)) {}

UsageLog::~UsageLog() {
  if (!open_ || open_->count() == 0) return;
  open_->seal();  // the next start need not read it
  [[maybe_unused]] const auto cut = open_->cut();  // else the next start does it
}

Result<void> UsageLog::open_segments() {
  TRY_VOID(os::make_folder(folder_));
  TRY(const auto names, os::list_folder(folder_));
  TRY(const std::uint64_t position, read_position());
  Segments found;
  std::uint64_t files = 0;
  next_ = position + 1;
  for (const std::string& name : names) {
    std::uint64_t number = 0;
    const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), number);
    if (error != std::errc() || std::string_view(end) != ".segment") continue;
    files = std::max(files, number);
    const std::string path = folder_ + "/" + name;
    auto segment = Segment::open(path);
    if (!segment || (*segment)->count() == 0) {
      // Never used, or damaged from its head on: set aside what may hold something.
      if (segment) TRY_VOID(os::remove_file(path));
      else if (segment.error().code == Code::data_loss) TRY_VOID(os::rename_file(path, path + ".damaged"));
      else return fail(segment.error());
      continue;
    }
    next_ = std::max(next_, (*segment)->end());
    found.push_back(*std::move(segment));
  }
  std::ranges::sort(found, {}, [](const auto& segment) { return segment->base(); });
  files_made_ = files;
  segments_.change([&](Segments& segments) { segments = std::move(found); });
  return {};
}

Result<std::unique_ptr<Segment>> UsageLog::new_segment(bool touch) {
  char name[40];
  std::snprintf(name, sizeof name, "/%012llu.segment", static_cast<unsigned long long>(++files_made_));
  return Segment::make(folder_ + name, (options_.segment.count - sizeof(SegmentHead)) / sizeof(domain::UsageRecord), touch);
}

bool UsageLog::rotate() {
  if (open_ && open_->full()) {
    open_->seal();
    open_.reset();
  }
  if (lost_ < try_again_at_) return false;
  std::shared_ptr<Segment> next;
  spare_.change([&](std::shared_ptr<Segment>& spare) { next = std::exchange(spare, nullptr); });
  if (!next) {
    auto made = new_segment(false);
    if (!made) {
      trouble_ = made.error();
      try_again_at_ = lost_ + kLostBeforeRetry;
      return false;
    }
    next = *std::move(made);
  }
  next->begin(next_);
  open_ = next;
  trouble_.reset();
  trouble_told_ = false;
  try_again_at_ = 0;
  segments_.change([&](Segments& segments) { segments.push_back(next); });
  return true;
}

void UsageLog::append(const domain::UsageRecord& record) {
  if ((!open_ || open_->full()) && !rotate()) {
    ++lost_;
    return;
  }
  open_->append(record);
  ++next_;
}

std::optional<Error> UsageLog::take_trouble() {
  if (!trouble_ || trouble_told_) return std::nullopt;
  trouble_told_ = true;
  return Error{trouble_->code, "calls go on without usage records and logs: " + trouble_->message};
}

std::vector<RecentRecord> UsageLog::recent(std::uint64_t after, std::size_t count, FunctionId function) const {
  std::vector<RecentRecord> found;
  const auto list = segments();
  std::uint64_t looked_at = 0;
  for (auto segment = list->rbegin(); segment != list->rend() && found.size() < count; ++segment) {
    for (std::uint64_t i = (*segment)->count(); i > 0 && found.size() < count; --i) {
      const std::uint64_t sequence = (*segment)->base() + i - 1;
      if (sequence <= after || ++looked_at > kRecentScanMax) {
        std::ranges::reverse(found);
        return found;
      }
      const domain::UsageRecord& record = (*segment)->at(i - 1);
      if (record.kind == 0 && (!function || record.function == function.number)) found.push_back({sequence, record});
    }
  }
  std::ranges::reverse(found);
  return found;
}

Result<void> UsageLog::remove_old(WallTime now, std::uint64_t position) {
  const auto list = segments();
  std::uint64_t total = 0;
  for (const auto& segment : *list) total += segment->file_size();
  std::size_t count = list->size();
  std::vector<std::shared_ptr<const Segment>> old;
  for (const auto& segment : *list) {
    const bool expired = now.since_epoch - std::chrono::microseconds(segment->last_us()) > options_.keep;
    if (!segment->sealed() || segment->end() > position + 1 || !(expired || total > options_.keep_max.count || count > kSegmentsMax)) break;
    total -= segment->file_size();
    --count;
    old.push_back(segment);
  }
  if (old.empty()) return {};
  segments_.change([&](Segments& segments) {
    std::erase_if(segments, [&](const auto& segment) { return std::ranges::find(old, segment) != old.end(); });
  });
  for (const auto& segment : old) TRY_VOID(os::remove_file(segment->path()));
  return {};
}

Result<void> UsageLog::fold(WallTime now) {
  const Database::Use use(*sums_);
  TRY(std::uint64_t position, read_position());
  const auto list = segments();
  const std::uint64_t end = list->empty() ? 0 : list->back()->end();
  while (position + 1 < end) TRY_VOID(fold_some(*list, position));
  TRY_VOID(remove_old(now, position));
  const bool half_full = !list->empty() && !list->back()->sealed() && list->back()->count() > list->back()->capacity() / 2;
  if (half_full && !*spare_.get()) {
    auto made = new_segment(true);
    if (made)
      spare_.change(
          [&](std::shared_ptr<Segment>& spare) { spare = *std::move(made); });  // else the loop's own try says so, if it comes to that
  }
  return {};
}

}  // namespace mayfly::store
