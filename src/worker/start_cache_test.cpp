#include "worker/start_cache.h"

#include <archive.h>
#include <archive_entry.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

namespace mayfly::worker {
namespace {

namespace fs = std::filesystem;

class StartCache : public testing::Test {
 protected:
  StartCache() : root_(fs::temp_directory_path() / ("mayfly-start-cache-" + std::to_string(::getpid()))) {
    fs::remove_all(root_);
    fs::remove_all(built_);
    fs::create_directories(root_ / "lib");
  }
  ~StartCache() override {
    fs::remove_all(root_);
    fs::remove_all(built_);
  }
  void write(const std::string& path) {
    fs::create_directories((root_ / path).parent_path());
    std::ofstream(root_ / path) << "text";
  }
  void write_jar(const std::string& path, const std::vector<std::string>& names) {
    archive* out = archive_write_new();
    archive_write_set_format_zip(out);
    archive_write_open_filename(out, (root_ / path).c_str());
    for (const std::string& name : names) {
      archive_entry* entry = archive_entry_new();
      archive_entry_set_pathname(entry, name.c_str());
      archive_entry_set_filetype(entry, name.ends_with('/') ? AE_IFDIR : AE_IFREG);
      archive_entry_set_perm(entry, 0644);
      archive_entry_set_size(entry, 0);
      archive_write_header(out, entry);
      archive_entry_free(entry);
    }
    archive_write_close(out);
    archive_write_free(out);
  }
  std::string found() {
    const auto shadowed = find_shadowed(root_.string(), built_.string());
    return shadowed ? *shadowed : "error: " + shadowed.error().message;
  }
  const fs::path root_, built_{root_.string() + "-built"};
};

TEST_F(StartCache, AFileThatAJarHoldsToo) {
  write("example/Own.class");
  write("settings.properties");
  write_jar("lib/a.jar", {"example/", "example/Other.class", "META-INF/versions/17/example/Third.class"});
  EXPECT_EQ(found(), "") << "folders and other classes are no matter";
  write_jar("lib/b.jar", {"settings.properties"});
  EXPECT_EQ(found(), "settings.properties");
}

TEST_F(StartCache, AlsoForANewerJavaAndInAJarOfAnyFolder) {
  write("example/Own.class");
  write_jar("lib/a.jar", {"META-INF/versions/17/example/Own.class"});
  EXPECT_EQ(found(), "example/Own.class");
  fs::remove(root_ / "lib/a.jar");
  write_jar("more.jar", {"example/Own.class"});
  EXPECT_EQ(found(), "example/Own.class") << "a manifest may name it";
}

TEST_F(StartCache, InWhatWasBuiltOfIt) {
  write("src/main/resources/settings.properties");
  fs::create_directories(built_ / "lib");
  write_jar("../" + built_.filename().string() + "/lib/own.jar", {"settings.properties"});
  EXPECT_EQ(found(), "");
  write("settings.properties");
  EXPECT_EQ(found(), "settings.properties");
}

TEST_F(StartCache, BehindALinkThereMayBeAnything) {
  fs::create_directory_symlink("lib", root_ / "example");
  EXPECT_EQ(found(), "example");
}

TEST_F(StartCache, AJarThatIsNone) {
  write("lib/broken.jar");
  EXPECT_TRUE(found().starts_with("error: ")) << found();
}

}  // namespace
}  // namespace mayfly::worker
