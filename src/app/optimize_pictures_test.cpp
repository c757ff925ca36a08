#include "app/optimize_pictures.h"

#include <gtest/gtest.h>

namespace mayfly::app {
namespace {

TEST(OptimizePicturesTest, LabelsAreTheFoldersInTheirOrder) {
  EXPECT_EQ(labels_of_folders({"cat", "dog", "owl"}, {}, false).value(), (std::vector<std::string>{"0", "1", "2"}));
  EXPECT_EQ(labels_of_folders({"0", "10", "2"}, {}, false).value(), (std::vector<std::string>{"0", "10", "2"}))
      << "numbers are the class itself";
  EXPECT_EQ(labels_of_folders({"007", "08"}, {}, false).value(), (std::vector<std::string>{"7", "8"}));
  EXPECT_EQ(labels_of_folders({"0", "10", "cat"}, {}, false).value(), (std::vector<std::string>{"0", "1", "2"})) << "not all are numbers";
  EXPECT_EQ(labels_of_folders({"12345678901"}, {}, false).value(), (std::vector<std::string>{"0"})) << "no class is so large";
  EXPECT_EQ(labels_of_folders({"cat", "owl"}, {.names = {"owl", "dog", "cat"}}, false).value(), (std::vector<std::string>{"2", "0"}));
  EXPECT_EQ(labels_of_folders({"cat", "owl"}, {}, true).value(), (std::vector<std::string>{"cat", "owl"})) << "a model that says texts";
  const auto unknown = labels_of_folders({"cat"}, {.names = {"dog"}}, false);
  ASSERT_FALSE(unknown);
  EXPECT_NE(unknown.error().message.find("'cat' is none of the 1 classes"), std::string::npos) << unknown.error().message;
}

TEST(OptimizePicturesTest, TheModelsNamesCountWhereTheFoldersAreOfThem) {
  const ClassNames model{.names = {"owl", "dog", "cat"}, .of_model = true};
  EXPECT_EQ(labels_of_folders({"cat", "owl"}, model, false).value(), (std::vector<std::string>{"2", "0"}));
  EXPECT_EQ(labels_of_folders({"n01", "n02"}, model, false).value(), (std::vector<std::string>{"0", "1"})) << "other words";
  EXPECT_EQ(labels_of_folders({"0", "2"}, model, false).value(), (std::vector<std::string>{"0", "2"}));
  const auto mixed = labels_of_folders({"cat", "lynx"}, model, false);
  ASSERT_FALSE(mixed);
  EXPECT_NE(mixed.error().message.find("'lynx' is none of the 3 classes that the model names"), std::string::npos) << mixed.error().message;
}

}  // namespace
}  // namespace mayfly::app
