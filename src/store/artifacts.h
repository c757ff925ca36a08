// Bytes by their SHA-256: artifacts/ab/abcdef…, read-only, whole and on disk before they have that name.
// What is on its way lies in uploads/, which is emptied at start. Everything but begin(), has(), size(),
// path_of() and new_file() blocks and belongs on a background line; different uploads may be on different
// threads, one upload on one at a time.
#pragma once
#include <atomic>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_set>

#include "base/result.h"
#include "base/time.h"
#include "base/units.h"
#include "domain/function.h"
#include "os/fd.h"

struct evp_md_ctx_st;

namespace mayfly::store {

// SHA-256 in pieces.
class Hash {
 public:
  Hash();
  void update(std::span<const std::byte> bytes);
  [[nodiscard]] std::string finish();  // lower-case hex; once

 private:
  struct Free {
    void operator()(evp_md_ctx_st* context) const;
  };
  std::unique_ptr<evp_md_ctx_st, Free> context_;
};

class Artifacts;

class Upload {
 public:
  Upload(const Artifacts& artifacts, std::string path, os::Fd fd);
  ~Upload();  // not finished: the file goes
  Upload(const Upload&) = delete;
  Upload& operator=(const Upload&) = delete;

  // After an error (a full disk) every later call fails with it too.
  [[nodiscard]] Result<void> append(std::span<const std::byte> bytes);
  // On disk under its name; `path` of the FileRef is "". The last call. Where another SHA-256 was expected, it is not kept.
  [[nodiscard]] Result<domain::FileRef> finish(std::string_view expected = {});
  Bytes size() const { return {size_}; }

 private:
  const Artifacts& artifacts_;
  std::string path_;  // "": finished
  os::Fd fd_;
  Hash hash_;
  std::uint64_t size_ = 0, written_back_ = 0;
  std::optional<Error> error_;
};

struct Collected {
  int files = 0;
  Bytes size;
};

class Artifacts {
 public:
  // In `folder`: artifacts/ and uploads/, made where missing.
  [[nodiscard]] static Result<std::unique_ptr<Artifacts>> open(const std::string& folder);
  explicit Artifacts(std::string folder) : folder_(std::move(folder)) {}

  [[nodiscard]] Result<std::unique_ptr<Upload>> begin();
  // has() and size() keep the artifact from being collected for another hour: time enough to deploy it.
  [[nodiscard]] bool has(std::string_view sha256) const;
  [[nodiscard]] Result<Bytes> size(std::string_view sha256) const;
  [[nodiscard]] Result<std::string> read(std::string_view sha256, Bytes size_max) const;
  [[nodiscard]] std::string path_of(std::string_view sha256) const;
  [[nodiscard]] Result<std::string> read_piece(std::string_view sha256, std::uint64_t offset, std::size_t size_max) const;  // "": its end

  // A path in uploads/ for what another process writes (a compile); then adopt() it, or drop it.
  [[nodiscard]] Result<std::string> new_file();
  void drop_file(const std::string& path);
  [[nodiscard]] Result<domain::FileRef> adopt(const std::string& path);

  // Removes what is not in `referenced` and was last wanted more than `grace` before `now` (a file's time).
  [[nodiscard]] Result<Collected> collect(const std::unordered_set<std::string>& referenced, WallTime now, Duration grace);

  // Names a complete file by its hash and makes that durable. After an error it is still at `path`.
  [[nodiscard]] Result<void> place(const std::string& path, int fd, const std::string& sha256) const;

 private:
  std::string folder_;
  std::atomic<std::uint64_t> made_ = 0;
};

}  // namespace mayfly::store
