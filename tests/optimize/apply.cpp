// The steps of src/optimize from a command line, for tests/optimize/graph.py: apply MODEL RECIPE OUT
// Prints what each step did. Exits 1 with the error's text on stderr. Two more forms, for static int8:
//   apply MODEL measure OUT     writes the model with the values to measure as outputs, and prints their names
//   apply MODEL @RANGES OUT     RANGES: lines of a name, the least and the most
#include <chrono>
#include <cstdio>
#include <fstream>

#include "optimize/recipe.h"
#include "optimize/static_int8.h"

using namespace mayfly;

namespace {

Result<void> measure(const char* from, const char* to) {
  TRY(const optimize::Model model, optimize::Model::read(from));
  const auto names = optimize::tensors_to_measure(model);
  for (const std::string& name : names) std::printf("%s\n", name.c_str());
  TRY(const optimize::Model more, optimize::with_outputs(model, names));
  return more.write(to);
}

Result<void> quantise(const char* from, const char* file, const char* to) {
  TRY(const optimize::Model model, optimize::Model::read(from));
  optimize::Ranges ranges;
  std::ifstream lines(file);
  std::string name;
  optimize::Range range;
  while (lines >> name >> range.least >> range.most) ranges[name] = range;
  TRY(const optimize::Applied applied, optimize::quantise_static(model, ranges));
  std::printf("static int8: %d changed\n", applied.changed);
  for (const optimize::Left& left : applied.left) std::printf("  left: %s: %s\n", left.node.c_str(), left.why.c_str());
  return applied.model.write(to);
}

Result<void> run(const char* from, const char* recipe, const char* to) {
  if (std::string_view(recipe) == "measure") return measure(from, to);
  if (recipe[0] == '@') return quantise(from, recipe + 1, to);
  TRY(optimize::Model model, optimize::Model::read(from));
  std::printf("read: %llu bytes, %llu nodes, %llu parameters\n", static_cast<unsigned long long>(model.size()),
              static_cast<unsigned long long>(model.nodes()), static_cast<unsigned long long>(model.parameters()));
  TRY(const auto steps, optimize::parse_recipe(recipe));
  for (const optimize::Step& step : steps) {
    const auto start = std::chrono::steady_clock::now();
    TRY(optimize::Applied applied, optimize::apply(model, step));
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    std::printf("%s: %d changed, %zu left, %.2f s\n", optimize::to_string(step).c_str(), applied.changed, applied.left.size(), seconds);
    for (const std::string& note : applied.notes) std::printf("  note: %s\n", note.c_str());
    for (const optimize::Left& left : applied.left) std::printf("  left: %s: %s\n", left.node.c_str(), left.why.c_str());
    model = std::move(applied.model);
  }
  TRY_VOID(model.write(to));
  std::printf("written: %llu bytes\n", static_cast<unsigned long long>(model.size()));
  return {};
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 4) return std::fprintf(stderr, "usage: %s MODEL RECIPE OUT\n", argv[0]), 2;
  const auto done = run(argv[1], argv[2], argv[3]);
  if (done) return 0;
  std::fprintf(stderr, "%s\n", done.error().message.c_str());
  return 1;
}
