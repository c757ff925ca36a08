// Prometheus text (exposition format 0.0.4): Triton's names for inference, own mayfly_ names for the rest.
#pragma once
#include <functional>
#include <string>

#include "control/books.h"
#include "instances/fleet.h"
#include "serve/dispatcher.h"

namespace mayfly::control {

struct MetricsSources {
  const Books& books;
  const instances::Fleet& fleet;
  serve::Dispatcher& dispatcher;
  std::function<std::optional<Books::Name>(VersionId)> name_of;  // none: deleted meanwhile
  std::size_t functions = 0;
  Bytes memory_budget;
  Duration up{};
  std::uint64_t usage_records_lost = 0;
};

[[nodiscard]] std::string metrics_text(const MetricsSources& sources);

}  // namespace mayfly::control
