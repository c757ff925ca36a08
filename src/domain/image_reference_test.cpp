#include "domain/image_reference.h"

#include <gtest/gtest.h>

namespace mayfly::domain {
namespace {

const std::string kDigest(64, 'a');

TEST(ImageReference, IsARegistryANameAndATagOrADigest) {
  const auto said = [](std::string_view text) {
    const auto read = parse_image_reference(text);
    return read ? read->registry + "|" + read->repository + "|" + read->tag + "|" + read->digest : read.error().message;
  };
  EXPECT_EQ(said("registry.example/shop/cart:1.0"), "registry.example|shop/cart|1.0|");
  EXPECT_EQ(said("docker://Registry.Example:5000/cart"), "registry.example:5000|cart|latest|");
  EXPECT_EQ(said("123456789012.dkr.ecr.eu-central-1.amazonaws.com/a_b/c__d/e-f.g:latest"),
            "123456789012.dkr.ecr.eu-central-1.amazonaws.com|a_b/c__d/e-f.g|latest|");
  EXPECT_EQ(said("localhost/x@sha256:" + kDigest), "localhost|x||" + kDigest);
  EXPECT_EQ(said("[::1]:5000/x:_T.a-g@sha256:" + kDigest), "[::1]:5000|x|_T.a-g|" + kDigest);
  EXPECT_EQ(said("docker.io/nginx"), "docker.io|library/nginx|latest|");
  EXPECT_EQ(said("docker.io/me/nginx:1"), "docker.io|me/nginx|1|");
}

TEST(ImageReference, IsWrittenAsItIsRead) {
  for (const std::string& text : {std::string("a.b/c:d"), "a.b:1/c/d@sha256:" + kDigest, "a.b/c:d@sha256:" + kDigest}) {
    const auto read = parse_image_reference(text);
    ASSERT_TRUE(read) << text;
    EXPECT_EQ(read->text(), text);
    EXPECT_EQ(read->resolved(kDigest), read->registry + "/" + read->repository + "@sha256:" + kDigest);
  }
}

TEST(ImageReference, WhatIsNoneIsRefused) {
  for (const std::string& text :
       {std::string(), std::string("nginx"), std::string("shop/cart"), std::string("a.b"), std::string("a.b/"), std::string("a.b//c"),
        std::string("a.b/C"), std::string("a.b/c:"), std::string("a.b/c:-x"), std::string("a.b/c:" + std::string(129, 'x')),
        std::string("a.b/../c"), std::string("a.b/c/"), std::string("a.b/c___d"), std::string("a.b/.c"), std::string("a.b/c..d"),
        std::string("a.b/c d"), std::string("a.b/c%2f"), std::string("a.b/c?x=y"), std::string("a.b/c#x"), std::string("a.b/c:x\r\nX: y"),
        std::string("u@a.b/c"), std::string("a.b:0/c"), std::string("a.b:70000/c"), std::string("a.b:x/c"), std::string("-a.b/c"),
        std::string("a..b/c"), std::string("[::1/c"), std::string("[::1]x/c"), std::string("http://a.b/c"), std::string("a.b/c@sha256:12"),
        std::string("a.b/c@sha512:" + kDigest), std::string("a.b/c@sha256:" + std::string(64, 'A')), "a.b/" + std::string(256, 'c'),
        std::string("a.b/c\0d", 7), "a.b/" + std::string(2000, 'c')})
    EXPECT_FALSE(parse_image_reference(text)) << text;
}

}  // namespace
}  // namespace mayfly::domain
