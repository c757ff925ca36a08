#include "store/deploys.h"

#include <gtest/gtest.h>

#include "store/test_folder.h"

namespace mayfly::store {
namespace {

TEST(Deploys, WhatIsPutIsThereAfterAReopen) {
  const TestFolder folder;
  const std::string path = folder / "deploys.db";
  const StoredObject object{.bucket = "b", .key = "a/../b", .sha256 = std::string(64, 'a'), .size = 5_KiB, .etag = "e", .headers = "{}",
                            .modified = {std::chrono::microseconds(7)}};
  {
    auto deploys = Deploys::open(path);
    ASSERT_TRUE(deploys) << deploys.error().message;
    ASSERT_TRUE(deploys->change_objects({object}, {}));
    StoredObject other = object;
    other.key = "gone";
    ASSERT_TRUE(deploys->change_objects({other}, {}));
    ASSERT_TRUE(deploys->change_objects({}, {other}));
    ASSERT_TRUE(deploys->put_stack({"id", "one"}));
    ASSERT_TRUE(deploys->put_stack({"id", "two"}));
    ASSERT_TRUE(deploys->put_stack({"left", "three"}));
    ASSERT_TRUE(deploys->remove_stack("left"));
  }
  auto deploys = Deploys::open(path);
  const auto objects = deploys->load_objects();
  ASSERT_TRUE(objects && objects->size() == 1U);
  EXPECT_EQ((*objects)[0].key + (*objects)[0].sha256 + (*objects)[0].etag, "a/../b" + object.sha256 + "e");
  EXPECT_EQ((*objects)[0].size, 5_KiB);
  const auto stacks = deploys->load_stacks();
  ASSERT_TRUE(stacks && stacks->size() == 1U);
  EXPECT_EQ((*stacks)[0].document, "two");
  std::unordered_set<std::string> names;
  ASSERT_TRUE(add_object_artifacts(path, names));
  EXPECT_EQ(names, std::unordered_set<std::string>{object.sha256});
}

}  // namespace
}  // namespace mayfly::store
