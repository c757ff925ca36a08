#include "gate/class_names.h"

#include <gtest/gtest.h>

namespace mayfly::gate {
namespace {

using Names = std::vector<std::string>;

TEST(ClassNamesTest, AsExportersWriteThem) {
  EXPECT_EQ(parse_class_names("{0: 'person', 1: \"driver's cab\", 2: 'owl'}"), (Names{"person", "driver's cab", "owl"})) << "Ultralytics";
  EXPECT_EQ(parse_class_names(R"({"1": "dog", "0": "cat"})"), (Names{"cat", "dog"})) << "id2label of Hugging Face";
  EXPECT_EQ(parse_class_names(R"( ["cat", "a \"dog\""] )"), (Names{"cat", "a \"dog\""}));
  EXPECT_EQ(parse_class_names("cat\r\n dog \nowl\n"), (Names{"cat", "dog", "owl"}));
  EXPECT_EQ(parse_class_names("cat, dog,owl"), (Names{"cat", "dog", "owl"}));
}

TEST(ClassNamesTest, WhatIsNoneOfThoseNamesNothing) {
  for (const char* text : {"", "[", "[]", "{}", "['a'", "['a'] b", "[1, 2]", "{0: 'a', 0: 'b'}", "{0: 'a', 2: 'b'}", "{'x': 'a'}", "{0: 1}",
                           "{0 'a'}", "{99999999: 'a'}", "{-1: 'a'}", "['a"})
    EXPECT_EQ(parse_class_names(text), Names()) << text;
}

}  // namespace
}  // namespace mayfly::gate
