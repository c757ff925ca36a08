// The steps of src/optimize from a command line, for tests/optimize/graph.py: apply MODEL RECIPE OUT
// Prints what each step did. Exits 1 with the error's text on stderr.
#include <chrono>
#include <cstdio>

#include "optimize/recipe.h"

using namespace mayfly;

namespace {

Result<void> run(const char* from, const char* recipe, const char* to) {
  TRY(optimize::Model model, optimize::Model::read(from));
  std::printf("read: %llu bytes, %llu nodes, %llu parameters, opset %lld\n", static_cast<unsigned long long>(model.size()),
              static_cast<unsigned long long>(model.nodes()), static_cast<unsigned long long>(model.parameters()), static_cast<long long>(model.opset()));
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
