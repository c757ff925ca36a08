#include "worker/unpack.h"

#include <archive.h>
#include <archive_entry.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <sstream>

namespace mayfly::worker {
namespace {

namespace fs = std::filesystem;

struct Item {
  std::string path, text;
  int kind = AE_IFREG;
  std::string link;
  int mode = 0644;
};

class Unpack : public testing::Test {
 protected:
  Unpack() : root_(fs::temp_directory_path() / ("mayfly-unpack-" + std::to_string(::getpid()))) {
    fs::remove_all(root_);
    fs::create_directories(root_ / "out");
  }
  ~Unpack() override { fs::remove_all(root_); }

  void write(const std::vector<Item>& items) {
    archive* out = archive_write_new();
    archive_write_set_format_pax(out);
    archive_write_open_filename(out, (root_ / "a").c_str());
    for (const Item& item : items) {
      archive_entry* entry = archive_entry_new();
      archive_entry_set_pathname(entry, item.path.c_str());
      archive_entry_set_filetype(entry, static_cast<unsigned>(item.kind));
      archive_entry_set_perm(entry, static_cast<unsigned>(item.mode));
      archive_entry_set_size(entry, static_cast<la_int64_t>(item.text.size()));
      if (!item.link.empty()) archive_entry_set_symlink(entry, item.link.c_str());
      archive_write_header(out, entry);
      archive_write_data(out, item.text.data(), item.text.size());
      archive_entry_free(entry);
    }
    archive_write_close(out);
    archive_write_free(out);
  }

  // In a process of its own, as ever: it changes its folder and its locale.
  std::string unpack(const UnpackLimits& limits = {.bytes_max = 1 << 20}) {
    const fs::path said = root_ / "said";
    const int child = ::fork();
    if (child == 0) {
      const auto done = unpack_archive((root_ / "a").string(), (root_ / "out").string(), limits);
      std::ofstream(said) << (done ? "" : done.error().message) << std::flush;
      ::_exit(0);
    }
    ::waitpid(child, nullptr, 0);
    std::ostringstream text;
    text << std::ifstream(said).rdbuf();
    return text.str();
  }

  fs::path root_;
};

TEST_F(Unpack, FilesFoldersAndLinksInside) {
  write({{.path = "./a/b.txt", .text = "hello"},
         {.path = "run", .text = "#!", .mode = 0700}, {.path = "bootstrap", .text = "x", .mode = 0600},
         {.path = "a/to", .kind = AE_IFLNK, .link = "../run"}, {.path = "s", .text = "", .mode = 06755}});
  EXPECT_EQ(unpack(), "");
  EXPECT_EQ(fs::file_size(root_ / "out/a/b.txt"), 5U);
  EXPECT_EQ(fs::status(root_ / "out/a/b.txt").permissions(), fs::perms(0644));
  EXPECT_EQ(fs::status(root_ / "out/run").permissions(), fs::perms(0755));
  EXPECT_EQ(fs::status(root_ / "out/bootstrap").permissions(), fs::perms(0755)) << "its name says that it is run";
  EXPECT_EQ(fs::status(root_ / "out/s").permissions(), fs::perms(0755)) << "setuid and setgid are dropped";
  EXPECT_EQ(fs::read_symlink(root_ / "out/a/to"), "../run");
}

TEST_F(Unpack, WhatLeadsOutIsRefused) {
  const std::vector<Item> out[] = {{{.path = "../x"}},          {{.path = "/etc/x"}},
                                   {{.path = "a/../../x"}},     {{.path = "l", .kind = AE_IFLNK, .link = "/etc"}},
                                   {{.path = "a/l", .kind = AE_IFLNK, .link = "../../x"}}};
  for (const auto& items : out) {
    write(items);
    EXPECT_NE(unpack().find("leads out of the package"), std::string::npos) << items[0].path;
  }
  EXPECT_FALSE(fs::exists(root_ / "x"));
  write({{.path = "d", .kind = AE_IFLNK, .link = "e"}, {.path = "d/x", .text = "through a link"}});
  EXPECT_NE(unpack(), "");
}

TEST_F(Unpack, OfALayerLinksMayLeadAnywhere) {
  const UnpackLimits layer{.bytes_max = 1 << 20, .layer = true};
  write({{.path = "l", .kind = AE_IFLNK, .link = "/etc/passwd"}, {.path = "a/.wh.b"}, {.path = "suid", .mode = 06755}});
  EXPECT_EQ(unpack(layer), "");
  EXPECT_EQ(fs::read_symlink(root_ / "out/l"), "/etc/passwd");
  EXPECT_TRUE(fs::exists(root_ / "out/a/.wh.b"));
  EXPECT_EQ(fs::status(root_ / "out/suid").permissions(), fs::perms(0755));
  const std::vector<Item> out[] = {{{.path = "../x"}}, {{.path = "/etc/x"}}, {{.path = "n", .kind = AE_IFCHR}},
                                   {{.path = "p", .kind = AE_IFIFO}},
                                   {{.path = "d", .kind = AE_IFLNK, .link = root_.string()}, {.path = "d/x", .text = "through"}}};
  for (const auto& items : out) {
    write(items);
    EXPECT_NE(unpack(layer), "") << items[0].path;
  }
  EXPECT_FALSE(fs::exists(root_ / "x"));
}

TEST_F(Unpack, ItsLimitsHold) {
  write({{.path = "a", .text = std::string(700'000, 'a')}, {.path = "b", .text = std::string(700'000, 'b')}});
  EXPECT_NE(unpack().find("more than the 1"), std::string::npos);
  write({{.path = "1"}, {.path = "2"}, {.path = "3"}});
  EXPECT_NE(unpack({.bytes_max = 100, .entries_max = 2}).find("more than 2 entries"), std::string::npos);
}

TEST_F(Unpack, WhatIsNoArchiveIsRefused) {
  std::ofstream(root_ / "a") << "not an archive, by any means";
  EXPECT_NE(unpack().find("neither a zip nor a tar"), std::string::npos);
  write({});
  EXPECT_NE(unpack(), "");
}

}  // namespace
}  // namespace mayfly::worker
