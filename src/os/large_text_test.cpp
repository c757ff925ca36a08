#include "os/large_text.h"

#include <dlfcn.h>
#include <gtest/gtest.h>

#include <fstream>
#include <sstream>
#include <string>

namespace mayfly::os {
namespace {

// The file that the code at this address is mapped from; "" where it is anonymous.
std::string file_of(const void* code) {
  std::ifstream maps("/proc/self/maps");
  for (std::string line; std::getline(maps, line);) {
    std::istringstream in(line);
    std::uintptr_t begin = 0, end = 0;
    char dash = 0;
    std::string access, offset, device, inode, path;
    in >> std::hex >> begin >> dash >> end >> access >> offset >> device >> inode >> path;
    const auto at = reinterpret_cast<std::uintptr_t>(code);
    if (at < begin || at >= end) continue;
    EXPECT_EQ(access, "r-xp") << "code is not written";
    return path;
  }
  ADD_FAILURE() << "the address is not mapped";
  return "";
}

TEST(LargeText, ALibrarysCodeMovesAndRunsOn) {
  const std::string name = "libonnxruntime.so." MAYFLY_ENGINE_VERSION;
  void* library = ::dlopen((MAYFLY_DEPS "/onnxruntime-" MAYFLY_ENGINE_VERSION "/lib/" + name).c_str(), RTLD_NOW | RTLD_LOCAL);
  ASSERT_TRUE(library) << ::dlerror();
  struct Base {
    const void* (*api)(std::uint32_t);
    const char* (*version)();
  };
  const Base* base = reinterpret_cast<const Base* (*)()>(::dlsym(library, "OrtGetApiBase"))();
  ASSERT_NE(file_of(reinterpret_cast<const void*>(base->version)).find(name), std::string::npos);
  const auto moved = move_text_to_large_pages(name);
  ASSERT_TRUE(moved) << moved.error().message;
  EXPECT_GT(*moved, 10u << 20);
  EXPECT_EQ(file_of(reinterpret_cast<const void*>(base->version)), "");
  EXPECT_EQ(base->version(), std::string(MAYFLY_ENGINE_VERSION));
  EXPECT_NE(base->api(1), nullptr);
  EXPECT_EQ(move_text_to_large_pages(name).value(), 0u) << "once";
}

TEST(LargeText, WhatIsNotLoadedIsNotFound) {
  EXPECT_EQ(move_text_to_large_pages("libabsent.so.1").error().code, Code::not_found);
}

}  // namespace
}  // namespace mayfly::os
