// Any USER with any accounts: what is found is within the limits, and the same once more.
#include <algorithm>
#include <cstdint>
#include <string_view>

#include "base/assert.h"
#include "worker/container_user.h"

extern "C" const char* const* mayfly_fuzz_seeds() {
  static constexpr const char* kSeeds[] = {
      "app\x1e"
      "app:x:1234:1300:App:/srv/app:/bin/sh\n\x1e"
      "app:x:1300:\nstaff:x:50:other,app\n",
      "1234:50\x1e"
      "root:x:0:0::/:\n\x1e"
      "staff:x:50:app\n",
      "app:staff\x1e"
      "app:x:1:1::/\r\n\x1e"
      "staff:x:2:",
      "2147483647\x1e\x1e", nullptr};
  return kSeeds;
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace mayfly::worker;
  std::string_view rest(reinterpret_cast<const char*>(data), size), parts[3];
  for (std::string_view& part : parts) {
    part = rest.substr(0, rest.find('\x1e'));
    rest.remove_prefix(std::min(part.size() + 1, rest.size()));
  }
  const auto user = find_user(parts[0], parts[1], parts[2]);
  if (!user) {
    ASSERT(!user.error().message.empty() && user.error().message.size() < 300, "an error says what, in a line");
    return 0;
  }
  ASSERT(user->uid <= kUserNumberMax && user->gid <= kUserNumberMax && user->groups.size() <= kUserGroupsMax, "numbers have limits");
  ASSERT(!user->home.empty() && user->home.find('\0') == std::string::npos, "a home is a text");
  for (const std::uint32_t group : user->groups)
    ASSERT(group <= kUserNumberMax && group != user->gid && std::ranges::count(user->groups, group) == 1, "each group once");
  ASSERT(*user == *find_user(parts[0], parts[1], parts[2]), "the same texts say the same");
  return 0;
}
