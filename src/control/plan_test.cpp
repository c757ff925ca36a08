// What a model may take of memory, and whether its weights are packed: tables of sizes.
#include "control/plan.h"

#include <gtest/gtest.h>

namespace mayfly::control {
namespace {

domain::Version version_of(Bytes memory, Bytes compiled, domain::Tuning tuning = {}) {
  domain::Version version{.number = 1, .files = {{.path = "model.onnx", .sha256 = std::string(64, 'a'), .size = compiled}}};
  version.manifest.model = "model.onnx";
  version.manifest.resources.memory = memory;
  version.compiled = domain::Compiled{.key = "here", .sha256 = std::string(64, 'b'), .size = compiled, .tuning = std::move(tuning)};
  return version;
}

instances::VersionPlan plan(const domain::Version& version, std::string_view key = "here") {
  return plan_of("f", version, key, [](const domain::FileRef& file) { return "/artifacts/" + file.sha256; });
}

TEST(Plan, a_compiled_model_may_have_as_much_of_its_file_in_memory_as_its_limit_says_once_more) {
  EXPECT_EQ(plan(version_of(48_MiB, 30_MiB)).instance.memory_beside, 30_MiB);
  EXPECT_EQ(plan(version_of(48_MiB, 4_GiB)).instance.memory_beside, 48_MiB);
}

TEST(Plan, weights_are_packed_only_where_there_is_room_for_the_copies) {
  const domain::Tuning packs{.pack_weights = true, .pack_cold = true, .own_bytes = 1 << 20, .own_packed_bytes = (30_MiB).count};
  const auto roomy = plan(version_of(64_MiB, 60_MiB, packs)), narrow = plan(version_of(39_MiB, 60_MiB, packs));
  EXPECT_TRUE(roomy.instance.pack_weights && roomy.template_->pack_weights);
  EXPECT_FALSE(narrow.instance.pack_weights || narrow.template_->pack_weights || narrow.forks_run_better);
  EXPECT_EQ(weights_note(version_of(64_MiB, 60_MiB, packs)), "");
  const std::string note = weights_note(version_of(39_MiB, 60_MiB, packs));
  EXPECT_TRUE(note.find("larger than its memory") != std::string::npos && note.find("not packed") != std::string::npos) << note;
  // Measured by an earlier node: by the file's size.
  EXPECT_TRUE(has_room_to_pack(version_of(64_MiB, 64_MiB)));
  EXPECT_FALSE(has_room_to_pack(version_of(64_MiB, 65_MiB)));
}

TEST(Plan, what_does_not_fit_without_its_weights_is_said) {
  const std::string note = weights_note(version_of(16_MiB, 1_GiB, {.own_bytes = (20_MiB).count, .own_packed_bytes = (2_GiB).count}));
  EXPECT_TRUE(note.find("does not fit") != std::string::npos && note.find("raise resources.memory") != std::string::npos) << note;
}

TEST(Plan, as_uploaded_a_model_has_room_for_its_copies_until_it_is_compiled) {
  domain::Version version = version_of(48_MiB, 100_MiB);
  const auto uploaded = plan(version, "another machine").instance;
  EXPECT_FALSE(uploaded.compiled || uploaded.pack_weights);
  EXPECT_EQ(uploaded.memory_beside, 300_MiB);
  version.compile_error = "no such operator";
  EXPECT_EQ(plan(version, "another machine").instance.memory_beside, 100_MiB) << "for good: then its limit holds";
  const auto small = plan(version_of(200_MiB, 100_MiB), "another machine").instance;
  EXPECT_TRUE(small.pack_weights);
  EXPECT_EQ(small.memory_beside, 100_MiB);
}

TEST(Plan, weights_in_files_of_their_own_stay_there_where_a_model_is_not_compiled_and_has_no_room_for_copies) {
  domain::Version version = version_of(48_MiB, 1_MiB);
  version.files.push_back({.path = "weights.bin", .sha256 = std::string(64, 'c'), .size = 100_MiB});
  version.compile_error = "over 2 GiB";
  const auto narrow = plan(version, "another machine").instance;
  EXPECT_FALSE(narrow.pack_weights);
  EXPECT_EQ(narrow.memory_beside, 48_MiB) << "of the file, which is more, pages leave as others come";
  version.manifest.resources.memory = 300_MiB;
  const auto roomy = plan(version, "another machine").instance;
  EXPECT_TRUE(roomy.pack_weights);
  EXPECT_EQ(roomy.memory_beside, 101_MiB);
}

TEST(Plan, the_record_of_touched_pages_goes_with_the_compiled_file_alone) {
  const domain::Version version = version_of(48_MiB, 100_MiB, {.working_set = "5731"});
  EXPECT_EQ(plan(version).instance.working_set, "5731");
  EXPECT_EQ(plan(version, "another machine").instance.working_set, "");
}

}  // namespace
}  // namespace mayfly::control
