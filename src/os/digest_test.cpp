#include "os/digest.h"

#include <gtest/gtest.h>

namespace mayfly::os {
namespace {

// RFC 6234's and RFC 4231's examples.
TEST(Digest, AreThoseOfTheirStandards) {
  EXPECT_EQ(sha256_hex("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(sha256("abc").substr(0, 3), "\xba\x78\x16");
  EXPECT_EQ(hmac_sha256_chain("Jefe", {"what do ya want for nothing?"}),
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
  EXPECT_EQ(hmac_sha256_chain("k", {"a", "b"}), hmac_sha256_chain(hmac_sha256("k", "a"), {"b"}));
}

TEST(Base64, IsReadAsItWasWritten) {
  constexpr std::string_view kBytes[] = {"", "f", "fo", "foo", {"\0\xff\xfe\0", 4}};
  for (const std::string_view bytes : kBytes) {
    EXPECT_EQ(from_base64(to_base64(bytes)), bytes);
    std::string bare = to_base64(bytes);
    while (bare.ends_with('=')) bare.pop_back();
    EXPECT_EQ(from_base64(bare), bytes) << "padding may be missing";
  }
  EXPECT_EQ(to_base64("foob"), "Zm9vYg==");
  EXPECT_EQ(from_base64("Zm9vYg="), "foob") << "in part, too";
}

TEST(Base64, NothingElseMayBeThere) {
  for (const char* bad : {"Z", "Zm9vY", "Zm9v=Zm9v", "====", "Z===", "Zm 9", " Zm9v", "Zm9v ", "Zm9v\n", "Zm-_", "Zm9\xff"})
    EXPECT_FALSE(from_base64(bad)) << bad;
}

}  // namespace
}  // namespace mayfly::os
