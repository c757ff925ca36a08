// A watcher that calls a function: for whoever watches a few descriptors and has no class for each.
#pragma once
#include <cstdint>
#include <functional>
#include <utility>

#include "os/loop.h"

namespace mayfly::os {

class Port final : public Watcher {
 public:
  explicit Port(std::function<void()> then) : then_(std::move(then)) {}
  void on_events(std::uint32_t) override { then_(); }

 private:
  const std::function<void()> then_;
};

}  // namespace mayfly::os
