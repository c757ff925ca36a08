#include "store/artifacts.h"

#include <gtest/gtest.h>

#include <fstream>

#include "os/clock.h"
#include "os/disk.h"
#include "store/test_folder.h"

namespace mayfly::store {
namespace {

constexpr const char* kAbc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

std::span<const std::byte> bytes(std::string_view text) { return std::as_bytes(std::span(text)); }
std::size_t files_in(const std::string& folder) { return os::list_folder(folder)->size(); }

class ArtifactsTest : public testing::Test {
 protected:
  Result<domain::FileRef> upload(std::string_view text) {
    TRY(const auto upload, artifacts_->begin());
    TRY_VOID(upload->append(bytes(text)));
    return upload->finish();
  }
  TestFolder folder_;
  std::unique_ptr<Artifacts> artifacts_ = *Artifacts::open(folder_);
};

TEST_F(ArtifactsTest, AnUploadIsNamedByItsBytes) {
  auto upload = *artifacts_->begin();
  ASSERT_TRUE(upload->append(bytes("a")));
  ASSERT_TRUE(upload->append(bytes("bc")));
  EXPECT_FALSE(artifacts_->has(kAbc));
  const auto file = upload->finish();
  ASSERT_TRUE(file) << file.error().message;
  EXPECT_EQ(*file, (domain::FileRef{.sha256 = kAbc, .size = {3}}));
  EXPECT_TRUE(artifacts_->has(kAbc));
  EXPECT_EQ(*artifacts_->size(kAbc), Bytes{3});
  EXPECT_EQ(artifacts_->path_of(kAbc), (folder_ / "artifacts/ba/") + kAbc);
  EXPECT_EQ(*os::read_file(artifacts_->path_of(kAbc), 1_KiB), "abc");
  EXPECT_EQ(files_in(folder_ / "uploads"), 0U);
}

TEST_F(ArtifactsTest, TheSameBytesAreKeptOnce) {
  ASSERT_TRUE(upload("abc"));
  const auto again = upload("abc");
  ASSERT_TRUE(again) << again.error().message;
  EXPECT_EQ(again->sha256, kAbc);
  EXPECT_EQ(files_in(folder_ / "artifacts/ba"), 1U);
  EXPECT_EQ(files_in(folder_ / "uploads"), 0U);
}

TEST_F(ArtifactsTest, NothingIsAnArtifactToo) { EXPECT_EQ(*artifacts_->size(upload("")->sha256), Bytes{0}); }

TEST_F(ArtifactsTest, AnAbortedUploadLeavesNothing) {
  {
    auto upload = *artifacts_->begin();
    ASSERT_TRUE(upload->append(bytes("abc")));
    EXPECT_EQ(files_in(folder_ / "uploads"), 1U);
  }
  EXPECT_EQ(files_in(folder_ / "uploads"), 0U);
}

TEST_F(ArtifactsTest, AKilledNodesUploadsAreClearedAtStart) {
  std::ofstream(folder_ / "uploads/7") << "half";
  artifacts_ = *Artifacts::open(folder_);
  EXPECT_EQ(files_in(folder_ / "uploads"), 0U);
}

TEST_F(ArtifactsTest, NamesThatAreNoHashAreNoArtifact) {
  for (const char* bad : {"", "..", "../../../etc/passwd", "BA7816BF8F01CFEA414140DE5DAE2223B00361A396177A9CB410FF61F20015AD"}) {
    EXPECT_FALSE(artifacts_->has(bad));
    EXPECT_EQ(artifacts_->size(bad).error().code, Code::not_found);
  }
}

TEST_F(ArtifactsTest, AFileOfAnotherProcessIsAdopted) {
  const std::string path = *artifacts_->new_file();
  std::ofstream(path) << "abc";
  const auto file = artifacts_->adopt(path);
  ASSERT_TRUE(file) << file.error().message;
  EXPECT_EQ(*file, (domain::FileRef{.sha256 = kAbc, .size = {3}}));
  EXPECT_EQ(files_in(folder_ / "uploads"), 0U);
  EXPECT_EQ(artifacts_->adopt(path).error().code, Code::not_found);
}

TEST_F(ArtifactsTest, OnlyWhatNobodyNamesAndNobodyJustWantedIsCollected) {
  const std::string kept = upload("kept")->sha256, old = upload("old")->sha256;
  auto going_on = *artifacts_->begin();
  ASSERT_TRUE(going_on->append(bytes("going on")));
  const WallTime now = os::wall_now();
  const auto hours_later = [&](int hours) { return WallTime{now.since_epoch + std::chrono::hours(hours)}; };
  EXPECT_EQ(artifacts_->collect({kept}, now, std::chrono::hours(1))->files, 0);
  const auto collected = artifacts_->collect({kept}, hours_later(2), std::chrono::hours(1));
  ASSERT_TRUE(collected);
  EXPECT_EQ(collected->files, 1);
  EXPECT_EQ(collected->size, Bytes{3});
  EXPECT_TRUE(artifacts_->has(kept));
  EXPECT_FALSE(artifacts_->has(old));
  EXPECT_TRUE(going_on->finish());
}

}  // namespace
}  // namespace mayfly::store
