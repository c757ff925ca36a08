// What makes a runtime's next starts quicker and is made once, behind a deploy: a start is watched in a sandbox of its own, and what it
// loaded is written to a folder that instances see read-only (worker/start_cache.h). The order of that is JSON, as domain/build.h's.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace mayfly::domain {

enum class StartCacheKind : std::uint8_t {
  class_data,     // Java's: the classes that a start loads, parsed and laid out (application class-data sharing)
  compile_cache,  // Node.js's: the byte code of the modules that a start loads
};
[[nodiscard]] std::string_view name(StartCacheKind kind);

struct StartCacheOrder {
  StartCacheKind kind{};
  std::string code;                // a CodeOrder, as JSON: the start that is watched
  std::vector<std::string> dump;   // class_data: what makes the archive, the program first
  std::vector<std::string> environment;  // … its own, "NAME=value"
  std::int64_t time_ms = 0;        // for all of it
};

constexpr std::size_t kStartCacheOrderMax = 60 * 1024;            // bytes of its JSON: it travels in one packet
constexpr std::uint64_t kStartCacheMax = std::uint64_t{1} << 30;  // bytes of what is made
constexpr const char* kStartCachePlace = "/var/start-cache";      // in sandboxes: written to where it is made, else read-only
constexpr const char* kClassData = "classes.jsa";                 // in it
constexpr const char* kClassDataSize = "classes.size";            // … and its bytes, in decimal: a JVM dies of one that is cut short
constexpr const char* kClassList = "/tmp/mayfly-classes";         // where it is made: what the start loaded
constexpr const char* kFlushFile = "/tmp/mayfly-flush";           // … there until Node.js has written its cache

[[nodiscard]] std::string to_json(const StartCacheOrder& order);
[[nodiscard]] Result<StartCacheOrder> parse_start_cache_order(std::string_view json);

}  // namespace mayfly::domain
