#include "gateway/model_door.h"

#include <algorithm>
#include <filesystem>
#include <utility>

#include "gateway/http_server.h"
#include "gateway/inference.h"
#include "gateway/router.h"
#include "gateway/v2_models.h"
#include "os/disk.h"

namespace mayfly::gateway {
namespace {

constexpr std::string_view kModels = "/v2/models/";

}  // namespace

struct ModelDoors::Door {
  Door(ModelDoors& of, const DoorTo& to)
      : control(of.control_), allowed(to), inference(of.invoker_, of.control_, server), models(of.control_, [] { return true; }),
        server(of.loop_, router, {.connections_max = kDoorConnectionsMax}, v2_error_form) {
    router.guard([this](const HttpRequest& request) { return may(request); }, v2_error_reply);
    inference.add_v2_routes(router);
    models.add_routes(router);
  }

  Result<void> may(const HttpRequest& request) const {
    if (request.path.starts_with("/v2/repository/"))
      return fail(Code::permission_denied, "code is not told what else is deployed: it may call " + names());
    if (!request.path.starts_with(kModels)) return {};  // about the server
    const std::string_view name = request.parameters[0];
    if (std::ranges::find(allowed.models, name) == allowed.models.end())
      return fail(Code::permission_denied, "'" + allowed.function + "' may not call '" + std::string(name.substr(0, 64)) +
                                               "': its function.yaml names " + names() + " under models");
    const auto version = control.resolve(name, request.path.find("/versions/") == std::string_view::npos ? "" : request.parameters[1]);
    if (version && version->manifest.is_code())
      return fail(Code::permission_denied, "'" + std::string(name) + "' is code, and code may call models only");
    return {};                                          // who is not known is told so by the handler
  }

  std::string names() const {
    std::string text;
    for (const std::string& name : allowed.models) text += (text.empty() ? "" : ", ") + name;
    return text;
  }

  control::Control& control;
  const DoorTo allowed;
  Router router;
  Inference inference;
  V2Models models;
  HttpServer server;                                    // last: it dies first
  std::weak_ptr<const void> held;
};

// Whoever lets go may be deep inside a call of this very door: the loop closes it.
struct ModelDoors::Handle {
  Handle(std::string p, ModelDoors& d) : path(std::move(p)), doors(d), alive(d.alive_) {}
  Handle(const Handle&) = delete;
  ~Handle() {
    if (alive.expired()) return;                        // and the loop may be gone, too
    doors.loop_.post([held = path, &of = doors, there = alive] {
      if (!there.expired()) of.close(held);
    });
  }
  const std::string path;
  ModelDoors& doors;
  const std::weak_ptr<const int> alive;
};

ModelDoors::ModelDoors(os::Loop& loop, serve::Invoker& invoker, control::Control& control, std::string folder)
    : loop_(loop), invoker_(invoker), control_(control), folder_(std::move(folder)) {}

ModelDoors::~ModelDoors() {
  for (const auto& [path, door] : doors_) static_cast<void>(os::remove_file(path));
}

Result<OpenDoor> ModelDoors::open(const DoorTo& to) {
  if (folder_.empty()) return fail(Code::unimplemented, "this node has no folder for the sockets by which code calls models");
  const std::string folder = std::filesystem::absolute(folder_).string();
  if (!std::exchange(swept_, true)) {
    TRY_VOID(os::make_folder(folder));
    TRY(const auto left, os::list_folder(folder));
    for (const std::string& name : left) TRY_VOID(os::remove_file(folder + "/" + name));
  }
  auto found = std::ranges::find_if(doors_, [&](const auto& entry) { return entry.second->allowed == to; });
  if (found == doors_.end()) {
    if (doors_.size() >= kDoorsMax)
      return fail(Code::exhausted, "there are " + std::to_string(kDoorsMax) + " doors to models already: the node has too many versions of "
                                   "code that call models");
    const std::string path = folder + "/" + std::to_string(++doors_made_) + "-" + to.function;
    auto door = std::make_unique<Door>(*this, to);
    TRY_VOID(door->server.listen_local(path));
    found = doors_.emplace(path, std::move(door)).first;
  }
  auto held = found->second->held.lock();
  if (!held) held = std::make_shared<const Handle>(found->first, *this);
  found->second->held = held;
  return OpenDoor{found->first, std::move(held)};
}

void ModelDoors::close(const std::string& path) {
  const auto found = doors_.find(path);
  if (found == doors_.end() || !found->second->held.expired()) return;
  static_cast<void>(os::remove_file(path));
  doors_.erase(found);
}

}  // namespace mayfly::gateway
