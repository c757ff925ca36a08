#include "app/detail/image_source.h"

#include <archive_entry.h>
#include <unistd.h>

#include <filesystem>

#include "app/pack.h"
#include "domain/container_image.h"
#include "os/disk.h"
#include "worker/archive.h"

namespace mayfly::app {
namespace {

namespace fs = std::filesystem;
using domain::quotes_around;
using domain::wrong_image;

constexpr std::size_t kEntriesMax = 100'000;

std::unexpected<Error> too_large(const std::string& path) {
  return wrong_image(quotes_around(path) + " of the image has more than 4 MiB: it is no description");
}

class FolderSource final : public ImageSource {
 public:
  explicit FolderSource(fs::path root) : root_(std::move(root)) {}
  bool has(const std::string& path) const override {
    std::error_code error;
    return fs::is_regular_file(root_ / path, error);
  }
  Result<std::string> text(const std::string& path) override {
    if (!has(path)) return missing_in_image(path);
    std::error_code error;
    if (fs::file_size(root_ / path, error) > domain::kImageTextMax) return too_large(path);
    return os::read_file((root_ / path).string(), Bytes{domain::kImageTextMax});
  }
  Result<std::map<std::string, Blob>> files(const std::vector<std::string>& paths) override {
    std::map<std::string, Blob> found;
    for (const std::string& path : paths) {
      if (!has(path)) return missing_in_image(path);
      std::error_code error;
      found.emplace(path, Blob{.location = (root_ / path).string(), .size = fs::file_size(root_ / path, error), .held = {}});
    }
    return found;
  }

 private:
  const fs::path root_;
};

class ArchiveSource final : public ImageSource {
 public:
  static Result<std::unique_ptr<ImageSource>> open(std::string path) {
    auto source = std::make_unique<ArchiveSource>();
    source->path_ = std::move(path);
    TRY_VOID(source->each([&](const std::string& name, archive*, archive_entry* entry) -> Result<bool> {
      if (source->names_.size() == kEntriesMax) return wrong_image("the image has more than 100,000 entries: is it an image?");
      const char* to = archive_entry_filetype(entry) == AE_IFLNK ? archive_entry_symlink(entry) : archive_entry_hardlink(entry);
      const bool hard = archive_entry_hardlink(entry) != nullptr;
      const fs::path target = !to ? fs::path() : hard ? fs::path(to) : fs::path(name).parent_path() / to;
      source->names_.emplace(name, target.lexically_normal().string());
      return true;
    }));
    return source;
  }
  bool has(const std::string& path) const override { return names_.contains(path); }
  Result<std::string> text(const std::string& path) override {
    std::string text;
    TRY(const std::string real, real_name(path));
    TRY_VOID(each([&](const std::string& name, archive* in, archive_entry*) -> Result<bool> {
      if (name != real) return true;
      text.resize(domain::kImageTextMax + 1);
      const la_ssize_t got = archive_read_data(in, text.data(), text.size());
      if (got < 0) return damaged(in);
      text.resize(static_cast<std::size_t>(got));
      return false;
    }));
    if (text.size() > domain::kImageTextMax) return too_large(path);
    return text;
  }
  Result<std::map<std::string, Blob>> files(const std::vector<std::string>& paths) override {
    std::map<std::string, std::vector<std::string>> wanted;      // by the name that holds the bytes
    for (const std::string& path : paths) {
      TRY(const std::string real, real_name(path));
      wanted[real].push_back(path);
    }
    std::map<std::string, Blob> found;
    TRY_VOID(each([&](const std::string& name, archive* in, archive_entry*) -> Result<bool> {
      const auto at = wanted.find(name);
      if (at == wanted.end()) return true;
      TRY(os::Fd file, nameless_file());
      if (archive_read_data_into_fd(in, file.get()) < ARCHIVE_WARN) return damaged(in);
      const off_t size = ::lseek(file.get(), 0, SEEK_END);
      if (size < 0) return fail(os::os_error("lseek"));
      const std::string location = "/proc/self/fd/" + std::to_string(file.get());
      for (const std::string& path : at->second)       // the first keeps the file
        found.emplace(path, Blob{.location = location, .size = static_cast<std::uint64_t>(size), .held = std::move(file)});
      wanted.erase(at);
      return !wanted.empty();
    }));
    return found;
  }

 private:
  std::unexpected<Error> damaged(archive* in) {
    return wrong_image("the image " + quotes_around(path_) + " is damaged: " + worker::reason_of(in));
  }

  // Behind at most one link: older Docker wrote a layer that it had already as one.
  Result<std::string> real_name(const std::string& path) {
    const auto at = names_.find(path);
    if (at == names_.end()) return missing_in_image(path);
    if (at->second.empty()) return path;
    const auto to = names_.find(at->second);
    if (to == names_.end() || !to->second.empty()) return wrong_image("the link " + quotes_around(path) + " leads to nothing in the image");
    return to->first;
  }

  // Until `visit` says false.
  template <class Visit>
  Result<void> each(const Visit& visit) {
    const auto opened = worker::open_archive(path_);
    if (!opened) return wrong_image(quotes_around(path_) + " is no image: no tar archive, or damaged: " + opened.error().message);
    archive* const in = opened->get();
    archive_entry* entry = nullptr;
    int got = 0;
    while ((got = archive_read_next_header(in, &entry)) != ARCHIVE_EOF) {
      if (got < ARCHIVE_WARN) return damaged(in);
      const char* text = archive_entry_pathname(entry);
      std::string name = text ? text : "";
      if (name.starts_with("./")) name.erase(0, 2);
      if (archive_entry_filetype(entry) == AE_IFDIR || name.empty()) continue;
      TRY(const bool more, visit(name, in, entry));
      if (!more) return {};
    }
    return {};
  }

  std::string path_;
  std::map<std::string, std::string> names_;           // to where a link leads, "" of a file
};

}  // namespace

std::unexpected<Error> missing_in_image(const std::string& path) {
  return wrong_image("the image has no " + quotes_around(path) + ", which it names: it is not whole");
}

Result<std::unique_ptr<ImageSource>> open_image_folder(const std::string& path) { return std::make_unique<FolderSource>(path); }
Result<std::unique_ptr<ImageSource>> open_image_archive(const std::string& path) { return ArchiveSource::open(path); }

}  // namespace mayfly::app
