// For tests: what a scripted Control says of uploads made on another thread, of a store's objects, of layers and of functions' URLs, where
// a test asks for none.
#pragma once
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "control/control.h"

namespace mayfly::gateway {

struct ControlWithoutLayers : control::Control {
  void append_made(std::uint64_t upload, std::function<Result<std::string>()> make, control::Done<void> done) override {
    auto bytes = make();
    if (!bytes) return done(fail(bytes.error()));
    append_upload(upload, std::move(*bytes), std::move(done));
  }
  void fetch_object(control::ObjectName, control::Done<domain::FileRef> done) override { done(none()); }
  void publish_layer(control::LayerOrder, control::Done<domain::LayerVersion> done) override { done(none()); }
  std::vector<domain::LayerVersion> layers(std::string_view) override { return {}; }
  void remove_layer(std::string_view, int, control::Done<void> done) override { done(none()); }
  void set_layer_statement(std::string_view, int, domain::LayerStatement, control::Done<void> done) override { done(none()); }
  std::shared_ptr<const domain::FunctionUrl> url(std::string_view) override { return nullptr; }

 private:
  static std::unexpected<Error> none() { return fail(Code::unimplemented, "not here"); }
};

}  // namespace mayfly::gateway
