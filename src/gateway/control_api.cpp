#include "gateway/control_api.h"

#include <algorithm>
#include <charconv>

#include "base/hex.h"
#include "gateway/control_json.h"

namespace mayfly::gateway {
namespace {

void answer(const Responder& to, const Json& json, int status = 200) {
  // Names and messages may hold bytes that are not UTF-8; they must not make the answer fail.
  to.send({.status = status, .body = json.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n"});
}

void answer_empty(const Responder& to, int status) { to.send({.status = status, .content_type = "", .body = {}}); }

control::Done<void> empty_answer(const Responder& to) {
  return [to](Result<void> done) {
    if (!done) return to.fail(done.error());
    answer_empty(to, 204);
  };
}

control::Done<domain::Alias> alias_answer(const Responder& to, std::string_view function) {
  return [to, name = std::string(function)](const Result<domain::Alias>& alias) {
    if (!alias) return to.fail(alias.error());
    answer(to, to_json(name, *alias));
  };
}

Result<int> parse_version(std::string_view text) {
  int number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error == std::errc() && end == text.data() + text.size() && number >= 1) return number;
  return fail(Code::invalid_argument, "'" + std::string(text.substr(0, 64)) + "' is not a version: write a whole number from 1");
}

// One upload: bytes go to the control as they come; the server reads on as the disk takes them.
class Upload final : public UploadSink {
 public:
  Upload(control::Control& control, std::uint64_t number, Responder to) : control_(control), number_(number), to_(to) {}

  void on_chunk(std::string bytes) override {
    const std::uint64_t size = bytes.size();
    control_.append_upload(number_, std::move(bytes), [to = to_, size](const Result<void>& done) {
      if (!done) return to.fail(done.error());
      to.taken(size);
    });
  }
  void on_end() override {
    control_.finish_upload(number_, [to = to_](const Result<domain::FileRef>& file) {
      if (!file) return to.fail(file.error());
      answer(to, {{"sha256", file->sha256}, {"size", file->size.count}});
    });
  }
  void on_gone() override { control_.abort_upload(number_); }

 private:
  control::Control& control_;
  const std::uint64_t number_;
  const Responder to_;
};

}  // namespace

void ControlApi::add_routes(Router& router) {
  add_artifacts(router);
  add_functions(router);
  add_versions(router);
  add_aliases(router);
  add_layers(router);
  add_recordings(router);
  add_optimizations(router);
  add_observation(router);
}

void ControlApi::add_artifacts(Router& router) {
  router.add_upload(
      Method::put, "/api/artifacts",
      [this](HttpRequest&, Responder to) -> std::unique_ptr<UploadSink> {
        const auto number = control_.begin_upload();
        if (!number) {
          to.fail(number.error());
          return nullptr;
        }
        return std::make_unique<Upload>(control_, *number, to);
      },
      kArtifactMax);
  router.add(Method::head, "/api/artifacts/{sha256}", [this](HttpRequest& request, Responder to) {
    const auto sha256 = request.parameters[0];
    answer_empty(to, is_sha256(sha256) && control_.has_artifact(sha256) ? 200 : 404);
  });
}

void ControlApi::add_functions(Router& router) {
  router.add(
      Method::post, "/api/functions",
      [this](HttpRequest& request, Responder to) {
        auto order = parse_deploy(request.body);
        if (!order) return to.fail(order.error());
        control_.deploy(*std::move(order), [to](const Result<control::VersionView>& view) {
          if (!view) return to.fail(view.error());
          const std::string& name = view->version.manifest.name;
          Json json = to_json(name, view->version, view->stage);
          json["unchanged"] = view->unchanged;
          answer(to, json, view->unchanged ? 200 : 201);
        });
      },
      kBodyMax);
  router.add(Method::get, "/api/builds", [this](HttpRequest&, Responder to) {
    Json list = Json::array();
    for (const auto& build : control_.builds()) list.push_back(to_json(build));
    answer(to, {{"builds", std::move(list)}});
  });
  router.add(Method::get, "/api/functions", [this](HttpRequest&, Responder to) {
    Json list = Json::array();
    for (const auto& view : control_.list()) list.push_back(summary_to_json(view));
    answer(to, {{"functions", std::move(list)}});
  });
  router.add(Method::get, "/api/functions/{name}", [this](HttpRequest& request, Responder to) {
    const auto view = control_.describe(request.parameters[0]);
    if (!view) return to.fail(view.error());
    answer(to, to_json(*view));
  });
  router.add(Method::delete_, "/api/functions/{name}",
             [this](HttpRequest& request, Responder to) { control_.remove(request.parameters[0], empty_answer(to)); });
  router.add(
      Method::post, "/api/functions/{name}/scale",
      [this](HttpRequest& request, Responder to) {
        const auto order = parse_scale(request.body);
        if (!order) return to.fail(order.error());
        const std::string_view function = request.parameters[0];
        if (const auto done = control_.scale(function, order->instances, order->evict); !done) return to.fail(done.error());
        answer(to, {{"function", std::string(function)}, {"instances", order->instances}, {"evict", order->evict}});
      },
      kBodyMax);
}

template <class Show>
void ControlApi::one_version(HttpRequest& request, const Responder& to, Show show) {
  const auto number = parse_version(request.parameters[1]);
  if (!number) return to.fail(number.error());
  const auto view = control_.describe(request.parameters[0]);
  if (!view) return to.fail(view.error());
  const auto& versions = view->function.versions;
  for (std::size_t i = 0; i < versions.size(); ++i)
    if (versions[i].number == *number && i < view->stages.size()) return answer(to, show(view->function, versions[i], view->stages[i]));
  std::string known;
  for (const auto& version : versions) known += (known.empty() ? "" : ", ") + std::to_string(version.number);
  to.fail({Code::not_found, "function '" + view->function.name + "' has no version " + std::to_string(*number) + ": it has " +
                                (known.empty() ? "none" : known)});
}

void ControlApi::add_versions(Router& router) {
  router.add(Method::get, "/api/functions/{name}/versions", [this](HttpRequest& request, Responder to) {
    const auto view = control_.describe(request.parameters[0]);
    if (!view) return to.fail(view.error());
    Json all = to_json(*view);
    answer(to, {{"function", view->function.name}, {"versions", std::move(all["versions"])}, {"aliases", std::move(all["aliases"])}});
  });
  router.add(Method::get, "/api/functions/{name}/versions/{version}", [this](HttpRequest& request, Responder to) {
    one_version(request, to, [](const auto& function, const auto& version, control::Stage stage) {
      return to_json(function.name, version, stage);
    });
  });
  router.add(Method::get, "/api/functions/{name}/versions/{version}/dependencies", [this](HttpRequest& request, Responder to) {
    one_version(request, to, [](const auto& function, const auto& version, control::Stage) {
      return dependencies_to_json(function.name, version);
    });
  });
  router.add(Method::delete_, "/api/functions/{name}/versions/{version}", [this](HttpRequest& request, Responder to) {
    const auto number = parse_version(request.parameters[1]);
    if (!number) return to.fail(number.error());
    control_.remove_version(request.parameters[0], *number, empty_answer(to));
  });
}

void ControlApi::add_aliases(Router& router) {
  router.add(
      Method::put, "/api/functions/{name}/aliases/{alias}",
      [this](HttpRequest& request, Responder to) {
        auto weights = parse_weights(request.body);
        if (!weights) return to.fail(weights.error());
        control_.set_alias(request.parameters[0], request.parameters[1], *std::move(weights), alias_answer(to, request.parameters[0]));
      },
      kBodyMax);
  router.add(Method::delete_, "/api/functions/{name}/aliases/{alias}", [this](HttpRequest& request, Responder to) {
    control_.remove_alias(request.parameters[0], request.parameters[1], empty_answer(to));
  });
  router.add(
      Method::post, "/api/functions/{name}/rollback",
      [this](HttpRequest& request, Responder to) {
        const auto alias = parse_rollback(request.body);
        if (!alias) return to.fail(alias.error());
        control_.rollback(request.parameters[0], *alias, alias_answer(to, request.parameters[0]));
      },
      kBodyMax);
}

}  // namespace mayfly::gateway
