#include "app/npz_write.h"

#include <archive.h>
#include <archive_entry.h>

#include <algorithm>
#include <charconv>
#include <cstring>
#include <memory>
#include <optional>

#include "gate/npy_write.h"
#include "gate/sizes.h"
#include "os/disk.h"
#include "worker/archive.h"

namespace mayfly::app {
namespace {

struct FreeWriting {
  void operator()(archive* a) const { archive_write_free(a); }
};
struct FreeEntry {
  void operator()(archive_entry* entry) const { archive_entry_free(entry); }
};

Result<void> write_entry(archive* to, const std::string& name, const std::string& bytes) {
  const std::unique_ptr<archive_entry, FreeEntry> entry(archive_entry_new());
  archive_entry_set_pathname(entry.get(), name.c_str());
  archive_entry_set_size(entry.get(), static_cast<la_int64_t>(bytes.size()));
  archive_entry_set_filetype(entry.get(), AE_IFREG);
  archive_entry_set_perm(entry.get(), 0600);
  if (archive_write_header(to, entry.get()) != ARCHIVE_OK ||
      archive_write_data(to, bytes.data(), bytes.size()) != static_cast<la_ssize_t>(bytes.size()))
    return fail(Code::exhausted, "'" + name + "' can't be written: " + worker::reason_of(to));
  return {};
}

Result<void> write_to(int fd, const std::vector<gate::Array>& arrays) {
  const std::unique_ptr<archive, FreeWriting> to(archive_write_new());
  if (archive_write_set_format_zip(to.get()) != ARCHIVE_OK || archive_write_zip_set_compression_store(to.get()) != ARCHIVE_OK ||
      archive_write_open_fd(to.get(), fd) != ARCHIVE_OK)
    return fail(Code::internal, "a zip can't be begun: " + worker::reason_of(to.get()));
  for (const gate::Array& array : arrays) {
    TRY(const std::string bytes, gate::to_npy(array));
    TRY_VOID(write_entry(to.get(), array.name + ".npy", bytes));
  }
  if (archive_write_close(to.get()) != ARCHIVE_OK) return fail(Code::exhausted, "a zip can't be ended: " + worker::reason_of(to.get()));
  return {};
}

std::optional<std::int64_t> whole(const std::string& text) {
  std::int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

gate::Array label_of(const std::vector<std::string>& labels, bool numbers) {
  gate::Array label{.name = "label", .datatype = numbers ? domain::Datatype::int64 : domain::Datatype::bytes,
                    .shape = {static_cast<std::int64_t>(labels.size())}};
  if (numbers) label.data.resize(labels.size() * sizeof(std::int64_t));
  else label.strings = labels;
  for (std::size_t i = 0; numbers && i < labels.size(); ++i) {
    const std::int64_t value = *whole(labels[i]);
    std::memcpy(label.data.data() + i * sizeof value, &value, sizeof value);
  }
  return label;
}

}  // namespace

Result<void> write_npz(const std::string& path, const std::vector<gate::Array>& arrays) {
  const std::string part = path + ".part";
  TRY_VOID(os::remove_file(part));
  TRY(const os::Fd file, os::open_file(part, os::OpenMode::create_new));
  auto written = write_to(file.get(), arrays);
  if (written) written = os::sync_file(file.get(), part);
  if (written) return os::rename_file(part, path);
  TRY_VOID(os::remove_file(part));
  return fail(written.error().code, "'" + path + "': " + written.error().message);
}

Result<void> write_samples(const std::string& path, const gate::Samples& samples) {
  const bool numbers = std::ranges::all_of(samples.labels, [](const std::string& label) { return whole(label).has_value(); });
  std::vector<gate::Array> arrays;
  for (std::size_t size = 0; gate::Samples& set : gate::by_size(samples)) {
    if (!set.labels.empty()) set.inputs.push_back(label_of(set.labels, numbers));
    for (gate::Array& array : set.inputs) {
      array.name = gate::numbered(array.name, size);
      arrays.push_back(std::move(array));
    }
    ++size;
  }
  return write_npz(path, arrays);
}

}  // namespace mayfly::app
