// mayfly record: keeps calls of a model on its node as samples, shows how many there are, and writes them as an .npz, which `mayfly
// optimize --data` and numpy read. Nothing is kept of a function for which this was not said.
#include "app/record.h"

#include "app/npz_write.h"
#include "base/share.h"
#include "base/units.h"
#include "domain/job_results.h"
#include "gate/sizes.h"
#include "os/signals.h"

namespace mayfly::app {
namespace {

constexpr Duration kDecodeMax = std::chrono::minutes(5);

std::string path_of(const std::string& function, const char* rest = "") {
  return "/api/functions/" + encode(function) + "/recording" + rest;
}

Result<double> share_of(const std::string& text) {
  const auto value = read_share(text);
  if (!value || !(*value > 0) || *value > 1)
    return fail(Code::invalid_argument,
                "--share: '" + printable(text.substr(0, 40)) + "' is no share above 0% and up to 100%: write 10% or 0.1");
  return *value;
}

void show(const Context& context, const std::string& function, const Json& recording) {
  if (context.json) return print_json(recording);
  print(function + ": " + grouped(recording.value("calls", std::uint64_t{0})) + " of at most " +
        plural(recording.value("calls_max", std::uint64_t{0}), "call") + " recorded, " +
        to_text(Bytes{recording.value("size", std::uint64_t{0})}) + " of at most " +
        to_text(Bytes{recording.value("size_max", std::uint64_t{0})}) + ", from " + grouped(recording.value("seen", std::uint64_t{0})) +
        " that were looked at (" + percent(recording.value("share", 1.0)) + " of all)\n");
}

Result<domain::Signature> signature_of(const Context& context, const std::string& function) {
  TRY(const Json f, context.client.get("/api/functions/" + encode(function)));
  const Json versions = f.value("versions", Json::array());
  if (versions.empty() || !versions.back().contains("signature"))
    return fail(Code::not_found, "function '" + function + "' has no version whose inputs are known");
  return domain::parse_signature(versions.back()["signature"].dump());
}

Result<void> write_out(const Context& context, const RecordOptions& options) {
  TRY(const domain::Signature signature, signature_of(context, options.function));
  TRY(const os::HeldEndSignals signals, os::HeldEndSignals::hold());
  const worker::ChildLimits limits{.time_max = kDecodeMax, .stops = [&] { return signals.came(); }};
  TRY(const auto made, recorded_samples(context, options.function, signature, limits));
  TRY_VOID(write_samples(options.output, made.samples));
  const std::size_t sizes = gate::sizes_of(made.samples);
  const std::uint64_t rows = made.samples.count * static_cast<std::uint64_t>(made.samples.rows);
  if (context.json) {
    print_json({{"output", options.output}, {"samples", rows}, {"calls", made.calls}, {"sizes", sizes}, {"refused", made.refused},
                {"other_shapes", made.other_shapes}});
    return {};
  }
  print(options.output + ": " + plural(rows, "sample") + " of " + plural(made.calls, "call") +
        (sizes > 1 ? ", of " + std::to_string(sizes) + " sizes" : "") + "\n");
  print(left_out_of(made));
  return {};
}

}  // namespace

Result<worker::RecordedSamples> recorded_samples(const Context& context, const std::string& function, const domain::Signature& signature,
                                                 const worker::ChildLimits& limits) {
  TRY(const HttpReply reply, context.client.call({.path = path_of(function, "/calls")}));
  TRY_VOID(check(reply));
  return worker::samples_of_calls(reply.body, signature, limits);
}

std::string left_out_of(const worker::RecordedSamples& made) {
  std::string text;
  if (made.refused > 0)
    text += "left out: " + plural(made.refused, "call") + " that the model does not take, like: " + printable(made.why) + "\n";
  if (made.other_shapes > 0)
    text += "left out: " + plural(made.other_shapes, "call") + " of rare sizes, since a sample set for this model holds at most " +
            plural(gate::sizes_of(made.samples), "size") + "\n";
  return text;
}

Result<void> record(const Context& context, const RecordOptions& options) {
  if ((options.calls > 0) + options.off + !options.output.empty() > 1)
    return fail(Code::invalid_argument, "--calls begins, --off ends and -o writes: one of them at a time");
  if (!options.output.empty()) return write_out(context, options);
  if (options.off) {
    TRY(const HttpReply reply, context.client.call({.method = "DELETE", .path = path_of(options.function)}));
    TRY_VOID(check(reply));
    if (!context.json) print(options.function + ": no calls are recorded any more, and those that were are removed\n");
    return {};
  }
  if (options.calls > 0) {
    TRY(const double share, share_of(options.share));
    TRY(const Bytes size_max, parse_bytes(options.size_max));
    const Json policy{{"calls", options.calls}, {"share", share}, {"size_max", size_max.count}};
    TRY(const Json done, context.client.json({.method = "PUT", .path = path_of(options.function), .body = policy.dump(),
                                              .headers = {"Content-Type: application/json"}}));
    show(context, options.function, done);
    return {};
  }
  TRY(const Json recording, context.client.get(path_of(options.function)));
  show(context, options.function, recording);
  return {};
}

}  // namespace mayfly::app
