#include "worker/engine.h"
#include "worker/process.h"
#include "worker/zygote.h"

namespace mayfly::worker {

int zygote_main(int argc, char** argv, const OptimizeWork& optimize) {
  os::Fd socket(kZygoteSocket);
  auto engine = Engine::open(argc > 2 ? argv[2] : "");
  if (!engine) return refuse_to_serve(socket, engine.error());
  if (const auto warm = (*engine)->warm(); !warm) return refuse_to_serve(socket, warm.error());
  return run_zygote(std::move(socket), [&](os::Fd control) { run_process(**engine, std::move(control), optimize); });
}

}  // namespace mayfly::worker
