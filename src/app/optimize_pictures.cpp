#include "app/optimize_pictures.h"

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <optional>

#include "app/terminal.h"
#include "base/random.h"
#include "base/units.h"
#include "gate/pictures.h"
#include "os/clock.h"
#include "os/disk.h"
#include "worker/pictures.h"

namespace mayfly::app {
namespace {

namespace fs = std::filesystem;

constexpr Bytes kSamplesMax = 1_GiB, kFileMax = 64_MiB, kLabelsMax = 1_MiB, kTogetherMax = 64_MiB;
constexpr std::size_t kFilesMax = 10'000'000, kFoldersMax = 100'000, kTogether = 64;  // pictures that are decoded in one process
constexpr int kDepthMax = 16;
constexpr std::size_t kBadPart = 20;  // one in twenty may be bad
constexpr std::size_t kNamedMax = 10;
constexpr const char* kLabelsFile = "labels.txt";

std::string lower(std::string text) {
  std::ranges::transform(text, text.begin(),
                         [](unsigned char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : static_cast<char>(c); });
  return text;
}

// By its name: also those that are then said to be of another form.
bool is_picture(const fs::path& path) {
  constexpr std::string_view kEndings[] = {".jpg", ".jpeg", ".png", ".webp", ".bmp",  ".gif",
                                           ".tif", ".tiff", ".ppm", ".pgm",  ".heic", ".avif"};
  return std::ranges::find(kEndings, lower(path.extension().string())) != std::end(kEndings);
}

bool is_hidden(const fs::path& path) { return path.filename().string().starts_with('.'); }

struct File {
  std::string path;
  std::size_t folder = 0;
};

struct Listing {
  std::vector<std::string> folders;  // names, sorted; none: no labels
  std::vector<File> files;           // by folder and name
};

std::unexpected<Error> as_error(const std::string& folder, const std::error_code& error) {
  return fail(Code::not_found, "'" + folder + "' can't be read: " + error.message());
}

Result<void> list_pictures(const std::string& folder, std::size_t number, Listing& listing) {
  std::error_code error;
  std::vector<std::string> found;
  fs::recursive_directory_iterator at(folder, error), end;
  while (!error && at != end) {
    if (is_hidden(at->path()) || at.depth() >= kDepthMax) at.disable_recursion_pending();
    if (!is_hidden(at->path()) && is_picture(at->path()) && at->is_regular_file(error)) found.push_back(at->path().string());
    if (listing.files.size() + found.size() > kFilesMax)
      return fail(Code::exhausted, "'" + folder + "' holds more than 10,000,000 pictures");
    at.increment(error);
  }
  if (error) return as_error(folder, error);
  std::ranges::sort(found);
  for (std::string& path : found) listing.files.push_back({std::move(path), number});
  return {};
}

Result<Listing> list(const std::string& folder) {
  Listing listing;
  std::error_code error;
  bool beside = false;
  for (fs::directory_iterator at(folder, error), end; !error && at != end; at.increment(error)) {
    if (is_hidden(at->path())) continue;
    if (at->is_directory(error)) listing.folders.push_back(at->path().filename().string());
    else beside = beside || is_picture(at->path());
    if (listing.folders.size() > kFoldersMax) return fail(Code::exhausted, "'" + folder + "' holds more than 100,000 folders");
  }
  if (error) return as_error(folder, error);
  if (beside && !listing.folders.empty())
    return fail(Code::invalid_argument, "'" + folder +
                                            "' holds both pictures and folders: either all pictures are in a folder of their label, "
                                            "or all stand beside one another and have none");
  std::ranges::sort(listing.folders);
  if (listing.folders.empty()) TRY_VOID(list_pictures(folder, 0, listing));
  for (std::size_t i = 0; i < listing.folders.size(); ++i)
    TRY_VOID(list_pictures((fs::path(folder) / listing.folders[i]).string(), i, listing));
  if (listing.files.empty())
    return fail(Code::invalid_argument, "'" + folder + "' holds no picture: .jpg and .png files, in a folder for each label");
  return listing;
}

Result<ClassNames> read_classes(const std::string& folder) {
  ClassNames lines;
  const std::string path = (fs::path(folder) / kLabelsFile).string();
  if (!os::is_there(path)) return lines;
  TRY(const std::string text, os::read_file(path, kLabelsMax));
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = std::min(text.find('\n', at), text.size());
    std::string line = text.substr(at, end - at);
    while (!line.empty() && (line.back() == '\r' || line.back() == ' ')) line.pop_back();
    lines.names.push_back(std::move(line));
    at = end + 1;
  }
  return lines;
}

// In an order that is the same every time and in which no class comes before the others: where time ends it, those that were answered stand
// for all.
std::vector<File> chosen(std::vector<File> files, std::uint64_t count) {
  std::vector<File> taken;
  count = std::min<std::uint64_t>(count, files.size());
  for (std::uint64_t i = 0; i < count; ++i) taken.push_back(std::move(files[i * files.size() / count]));
  Random random(1);
  for (std::size_t i = taken.size(); i > 1; --i) std::swap(taken[i - 1], taken[random.next() % i]);
  return taken;
}

// The pictures one after the other, in batches that one process decodes.
class Reading {
 public:
  Reading(const std::string& folder, const gate::PicturePlan& plan, const PictureOptions& options, std::size_t of)
      : folder_(folder), plan_(plan), options_(options), of_(of), end_(os::monotonic_now() + options.limits.time_max) {}

  Result<void> add(const File& file) {
    auto bytes = os::read_file(file.path, kFileMax);
    if (!bytes) return bad(file, bytes.error().message);
    held_ += bytes->size();
    files_.push_back(file);
    bytes_.push_back(std::move(*bytes));
    return files_.size() == kTogether || held_ > kTogetherMax.count ? decode() : Result<void>();
  }

  Result<void> decode() {
    const Duration left = end_ - os::monotonic_now();
    if (left <= Duration{})
      return fail(Code::deadline_exceeded, "reading the pictures took all of --time-max: give more, or --pictures 'count=N'");
    TRY(const auto prepared, worker::prepare_pictures(bytes_, plan_, {.time_max = left, .stops = options_.limits.stops}));
    for (std::size_t i = 0; i < prepared.size(); ++i) {
      if (!prepared[i].why.empty()) {
        TRY_VOID(bad(files_[i], prepared[i].why));
        continue;
      }
      const auto* from = reinterpret_cast<const std::byte*>(prepared[i].sample.data());
      data.insert(data.end(), from, from + prepared[i].sample.size());
      folders.push_back(files_[i].folder);
    }
    files_.clear();
    bytes_.clear();
    held_ = 0;
    return {};
  }

  std::vector<std::byte> data;
  std::vector<std::size_t> folders;  // of each sample
  std::size_t bad_count() const { return bad_; }

 private:
  Result<void> bad(const File& file, const std::string& why) {
    const std::string line = fs::path(file.path).lexically_relative(folder_).string() + ": " + why;
    if (++bad_ <= kNamedMax) options_.says("left out: " + printable(line));
    if (bad_ > std::max<std::size_t>(1, of_ / kBadPart))
      return fail(Code::invalid_argument, std::to_string(bad_) + " of " + std::to_string(of_) + " pictures of '" + folder_ +
                                              "' can't be read, more than one in twenty, the last " + printable(line));
    return {};
  }

  const std::string& folder_;
  const gate::PicturePlan& plan_;
  const PictureOptions& options_;
  const std::size_t of_;
  const Instant end_;
  std::vector<File> files_;
  std::vector<std::string> bytes_;
  std::uint64_t held_ = 0;
  std::size_t bad_ = 0;
};

bool says_texts(const domain::Signature& signature) {
  return std::ranges::any_of(signature.outputs, [](const auto& output) { return output.datatype == domain::Datatype::bytes; });
}

}  // namespace

Result<std::vector<std::string>> labels_of_folders(const std::vector<std::string>& folders, const ClassNames& classes, bool by_name) {
  if (by_name) return folders;
  std::vector<std::string> labels;
  const auto is_number = [](const std::string& name) {
    return !name.empty() && name.size() < 10 && name.find_first_not_of("0123456789") == name.npos;
  };
  const auto is_named = [&](const std::string& name) { return std::ranges::find(classes.names, name) != classes.names.end(); };
  const bool numbers = std::ranges::all_of(folders, is_number);
  // A model may name its classes in other words than the folders; who wrote labels.txt means these.
  const bool named = classes.of_model ? !numbers && std::ranges::any_of(folders, is_named) : !classes.names.empty();
  for (std::size_t i = 0; i < folders.size(); ++i) {
    if (!named) {
      labels.push_back(std::to_string(numbers ? std::stoul(folders[i]) : i));
      continue;
    }
    const auto found = std::ranges::find(classes.names, folders[i]);
    if (found == classes.names.end())
      return fail(Code::invalid_argument,
                  "the folder '" + printable(folders[i].substr(0, 100)) + "' is none of the " + std::to_string(classes.names.size()) +
                      " classes that " +
                      (classes.of_model ? "the model names, and others are: rename it, or write labels.txt with the "
                                          "names of the folders, one a line, in the model's order"
                                        : "labels.txt names, one a line"));
    labels.push_back(std::to_string(found - classes.names.begin()));
  }
  return labels;
}

Result<gate::Samples> read_pictures(const std::string& folder, const domain::Signature& signature, const PictureOptions& options) {
  TRY(const gate::PicturePlan plan, gate::plan_pictures(signature, options.how));
  TRY(Listing listing, list(folder));
  TRY(ClassNames classes, read_classes(folder));
  if (classes.names.empty()) classes = {.names = options.classes, .of_model = true};
  TRY(const auto labels, labels_of_folders(listing.folders, classes, says_texts(signature)));
  const std::size_t there = listing.files.size();
  const std::uint64_t fit = kSamplesMax.count / gate::sample_size(plan);
  const auto files = chosen(std::move(listing.files), std::min<std::uint64_t>(plan.count_max, fit));
  options.says("pictures: " + gate::text_of(plan));
  if (!plan.guessed.empty()) options.says(plan.guessed);
  if (files.size() < there)
    options.says(
        "of " + std::to_string(there) + " pictures " + std::to_string(files.size()) + " are taken, evenly" +
        (files.size() == plan.count_max ? "; --pictures 'count=N' says how many" : ": more do not fit into " + to_text(kSamplesMax)));
  Reading reading(folder, plan, options, files.size());
  for (const File& file : files) TRY_VOID(reading.add(file));
  TRY_VOID(reading.decode());
  if (reading.bad_count() > kNamedMax) options.says("and " + std::to_string(reading.bad_count() - kNamedMax) + " more are left out");
  const std::int64_t first = plan.input.shape[0];
  const std::size_t rows = first > 0 ? static_cast<std::size_t>(first) : 1, count = reading.folders.size() / rows * rows;
  if (count == 0)
    return fail(Code::invalid_argument,
                "no picture of '" + folder + "' can be taken: the model takes " + std::to_string(rows) + " at a time");
  gate::Array pixels{.name = plan.input.name, .datatype = plan.input.datatype, .shape = plan.input.shape, .data = std::move(reading.data)};
  pixels.data.resize(count * gate::sample_size(plan));
  const auto high = static_cast<std::int64_t>(plan.height), wide = static_cast<std::int64_t>(plan.width);
  pixels.shape[0] = static_cast<std::int64_t>(count);
  const std::size_t at = pixels.shape.size() == 4 && !plan.channels_last ? 2 : 1;
  pixels.shape[at] = high;
  pixels.shape[at + 1] = wide;
  std::vector<gate::Array> arrays;
  arrays.push_back(std::move(pixels));
  TRY(gate::Samples samples, gate::fit_arrays(std::move(arrays), signature));
  if (!listing.folders.empty())
    for (std::size_t i = 0; i < count; ++i) samples.labels.push_back(labels[reading.folders[i]]);
  samples.preparation = gate::text_of(plan);
  return samples;
}

}  // namespace mayfly::app
