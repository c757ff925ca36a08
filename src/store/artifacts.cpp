#include "store/artifacts.h"

#include <openssl/evp.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <vector>

#include "base/assert.h"
#include "base/hex.h"
#include "os/disk.h"

namespace mayfly::store {
namespace {

constexpr std::uint64_t kWritebackStep = 4 << 20;

}  // namespace

void Hash::Free::operator()(evp_md_ctx_st* context) const { EVP_MD_CTX_free(context); }

Hash::Hash() : context_(EVP_MD_CTX_new()) {
  ASSERT(context_ && EVP_DigestInit_ex(context_.get(), EVP_sha256(), nullptr) == 1, "OpenSSL has SHA-256");
}

void Hash::update(std::span<const std::byte> bytes) {
  ASSERT(EVP_DigestUpdate(context_.get(), bytes.data(), bytes.size()) == 1, "hashing can't fail");
}

std::string Hash::finish() {
  std::array<unsigned char, 32> digest{};
  ASSERT(EVP_DigestFinal_ex(context_.get(), digest.data(), nullptr) == 1, "hashing can't fail");
  return hex_of(digest);
}

Upload::Upload(const Artifacts& artifacts, std::string path, os::Fd fd)
    : artifacts_(artifacts), path_(std::move(path)), fd_(std::move(fd)) {}

Upload::~Upload() {
  if (!path_.empty()) [[maybe_unused]] const auto removed = os::remove_file(path_);  // else the next start does it
}

Result<void> Upload::append(std::span<const std::byte> bytes) {
  ASSERT(!path_.empty(), "this upload was finished");
  if (error_) return fail(*error_);
  if (auto written = os::write_all(fd_.get(), bytes, path_); !written) {
    error_ = written.error();
    return written;
  }
  size_ += bytes.size();
  if (size_ - written_back_ >= kWritebackStep) {
    os::start_writeback(fd_.get(), written_back_, size_ - written_back_);
    written_back_ = size_;
  }
  hash_.update(bytes);
  return {};
}

Result<domain::FileRef> Upload::finish(std::string_view expected) {
  ASSERT(!path_.empty(), "this upload was finished");
  if (error_) return fail(*error_);
  domain::FileRef file{.sha256 = hash_.finish(), .size = {size_}};
  if (!expected.empty() && file.sha256 != expected)
    return fail(Code::invalid_argument, "it has the SHA-256 " + file.sha256 + ", and should have " + std::string(expected) +
                                            ": it was damaged or changed");
  TRY_VOID(artifacts_.place(path_, fd_.get(), file.sha256));
  path_.clear();
  fd_.reset();
  return file;
}

Result<std::unique_ptr<Artifacts>> Artifacts::open(const std::string& folder) {
  const std::string uploads = folder + "/uploads";
  TRY_VOID(os::make_folder(folder + "/artifacts"));
  TRY_VOID(os::make_folder(uploads));
  TRY_VOID(os::sync_folder(folder));
  TRY(const auto left, os::list_folder(uploads));
  for (const std::string& name : left) TRY_VOID(os::remove_file(uploads + "/" + name));
  return std::make_unique<Artifacts>(folder);
}

Result<std::string> Artifacts::new_file() { return folder_ + "/uploads/" + std::to_string(++made_); }

void Artifacts::drop_file(const std::string& path) { [[maybe_unused]] const auto removed = os::remove_file(path); }

Result<std::unique_ptr<Upload>> Artifacts::begin() {
  TRY(std::string path, new_file());
  TRY(os::Fd fd, os::open_file(path, os::OpenMode::create_new));
  return std::make_unique<Upload>(*this, std::move(path), std::move(fd));
}

Result<std::string> Artifacts::read(std::string_view sha256, Bytes size_max) const { return os::read_file(path_of(sha256), size_max); }

Result<std::string> Artifacts::read_piece(std::string_view sha256, std::uint64_t offset, std::size_t size_max) const {
  return os::read_at(path_of(sha256), offset, size_max);
}

std::string Artifacts::path_of(std::string_view sha256) const {
  ASSERT(is_sha256(sha256), "an artifact's name is a SHA-256 in lower-case hex");
  return folder_ + "/artifacts/" + std::string(sha256.substr(0, 2)) + "/" + std::string(sha256);
}

bool Artifacts::has(std::string_view sha256) const { return is_sha256(sha256) && os::touch_file(path_of(sha256)); }

Result<Bytes> Artifacts::size(std::string_view sha256) const {
  if (!has(sha256))
    return fail(Code::not_found, "there is no artifact '" + std::string(sha256.substr(0, 64)) + "': upload it first (PUT /api/artifacts)");
  TRY(const auto status, os::file_status(path_of(sha256)));
  return status.size;
}

Result<void> Artifacts::place(const std::string& path, int fd, const std::string& sha256) const {
  const std::string target = path_of(sha256), folder = target.substr(0, target.rfind('/'));
  if (has(sha256)) {
    TRY_VOID(os::remove_file(path));
    return os::sync_folder(folder);  // whoever named it may not have come to this yet
  }
  TRY_VOID(os::make_read_only(fd, path));
  TRY_VOID(os::sync_file(fd, path));
  const bool is_new = !os::file_status(folder);
  TRY_VOID(os::make_folder(folder));
  if (is_new) TRY_VOID(os::sync_folder(folder_ + "/artifacts"));
  TRY_VOID(os::rename_file(path, target));
  return os::sync_folder(folder);
}

Result<domain::FileRef> Artifacts::adopt(const std::string& path) {
  TRY(const os::Fd fd, os::open_file(path, os::OpenMode::read_write));
  Hash hash;
  std::uint64_t size = 0;
  std::vector<std::byte> block(1 << 20);
  for (;;) {
    const ssize_t got = ::read(fd.get(), block.data(), block.size());
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return fail(os::os_error("read", path));
    if (got == 0) break;
    hash.update(std::span(block).first(static_cast<std::size_t>(got)));
    size += static_cast<std::uint64_t>(got);
  }
  domain::FileRef file{.sha256 = hash.finish(), .size = {size}};
  if (auto placed = place(path, fd.get(), file.sha256); !placed) {
    drop_file(path);
    return fail(placed.error());
  }
  return file;
}

Result<Collected> Artifacts::collect(const std::unordered_set<std::string>& referenced, WallTime now, Duration grace) {
  Collected collected;
  TRY(const auto folders, os::list_folder(folder_ + "/artifacts"));
  for (const std::string& folder : folders) {
    TRY(const auto names, os::list_folder(folder_ + "/artifacts/" + folder));
    for (const std::string& name : names) {
      if (!is_sha256(name) || referenced.contains(name)) continue;
      const auto status = os::file_status(path_of(name));
      if (!status || now.since_epoch - status->changed.since_epoch < grace) continue;
      TRY_VOID(os::remove_file(path_of(name)));
      ++collected.files;
      collected.size.count += status->size.count;
    }
  }
  return collected;
}

}  // namespace mayfly::store
