// A folder that is empty when a test begins and gone when it ends; and a child that is killed.
#pragma once
#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <functional>
#include <string>

#include "base/assert.h"

namespace mayfly::store {

class TestFolder {
 public:
  TestFolder() {
    std::string name = (std::filesystem::temp_directory_path() / "mayfly-store-XXXXXX").string();
    ASSERT(::mkdtemp(name.data()) != nullptr, "a temporary folder can be made");
    path_ = name;
  }
  ~TestFolder() { std::filesystem::remove_all(path_); }
  TestFolder(const TestFolder&) = delete;
  TestFolder& operator=(const TestFolder&) = delete;
  operator const std::string&() const { return path_; }
  std::string operator/(const std::string& name) const { return path_ + "/" + name; }

 private:
  std::string path_;
};

// A child process that runs `work`, which should not end by itself.
inline pid_t start_child(const std::function<void()>& work) {
  const pid_t child = ::fork();
  ASSERT(child >= 0, "a test can fork");
  if (child == 0) {
    work();
    ::_exit(9);
  }
  return child;
}

}  // namespace mayfly::store
