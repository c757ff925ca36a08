#include "store/recordings.h"

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <span>

#include "domain/recording.h"
#include "os/disk.h"

namespace mayfly::store {
namespace {

namespace fs = std::filesystem;

constexpr Bytes kFileMax = 64_MiB;
constexpr const char* kPart = ".part";

Result<void> write(const std::string& path, const std::string& head, const std::string& body) {
  TRY_VOID(os::remove_file(path));
  TRY(const os::Fd file, os::open_file(path, os::OpenMode::create_new));
  TRY_VOID(os::write_all(file.get(), std::as_bytes(std::span(head)), path));
  return os::write_all(file.get(), std::as_bytes(std::span(body)), path);
}

std::vector<std::uint64_t> numbers_in(const std::string& folder) {
  std::vector<std::uint64_t> numbers;
  const auto names = os::list_folder(folder);
  if (!names) return numbers;
  for (const std::string& name : *names) {
    std::uint64_t number = 0;
    const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), number);
    if (error == std::errc() && end == name.data() + name.size()) numbers.push_back(number);
  }
  std::ranges::sort(numbers);
  return numbers;
}

}  // namespace

std::string Recordings::folder_of(FunctionId function) const { return folder_ + "/" + std::to_string(function.number); }

Result<void> Recordings::keep(FunctionId function, std::uint64_t place, const std::string& head, const std::string& body) const {
  TRY_VOID(os::make_folder(folder_));
  const std::string folder = folder_of(function), path = folder + "/" + std::to_string(place);
  TRY_VOID(os::make_folder(folder));
  if (auto written = write(path + kPart, head, body); !written) {
    TRY_VOID(os::remove_file(path + kPart));
    return written;
  }
  return os::rename_file(path + kPart, path);
}

std::vector<KeptCall> Recordings::list(FunctionId function) const {
  std::vector<KeptCall> kept;
  const std::string folder = folder_of(function) + "/";
  for (const std::uint64_t place : numbers_in(folder)) {
    const auto status = os::file_status(folder + std::to_string(place));
    const auto head = os::read_at(folder + std::to_string(place), 0, domain::kRecordedHead);
    if (!status || !head || head->size() < domain::kRecordedHead) continue;
    // Its own length is that of a call without a body, so that the head alone reads as one.
    domain::RecordedCall none;
    std::string alone = *head;
    alone.replace(16, 16, domain::head_of(none).substr(16, 16));
    const auto calls = domain::read_calls(alone);
    if (calls && calls->size() == 1) kept.push_back({place, status->size.count, calls->front().seen});
  }
  return kept;
}

Result<std::string> Recordings::read(FunctionId function) const {
  std::string all;
  const std::string folder = folder_of(function) + "/";
  for (const std::uint64_t place : numbers_in(folder)) {
    TRY(const std::string bytes, os::read_file(folder + std::to_string(place), kFileMax));
    all += bytes;
    if (all.size() > 2 * domain::kRecordedBytesMax.count) return fail(Code::exhausted, "more is recorded than one answer holds");
  }
  return all;
}

Result<void> Recordings::forget(FunctionId function) const {
  std::error_code error;
  fs::remove_all(folder_of(function), error);
  if (error) return fail(Code::internal, "'" + folder_of(function) + "' can't be removed: " + error.message());
  return {};
}

void Recordings::forget_others(const std::vector<FunctionId>& kept) const {
  for (const std::uint64_t number : numbers_in(folder_))
    if (std::ranges::find(kept, number, &FunctionId::number) == kept.end()) [[maybe_unused]] const auto gone = forget({number});
}

}  // namespace mayfly::store
