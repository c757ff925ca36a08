#include "store/catalog.h"

#include <gtest/gtest.h>

#include "store/detail/sqlite.h"
#include "store/test_folder.h"

namespace mayfly::store {
namespace {

domain::Version sample(const std::string& name) {
  domain::Version version{.created = {std::chrono::microseconds(1'700'000'000'000'000)}};
  version.manifest.name = name;
  version.manifest.model = "model.onnx";
  version.manifest.labels = {"a", "ü"};
  version.files = {{.path = "model.onnx", .sha256 = std::string(64, 'a'), .size = {123}},
                   {.path = "w/1.bin", .sha256 = std::string(64, 'b'), .size = {5'000'000'000}}};
  version.signature = {.inputs = {{.name = "x", .datatype = domain::Datatype::fp32, .shape = {-1, 30}}},
                       .outputs = {{.name = "y\"", .datatype = domain::Datatype::bytes, .shape = {}}}, .batches = true};
  version.notes = {"a \"note\""};
  version.template_allowed = false;
  return version;
}

domain::Compiled compiled_sample() {
  return {.key = "1.28.0 avx2",
          .sha256 = std::string(64, 'c'),
          .size = {77},
          .compile_ns = 12,
          .tuning = {.pack_weights = false,
                     .pack_cold = true,
                     .large_pages = false,
                     .threads = 4,
                     .template_allowed = false,
                     .cold_first_ns = 1,
                     .warm_run_ns = 2,
                     .fork_first_ns = 3,
                     .private_bytes = UINT64_MAX,
                     .own_bytes = 4,
                     .own_packed_bytes = 5,
                     .working_set = "5731"}};
}

class CatalogTest : public testing::Test {
 protected:
  Catalog open() {
    auto catalog = Catalog::open(folder_ / "catalog.db");
    EXPECT_TRUE(catalog) << (catalog ? "" : catalog.error().message);
    return *std::move(catalog);
  }
  Added add(Catalog& catalog, const std::string& name, std::optional<std::string> alias = "live") {
    auto added = catalog.add_version(name, sample(name), alias);
    EXPECT_TRUE(added) << (added ? "" : added.error().message);
    return *added;
  }
  TestFolder folder_;
};

TEST_F(CatalogTest, EverythingReadsBackAfterReopening) {
  Added first, second;
  {
    Catalog catalog = open();
    first = add(catalog, "fraud");
    second = add(catalog, "fraud", "candidate");
    EXPECT_TRUE(catalog.set_compiled(first.version, compiled_sample()));
    EXPECT_TRUE(catalog.set_compile_error(second.version, "no room"));
    add(catalog, "digits", std::nullopt);
  }
  Catalog catalog = open();
  const auto functions = catalog.load();
  ASSERT_TRUE(functions) << functions.error().message;
  ASSERT_EQ(functions->size(), 2U);
  const domain::Function& fraud = functions->front();
  EXPECT_EQ(fraud.name, "fraud");
  EXPECT_EQ(fraud.created, sample("").created);
  ASSERT_EQ(fraud.versions.size(), 2U);
  const domain::Version& version = fraud.versions[0];
  EXPECT_EQ(version.id, first.version);
  EXPECT_EQ(version.function, first.function);
  EXPECT_EQ(version.number, 1);
  EXPECT_EQ(version.created, sample("").created);
  EXPECT_EQ(version.manifest, sample("fraud").manifest);
  EXPECT_EQ(version.files, sample("fraud").files);
  EXPECT_EQ(version.signature, sample("fraud").signature);
  EXPECT_EQ(version.notes, sample("fraud").notes);
  EXPECT_FALSE(version.template_allowed);
  EXPECT_EQ(version.compiled, compiled_sample());
  EXPECT_EQ(fraud.versions[1].number, 2);
  EXPECT_EQ(fraud.versions[1].compiled, std::nullopt);
  EXPECT_EQ(fraud.versions[1].compile_error, "no room");
  EXPECT_EQ(fraud.aliases, (std::vector<domain::Alias>{{.name = "candidate", .weights = {{2, 1}}}, {.name = "live", .weights = {{1, 1}}}}));
  EXPECT_EQ(functions->back().aliases, (std::vector<domain::Alias>{{.name = "live", .weights = {{1, 1}}}}));
}

TEST_F(CatalogTest, AnAliasRemembersWhereItWas) {
  Catalog catalog = open();
  add(catalog, "f");
  const Added second = add(catalog, "f");
  EXPECT_EQ(second.number, 2);
  EXPECT_EQ(second.aliases, (std::vector<domain::Alias>{{.name = "live", .weights = {{2, 1}}, .before = {{1, 1}}}}));
  const domain::Alias split{.name = "live", .weights = {{1, 0.95}, {2, 0.05}}, .before = {{2, 1}}};
  ASSERT_TRUE(catalog.set_alias(second.function, split));
  EXPECT_EQ(catalog.load()->front().aliases, std::vector{split});
  ASSERT_TRUE(catalog.remove_alias(second.function, "live"));
  EXPECT_EQ(catalog.remove_alias(second.function, "live").error().code, Code::not_found);
}

TEST_F(CatalogTest, IdsAndNumbersAreNeverUsedAgain) {
  Catalog catalog = open();
  const Added first = add(catalog, "f"), second = add(catalog, "f");
  ASSERT_TRUE(catalog.remove_version(second.version));
  const Added third = add(catalog, "f");
  EXPECT_EQ(third.number, 3);
  EXPECT_GT(third.version, second.version);
  ASSERT_TRUE(catalog.remove_function(first.function));
  EXPECT_TRUE(catalog.load()->empty());
  const Added again = add(catalog, "f");
  EXPECT_EQ(again.number, 1);
  EXPECT_GT(again.function, first.function);
  EXPECT_GT(again.version, third.version);
  EXPECT_EQ(*catalog.name_of(first.function), "f");
}

TEST_F(CatalogTest, WhatIsGoneCantBeChanged) {
  Catalog catalog = open();
  const Added added = add(catalog, "f");
  ASSERT_TRUE(catalog.remove_function(added.function));
  EXPECT_EQ(catalog.set_compiled(added.version, compiled_sample()).error().code, Code::not_found);
  EXPECT_EQ(catalog.set_compile_error(added.version, "x").error().code, Code::not_found);
  EXPECT_EQ(catalog.remove_version(added.version).error().code, Code::not_found);
  EXPECT_EQ(catalog.remove_function(added.function).error().code, Code::not_found);
  EXPECT_FALSE(catalog.set_alias(added.function, {.name = "live", .weights = {{1, 1}}}));
  EXPECT_TRUE(referenced_artifacts(folder_ / "catalog.db")->empty());
}

TEST_F(CatalogTest, EveryArtifactOfAVersionIsReferenced) {
  Catalog catalog = open();
  const Added added = add(catalog, "f");
  EXPECT_EQ(*referenced_artifacts(folder_ / "catalog.db"), (std::unordered_set{std::string(64, 'a'), std::string(64, 'b')}));
  ASSERT_TRUE(catalog.set_compiled(added.version, compiled_sample()));
  EXPECT_EQ(referenced_artifacts(folder_ / "catalog.db")->size(), 3U);
}

// The schema of the first release, as it wrote it.
TEST_F(CatalogTest, AFirstReleasesFileIsBroughtUpToDate) {
  {
    auto old = Database::open(folder_ / "catalog.db", Database::Sync::full);
    ASSERT_TRUE(old);
    const auto made = (*old)->execute(R"(
      CREATE TABLE functions (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL UNIQUE,
        created_us INTEGER NOT NULL, numbers INTEGER NOT NULL DEFAULT 0);
      CREATE TABLE versions (id INTEGER PRIMARY KEY AUTOINCREMENT, function INTEGER NOT NULL REFERENCES functions(id) ON DELETE CASCADE,
        number INTEGER NOT NULL, created_us INTEGER NOT NULL, manifest TEXT NOT NULL, files TEXT NOT NULL, signature TEXT NOT NULL,
        compiled TEXT, compile_error TEXT NOT NULL DEFAULT '', UNIQUE (function, number));
      CREATE TABLE aliases (function INTEGER NOT NULL REFERENCES functions(id) ON DELETE CASCADE, name TEXT NOT NULL,
        weights TEXT NOT NULL,
        before TEXT NOT NULL DEFAULT '[]', PRIMARY KEY (function, name)) WITHOUT ROWID;
      INSERT INTO functions VALUES (4, 'old', 5, 7);
      INSERT INTO versions VALUES (9, 4, 7, 6, '{"name":"old","model":"m.onnx"}', '[]',
        '{"batches":true,"inputs":[{"datatype":"FP32","name":"x","shape":[-1,30]}],"outputs":[{"datatype":"BYTES","name":"y","shape":[]}]}',
        NULL, '');
      INSERT INTO aliases VALUES (4, 'live', '[{"version":7,"share":1.0}]', '[]');
      PRAGMA user_version = 1;)");
    ASSERT_TRUE(made) << made.error().message;
  }
  Catalog catalog = open();
  const auto functions = catalog.load();
  ASSERT_TRUE(functions) << functions.error().message;
  ASSERT_EQ(functions->size(), 1U);
  EXPECT_EQ(functions->front().versions.at(0).manifest.model, "m.onnx");
  EXPECT_EQ(functions->front().versions.at(0).signature.inputs, sample("").signature.inputs);
  EXPECT_TRUE(functions->front().versions.at(0).notes.empty());
  EXPECT_TRUE(functions->front().versions.at(0).template_allowed);
  const Added added = add(catalog, "old");
  EXPECT_EQ(added.number, 8);
  ASSERT_TRUE(catalog.remove_function(added.function));
  EXPECT_EQ(*catalog.name_of(added.function), "old");
}

TEST_F(CatalogTest, ANewerReleasesFileIsRefused) {
  open();
  {
    auto newer = Database::open(folder_ / "catalog.db", Database::Sync::full);
    ASSERT_TRUE((*newer)->execute("PRAGMA user_version = 99"));
  }
  const auto opened = Catalog::open(folder_ / "catalog.db");
  ASSERT_FALSE(opened);
  EXPECT_NE(opened.error().message.find("was written by a newer release (schema 99, this one knows 6)"), std::string::npos)
      << opened.error().message;
}

TEST_F(CatalogTest, ADamagedFileIsSaidToBe) {
  std::FILE* file = std::fopen((folder_ / "catalog.db").c_str(), "w");
  std::fputs(std::string(8192, 'x').c_str(), file);
  std::fclose(file);
  EXPECT_EQ(Catalog::open(folder_ / "catalog.db").error().code, Code::data_loss);
}

TEST_F(CatalogTest, SettingsAreOfTheirFunctionVersionOrAlias) {
  const WallTime when{std::chrono::microseconds(7)};
  const domain::Setting whole{"tag", "", "1", when}, numbered{"kept", "1", "2", when}, aliased{"kept", "extra", "3", when};
  Added one;
  {
    Catalog catalog = open();
    one = add(catalog, "one");
    add(catalog, "one", "extra");
    add(catalog, "two");
    ASSERT_TRUE(catalog.set_settings(one.function, {whole, numbered, aliased, {"tag", "other", "4", when}}));
    ASSERT_TRUE(catalog.set_settings(one.function, {{"tag", "", "5", when}, {"tag", "other", "", when}, {"tag", "nobody", "", when}}));
    EXPECT_FALSE(catalog.set_settings({77}, {whole})) << "there is no such function";
  }
  Catalog catalog = open();
  EXPECT_EQ(catalog.load()->at(0).settings, (std::vector<domain::Setting>{numbered, aliased, {"tag", "", "5", when}}));
  EXPECT_TRUE(catalog.load()->at(1).settings.empty());
  ASSERT_TRUE(catalog.remove_alias(one.function, "extra"));
  ASSERT_TRUE(catalog.remove_version(one.version));
  EXPECT_EQ(catalog.load()->at(0).settings, (std::vector<domain::Setting>{{"tag", "", "5", when}}));
  ASSERT_TRUE(catalog.remove_function(one.function));
  add(catalog, "one");
  EXPECT_TRUE(catalog.load()->back().settings.empty()) << "a new one of the name has none";
}

TEST_F(CatalogTest, LayersAreKept) {
  const auto layer = [](const std::string& name, char of) {
    return domain::LayerVersion{.name = name, .created = {std::chrono::microseconds(7)}, .sha256 = std::string(64, of), .size = {5},
                                .description = "a \"layer\"", .license = "MIT", .runtimes = {"python3.11"}, .architectures = {"x86_64"}};
  };
  {
    Catalog catalog = open();
    EXPECT_EQ(*catalog.add_layer(layer("b", '1')), 1);
    EXPECT_EQ(*catalog.add_layer(layer("b", '2')), 2);
    EXPECT_EQ(*catalog.add_layer(layer("a", '3')), 1);
    ASSERT_TRUE(catalog.set_layer_statement("b", 1, {"z", "{}"}));
    ASSERT_TRUE(catalog.set_layer_statement("b", 1, {"y", "{\"a\":1}"}));
    ASSERT_TRUE(catalog.set_layer_statement("b", 1, {"x", "{}"}));
    ASSERT_TRUE(catalog.set_layer_statement("b", 1, {"x", ""}));
    EXPECT_FALSE(catalog.set_layer_statement("c", 1, {"x", "{}"})) << "of a layer that is not there";
    ASSERT_TRUE(catalog.remove_layer("b", 2));
    EXPECT_EQ(*catalog.add_layer(layer("b", '4')), 3) << "a number does not come again";
    domain::Version version = sample("f");
    version.layers = {{"b", 2, std::string(64, '2'), {5}}, {"a", 1, std::string(64, '3'), {5}}};
    ASSERT_TRUE(catalog.add_version("f", version, "live"));
  }
  Catalog catalog = open();
  const auto all = catalog.load_layers();
  ASSERT_TRUE(all) << all.error().message;
  ASSERT_EQ(all->size(), 3u);
  EXPECT_EQ((*all)[0].name + (*all)[1].name + std::to_string((*all)[2].number), "ab3");
  EXPECT_EQ((*all)[1].description + (*all)[1].license + (*all)[1].runtimes.at(0) + (*all)[1].architectures.at(0),
            "a \"layer\"MITpython3.11x86_64");
  ASSERT_EQ((*all)[1].policy.size(), 2u);
  EXPECT_EQ((*all)[1].policy[0].id + (*all)[1].policy[1].document, "z{\"a\":1}") << "in their order";
  const auto functions = catalog.load();
  ASSERT_TRUE(functions);
  EXPECT_EQ((*functions)[0].versions[0].layers, (std::vector<domain::LayerRef>{{"b", 2, std::string(64, '2'), {5}},
                                                                             {"a", 1, std::string(64, '3'), {5}}}));
  const auto referenced = referenced_artifacts(folder_ / "catalog.db");
  ASSERT_TRUE(referenced);
  for (const char of : {'1', '2', '3', '4'}) EXPECT_TRUE(referenced->contains(std::string(64, of))) << of;
  ASSERT_TRUE(catalog.remove_layer("b", 1));
  EXPECT_TRUE(catalog.load_layers()->at(1).policy.empty()) << "its statements go with it";
}

}  // namespace
}  // namespace mayfly::store
