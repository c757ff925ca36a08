#include "worker/azure_store.h"

#include <algorithm>

#include "domain/network.h"
#include "os/clock.h"
#include "os/http_get.h"
#include "os/outbound.h"
#include "worker/azure_storage.h"

namespace mayfly::worker {
namespace {

constexpr Duration kStallMax = std::chrono::seconds(15);

std::string name_of(const AzurePlace& place) {
  return "the binding '" + place.binding.name + "' of type " + place.binding.type + ": " +
         (place.is_queue() ? "the queue " + place.container : "the blob " + place.container + "/" + place.blob);
}

std::unexpected<Error> broken(const AzurePlace& place, const std::string& why) { return fail(Code::internal, name_of(place) + " " + why); }

// The list names what the function may reach; what it does not name has no address in here, or one where nobody listens.
bool is_listed(const AzureEndpoint& to, const StoreReach& reach) {
  const auto addresses = os::resolve(to.host);
  if (!addresses) return false;
  return std::ranges::any_of(*addresses, [&](const os::IpBytes& address) {
    const domain::Destination inside{.kind = domain::Destination::Kind::literal, .name = {}, .ip = {address}, .port = to.port};
    return std::ranges::find(reach.outbound, domain::to_text(inside)) != reach.outbound.end();
  });
}

struct Answer {
  int status = 0;
  std::string head, body;                // the body of 200, else the first of it
};

// One after the other, within what is left of the time.
class Trip {
 public:
  explicit Trip(const StoreTrip& trip) : trip_(trip), end_(os::monotonic_now() + trip.within) {}

  Result<void> check(const AzurePlace& place) const {
    const AzureEndpoint& to = place.is_queue() ? place.account->queue : place.account->blob;
    if (trip_.reach.machine_network || is_listed(to, trip_.reach)) return {};
    return broken(place, "is at " + address_text(to) + ", which this function may not reach: add network: {outbound: [\"" +
                             address_text(to) + "\"]} to its manifest");
  }

  Result<Answer> send(const AzurePlace& place, const StorageCall& call, std::string_view body = {}) const {
    const StorageRequest request = storage_request(*place.account, call, os::wall_now());
    const Duration left = end_ - os::monotonic_now();
    if (left <= Duration{}) return broken(place, "was not reached within the call's time");
    Answer answer;
    const auto got = os::http_get({.tls = request.to.tls, .host = request.to.host, .port = request.to.port, .target = request.target,
                                   .head = request.head, .method = request.method, .body = body, .size_max = {kBindingBytesMax},
                                   .stall_max = std::min(left, kStallMax), .time_max = left, .stop = &trip_.stop},
                                  [&](std::span<const std::byte> bytes) -> Result<void> {
                                    answer.body.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
                                    return {};
                                  });
    if (!got && got.error().code == Code::invalid_argument) return broken(place, "can't be taken: " + got.error().message);
    if (!got) return broken(place, "could not be reached: " + got.error().message);
    answer.status = got->status;
    answer.head = got->head;
    if (got->status != 200) answer.body = got->refusal;
    return answer;
  }

 private:
  const StoreTrip& trip_;
  const Instant end_;
};

std::unexpected<Error> refused(const AzurePlace& place, const Answer& answer, const std::string& what) {
  std::string advice;
  if (answer.status == 403) advice = ": look at the key or the signature in its connection string";
  return broken(place, "could not be " + what + ": the store answered " + std::to_string(answer.status) + " " +
                           storage_error(answer.head, answer.body) + advice);
}

Result<void> write_one(const Trip& trip, const AzurePlace& place, std::string_view body) {
  const StorageCall call{.deed = place.is_queue() ? StorageDeed::put_message : StorageDeed::put_blob, .place = place.container,
                         .blob = place.blob, .size = body.size()};
  TRY(Answer answer, trip.send(place, call, body));
  if (answer.status == 404) {            // neither container nor queue: made, and once more
    const StorageCall create{.deed = place.is_queue() ? StorageDeed::create_queue : StorageDeed::create_container,
                             .place = place.container, .blob = {}};
    TRY(const Answer made, trip.send(place, create));
    if (made.status != 201 && made.status != 204 && made.status != 409) return refused(place, made, "made");
    TRY(answer, trip.send(place, call, body));
  }
  if (answer.status == 201) return {};
  return refused(place, answer, "written");
}

}  // namespace

Result<std::vector<AzureInput>> read_places(const std::vector<AzurePlace>& places, const StoreTrip& trip) {
  const Trip going(trip);
  std::vector<AzureInput> inputs;
  std::size_t total = 0;
  for (const AzurePlace& place : places) {
    TRY_VOID(going.check(place));
    TRY(Answer answer, going.send(place, {.deed = StorageDeed::get_blob, .place = place.container, .blob = place.blob}));
    AzureInput input{.name = place.binding.name, .bytes = {}, .head = {}};
    if (answer.status == 200) {
      total += answer.body.size();
      if (total > kBindingBytesMax) return broken(place, "can't be taken: a call reads at most 64 MiB, and with others it is more");
      input.bytes = std::move(answer.body);
      input.head = std::move(answer.head);
    } else if (answer.status != 404) {
      return refused(place, answer, "read");
    }
    inputs.push_back(std::move(input));
  }
  return inputs;
}

Result<void> write_places(const std::vector<AzureWrite>& writes, const StoreTrip& trip) {
  const Trip going(trip);
  for (const AzureWrite& write : writes) TRY_VOID(going.check(write.to));
  std::string done;
  for (const AzureWrite& write : writes) {
    for (std::size_t i = 0; i < write.bodies.size(); ++i) {
      const auto written = write_one(going, write.to, write.bodies[i]);
      if (written) continue;
      if (i > 0) done += (done.empty() ? "" : ", ") + std::to_string(i) + " messages of " + write.to.binding.name;
      return fail(written.error().code, written.error().message + (done.empty() ? "" : "; written before it: " + done));
    }
    done += (done.empty() ? "" : ", ") + write.to.binding.name;
  }
  return {};
}

}  // namespace mayfly::worker
