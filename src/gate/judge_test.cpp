// The gate's decisions as tables: what was answered, what is allowed, what comes of it.
#include "gate/judge.h"

#include <gtest/gtest.h>

#include <cmath>

namespace mayfly::gate {
namespace {

using domain::Datatype;

Array row(const std::vector<double>& values, Datatype type = Datatype::fp32) {
  Array array{.datatype = type, .shape = {1, static_cast<std::int64_t>(values.size())}};
  array.data.resize(values.size() * domain::element_size(type));
  for (std::size_t i = 0; i < values.size(); ++i) put_number(array, i, values[i]);
  return array;
}

Outputs outputs_of(const std::string& name, const std::vector<Array>& rows) {
  Outputs outputs{.specs = {{name, rows[0].datatype, {-1, -1}}}};
  for (const Array& one : rows) outputs.samples.push_back({one});
  return outputs;
}

// Of `count` samples of three classes, the first `other` say another class than the sample's number says.
Outputs classes(int count, int other) {
  std::vector<Array> rows;
  for (int i = 0; i < count; ++i) {
    std::vector<double> values = {0.1, 0.1, 0.1};
    values[static_cast<std::size_t>((i + (i < other)) % 3)] = 0.8;
    rows.push_back(row(values));
  }
  return outputs_of("probabilities", rows);
}

std::vector<std::string> labels_of(int count) {
  std::vector<std::string> labels;
  for (int i = 0; i < count; ++i) labels.push_back(std::to_string(i % 3));
  return labels;
}

TEST(Judge, AccuracyTable) {
  struct Case {
    int count, wrong_before, wrong_after;
    double drop_max;
    Verdict verdict;
  };
  for (const Case& c :
       {Case{400, 0, 0, 0.01, Verdict::passed}, Case{400, 20, 20, 0.01, Verdict::passed}, Case{400, 20, 0, 0.01, Verdict::passed},
        Case{20, 0, 0, 0.01, Verdict::unsure}, Case{267, 0, 0, 0.01, Verdict::unsure}, Case{268, 0, 0, 0.01, Verdict::passed},
        Case{400, 0, 3, 0.01, Verdict::unsure}, Case{400, 0, 5, 0.01, Verdict::failed}, Case{400, 0, 40, 0.01, Verdict::failed},
        Case{400, 0, 5, 0.03, Verdict::passed}, Case{20, 0, 10, 0.01, Verdict::failed}, Case{20, 0, 0, 0.2, Verdict::passed}}) {
    const auto judged =
        judge(classes(c.count, c.wrong_before), classes(c.count, c.wrong_after), labels_of(c.count), {.drop_max = c.drop_max});
    ASSERT_TRUE(judged) << judged.error().message;
    EXPECT_EQ(judged->verdict, c.verdict) << c.count << " samples, wrong " << c.wrong_before << " and " << c.wrong_after << ": "
                                          << judged->why;
    EXPECT_EQ(judged->comparisons[0].measure, Measure::accuracy);
  }
}

TEST(Judge, TooFewSamplesAreSaidWithHowManyItTakes) {
  const auto judged = judge(classes(20, 0), classes(20, 0), labels_of(20), {});
  ASSERT_TRUE(judged);
  EXPECT_NE(judged->why.find("too few samples to tell: it takes 268"), std::string::npos) << judged->why;
}

TEST(Judge, AgreementTable) {
  struct Case {
    int count, other;
    Verdict verdict;
  };
  for (const Case& c : {Case{400, 0, Verdict::passed}, Case{100, 0, Verdict::unsure}, Case{400, 3, Verdict::unsure},
                        Case{400, 8, Verdict::failed}, Case{5000, 20, Verdict::passed}}) {
    const auto judged = judge(classes(c.count, 0), classes(c.count, c.other), {}, {});
    ASSERT_TRUE(judged);
    EXPECT_EQ(judged->comparisons[0].measure, Measure::agreement);
    EXPECT_EQ(judged->verdict, c.verdict) << judged->why;
  }
}

TEST(Judge, CosineTable) {
  struct Case {
    int count;
    double turn;  // what is put beside each vector of length 1, at a right angle
    Verdict verdict;
  };
  for (const Case& c :
       {Case{50, 0, Verdict::passed}, Case{50, 0.1, Verdict::passed}, Case{50, 0.5, Verdict::failed}, Case{4, 0, Verdict::unsure}}) {
    std::vector<Array> before, after;
    for (int i = 0; i < c.count; ++i) {
      before.push_back(row({1, -1, 1, -1}));
      after.push_back(row({1 + c.turn, -1 + c.turn, 1 - c.turn, -1 - c.turn}));
    }
    const auto judged = judge(outputs_of("embedding", before), outputs_of("embedding", after), {}, {});
    ASSERT_TRUE(judged);
    EXPECT_EQ(judged->comparisons[0].measure, Measure::cosine);
    EXPECT_NEAR(judged->comparisons[0].value, 1 / std::sqrt(1 + c.turn * c.turn), 1e-6);
    EXPECT_NEAR(judged->comparisons[0].distance_max, c.turn, 1e-6);
    EXPECT_EQ(judged->verdict, c.verdict) << judged->why;
  }
}

TEST(Judge, OneNumberARowIsComparedByItsError) {
  std::vector<Array> before, near, far, nothing;
  for (int i = 0; i < 50; ++i) {
    before.push_back(row({100.0 + i}));
    near.push_back(row({100.1 + i}));
    far.push_back(row({110.0 + i}));
    nothing.push_back(row({std::nan("")}));
  }
  const Outputs original = outputs_of("price", before);
  EXPECT_EQ(judge(original, outputs_of("price", near), {}, {})->verdict, Verdict::passed);
  EXPECT_EQ(judge(original, outputs_of("price", far), {}, {})->verdict, Verdict::failed);
  EXPECT_EQ(judge(original, outputs_of("price", nothing), {}, {})->verdict, Verdict::failed);
  EXPECT_EQ(judge(original, original, {}, {})->comparisons[0].measure, Measure::closeness);
}

TEST(Judge, AnOutputOfNothingButNanFails) {
  std::vector<Array> before(50, row({1, 2, 3, 4})), after(50, row({std::nan(""), 2, 3, 4}));
  EXPECT_EQ(judge(outputs_of("embedding", before), outputs_of("embedding", after), {}, {})->verdict, Verdict::failed);
}

TEST(Judge, WhatIsComparedCanBeSaid) {
  std::vector<Array> before(400, row({1, 2, 3, 4.001})), after(400, row({1, 2, 4.002, 4.001}));
  EXPECT_EQ(judge(outputs_of("y", before), outputs_of("y", after), {}, {.cosine_min = 0.95})->verdict, Verdict::passed);
  EXPECT_EQ(judge(outputs_of("y", before), outputs_of("y", after), {}, {.compare = Compare::classes})->verdict, Verdict::failed);
  EXPECT_EQ(judge(outputs_of("logits", before), outputs_of("logits", after), {}, {.cosine_min = 0.95})->verdict, Verdict::failed);
}

TEST(Judge, TheWorstOutputDecides) {
  Outputs before = classes(400, 0), after = classes(400, 0);
  before.specs.push_back({"embedding", Datatype::fp32, {-1, 4}});
  after.specs = before.specs;
  for (int i = 0; i < 400; ++i) {
    before.samples[static_cast<std::size_t>(i)].push_back(row({1, 2, 3, 4}));
    after.samples[static_cast<std::size_t>(i)].push_back(row({4, 3, 2, 1}));
  }
  const auto judged = judge(before, after, {}, {});
  ASSERT_TRUE(judged);
  EXPECT_EQ(judged->verdict, Verdict::failed);
  EXPECT_NE(judged->why.find("'embedding'"), std::string::npos);
  EXPECT_EQ(judged->comparisons[0].verdict, Verdict::passed);
}

TEST(Judge, LabelsOfAnotherModelAreRefused) {
  const auto refused = [](const Outputs& outputs, const std::vector<std::string>& labels) {
    const auto judged = judge(outputs, outputs, labels, {});
    return judged ? std::string("judged") : judged.error().message;
  };
  std::vector<std::string> beyond = labels_of(400), turned;
  beyond[7] = "3";
  for (int i = 0; i < 400; ++i) turned.push_back(std::to_string((i + 1) % 3));
  EXPECT_NE(refused(classes(400, 0), beyond).find("label 7 is '3', and output 'probabilities' has 3 classes: 0 to 2"), std::string::npos);
  EXPECT_NE(refused(classes(400, 0), turned).find("gets 0 of 400 labels right"), std::string::npos);
  const std::vector<Array> vectors(400, row({1}));
  EXPECT_NE(refused(outputs_of("y", vectors), labels_of(400)).find("no output has classes"), std::string::npos);
}

TEST(Judge, AModelThatSaysItsClassesIsTakenAtItsWord) {
  std::vector<Array> said;
  for (int i = 0; i < 300; ++i) said.push_back(row({static_cast<double>(i % 3)}, Datatype::int64));
  Outputs outputs = outputs_of("label", said);
  EXPECT_EQ(judge(outputs, outputs, labels_of(300), {})->comparisons[0].original, 1);
  Array text{.datatype = Datatype::bytes, .shape = {1}, .strings = {"cat"}};
  EXPECT_EQ(classes_in(text), std::vector<std::string>{"cat"});
}

TEST(Judge, AnotherModelIsNoCandidate) {
  const auto wrong = judge(classes(10, 0), outputs_of("other", {row({1, 2, 3})}), {}, {});
  ASSERT_FALSE(wrong);
  EXPECT_EQ(wrong.error().code, Code::internal);
  const auto shape = judge(classes(10, 0), outputs_of("probabilities", {row({1, 2})}), {}, {});
  ASSERT_FALSE(shape);
  EXPECT_NE(shape.error().message.find("[1,2] instead of [1,3]"), std::string::npos) << shape.error().message;
}

}  // namespace
}  // namespace mayfly::gate
