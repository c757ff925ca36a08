#include "app/optimize_data.h"

#include <archive_entry.h>

#include <filesystem>
#include <vector>

#include "base/units.h"
#include "gate/csv.h"
#include "gate/npy.h"
#include "gate/sizes.h"
#include "os/disk.h"
#include "worker/archive.h"

namespace mayfly::app {
namespace {

namespace fs = std::filesystem;

constexpr Bytes kDataMax = 1_GiB;

Result<std::string> read_entry(archive* from, const std::string& name, std::uint64_t& left) {
  std::string bytes;
  std::vector<char> block(256 * 1024);
  for (;;) {
    const la_ssize_t size = archive_read_data(from, block.data(), block.size());
    if (size == 0) return bytes;
    if (size < 0) return fail(Code::invalid_argument, "'" + name + "' can't be read: " + worker::reason_of(from));
    if (static_cast<std::uint64_t>(size) > left)
      return fail(Code::exhausted, "the sample set holds more than " + to_text(kDataMax) + ": take fewer samples");
    left -= static_cast<std::uint64_t>(size);
    bytes.append(block.data(), static_cast<std::size_t>(size));
  }
}

Result<std::vector<gate::Array>> read_npz(const std::string& path) {
  auto opened = worker::open_archive(path);
  if (!opened)
    return fail(Code::invalid_argument, "'" + path + "' is no .npz (" + opened.error().message + "): numpy.savez writes one");
  std::vector<gate::Array> arrays;
  std::uint64_t left = kDataMax.count;
  archive_entry* entry = nullptr;
  int got = archive_read_next_header(opened->get(), &entry);
  for (; got == ARCHIVE_OK; got = archive_read_next_header(opened->get(), &entry)) {
    const char* text = archive_entry_pathname(entry);
    std::string name = text ? text : "";
    if (!name.ends_with(".npy"))
      return fail(Code::invalid_argument, "'" + path + "' holds '" + name.substr(0, 200) + "', which is no array of numpy");
    name.resize(name.size() - 4);
    if (arrays.size() == gate::kArraysMax) return fail(Code::invalid_argument, "'" + path + "' holds more than 1,024 arrays");
    TRY(const std::string bytes, read_entry(opened->get(), path, left));
    TRY(gate::Array array, gate::parse_npy(bytes, name));
    arrays.push_back(std::move(array));
  }
  if (got != ARCHIVE_EOF) return fail(Code::invalid_argument, "'" + path + "' is damaged: " + worker::reason_of(opened->get()));
  return arrays;
}

Result<std::string> read_whole(const std::string& path) {
  TRY(const os::FileStatus status, os::file_status(path));
  if (status.size > kDataMax)
    return fail(Code::exhausted,
                "'" + path + "' has " + to_text(status.size) + ", at most " + to_text(kDataMax) + " is read: take fewer samples");
  return os::read_file(path, kDataMax);
}

}  // namespace

Result<gate::Samples> read_samples(const std::string& path, const domain::Signature& signature, const PictureOptions& pictures) {
  std::error_code error;
  if (!fs::exists(path, error))
    return fail(Code::not_found, "'" + path + "' is not there: --data names an .npz, an .npy, a .csv or a folder of pictures");
  if (fs::is_directory(path, error)) return read_pictures(path, signature, pictures);
  if (!pictures.how.empty()) return fail(Code::invalid_argument, "--pictures is for a folder of pictures, and --data names '" + path + "'");
  const auto named = [&](const char* ending) { return fs::path(path).extension() == ending; };
  if (named(".csv")) {
    TRY(const std::string text, read_whole(path));
    TRY(auto columns, gate::parse_csv(text, path));
    return gate::fit_columns(std::move(columns), signature);
  }
  if (named(".npy")) {
    TRY(const std::string bytes, read_whole(path));
    TRY(gate::Array array, gate::parse_npy(bytes, fs::path(path).stem().string()));
    std::vector<gate::Array> arrays;
    arrays.push_back(std::move(array));
    return gate::fit_arrays(std::move(arrays), signature);
  }
  if (!named(".npz"))
    return fail(Code::invalid_argument, "'" + path + "': sample sets are .npz, .npy or .csv files, or folders of pictures");
  TRY(auto arrays, read_npz(path));
  return gate::fit_sizes(std::move(arrays), signature);
}

}  // namespace mayfly::app
