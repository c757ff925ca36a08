// Opening a zip or a tar to read it: for who unpacks one in a sandbox (worker/unpack.h), and for the command line, which looks for the
// manifest in what its own user names. By libarchive; only formats that it reads by itself, as others start programs.
#pragma once
#include <archive.h>

#include <memory>
#include <string>

#include "base/result.h"

namespace mayfly::worker {

struct FreeArchive {
  void operator()(archive* a) const { archive_free(a); }
};
using Archive = std::unique_ptr<archive, FreeArchive>;

inline std::string reason_of(archive* of) {
  const char* text = archive_error_string(of);
  return text ? text : "it is damaged";
}

// A zip with its directory, a tar plain or with gzip, bzip2, xz or zstd. An error is the library's reason.
[[nodiscard]] inline Result<Archive> open_archive(const std::string& path) {
  constexpr std::size_t kReadBlock = 64 * 1024;
  Archive in(archive_read_new());
  for (const auto support : {archive_read_support_filter_gzip, archive_read_support_filter_bzip2, archive_read_support_filter_xz,
                             archive_read_support_filter_zstd, archive_read_support_format_zip_seekable, archive_read_support_format_tar})
    support(in.get());
  if (archive_read_open_filename(in.get(), path.c_str(), kReadBlock) == ARCHIVE_OK) return in;
  return fail(Code::invalid_argument, reason_of(in.get()));
}

// Any file as one entry: its bytes without gzip, bzip2, xz or zstd around them.
[[nodiscard]] inline Result<Archive> open_unzipped(const std::string& path) {
  constexpr std::size_t kReadBlock = 64 * 1024;
  Archive in(archive_read_new());
  for (const auto support : {archive_read_support_filter_gzip, archive_read_support_filter_bzip2, archive_read_support_filter_xz,
                             archive_read_support_filter_zstd, archive_read_support_format_raw, archive_read_support_format_empty})
    support(in.get());
  if (archive_read_open_filename(in.get(), path.c_str(), kReadBlock) == ARCHIVE_OK) return in;
  return fail(Code::invalid_argument, reason_of(in.get()));
}

}  // namespace mayfly::worker
