#include "worker/pictures.h"

#include <sys/resource.h>

#include <algorithm>

#include "os/fd.h"
#include "worker/detail/trial_wire.h"
#include "worker/picture.h"
#include "worker/seccomp.h"

namespace mayfly::worker {
namespace {

constexpr Duration kOneMax = std::chrono::seconds(30), kAllMax = std::chrono::minutes(2);  // for one picture alone, for those of a call
constexpr std::uint64_t kMemoryMax = 4ULL << 30;        // of addresses, beside what the parent has: several times the largest picture

Result<void> confine() {
#ifndef __SANITIZE_ADDRESS__  // whose shadow is memory, too
  rlimit before{};
  if (::getrlimit(RLIMIT_DATA, &before) != 0) return fail(os::os_error("getrlimit"));
  const rlimit most{std::min<rlim_t>(kMemoryMax, before.rlim_max), before.rlim_max};
  if (::setrlimit(RLIMIT_DATA, &most) != 0) return fail(os::os_error("setrlimit"));
#endif
  return apply_decoder_filter();
}

Result<std::string> work(std::span<const std::string> files, const gate::PicturePlan& plan) {
  TRY_VOID(confine());
  std::string result;
  for (const std::string& bytes : files) {
    const auto picture = decode_picture(bytes);
    const auto sample = picture ? gate::prepared(*picture, plan) : Result<std::string>(fail(picture.error()));
    const std::string& text = sample ? *sample : sample.error().message;
    result += wire::packed(std::uint64_t{sample.has_value()}) + wire::packed(std::uint64_t{text.size()}) + text;
  }
  return result;
}

// What comes back is what a stranger's file may have made of the process: checked like any other.
Result<std::vector<PreparedPicture>> read_result(std::string_view bytes, std::size_t count, const gate::PicturePlan& plan) {
  std::vector<PreparedPicture> all;
  wire::Reader reader(bytes);
  for (std::size_t i = 0; i < count; ++i) {
    const bool good = reader.number() == 1;
    const std::string_view text = reader.text();
    if (!reader.good() || (good && text.size() != gate::sample_size(plan))) return fail(Code::internal, "its process sent no result");
    all.push_back(good ? PreparedPicture{.sample = std::string(text)} : PreparedPicture{.why = std::string(text.substr(0, 500))});
  }
  return all;
}

}  // namespace

Result<std::vector<PreparedPicture>> prepare_pictures(std::span<const std::string> files, const gate::PicturePlan& plan,
                                                      const ChildLimits& limits) {
  if (files.empty()) return std::vector<PreparedPicture>();
  ChildLimits these = limits;
  these.time_max = std::min(files.size() == 1 ? kOneMax : kAllMax, limits.time_max);
  const auto done = in_a_process([&] { return work(files, plan); }, these);
  auto all = done ? read_result(*done, files.size(), plan) : Result<std::vector<PreparedPicture>>(fail(done.error()));
  if (all || all.error().code == Code::cancelled) return all;
  if (files.size() == 1) return std::vector<PreparedPicture>{{.sample = "", .why = "its decoder failed: " + all.error().message}};
  if (all.error().code == Code::deadline_exceeded && limits.time_max <= kAllMax) return all;
  // One of them did it. Which, they show alone.
  std::vector<PreparedPicture> each;
  for (const std::string& file : files) {
    TRY(auto one, prepare_pictures(std::span(&file, 1), plan, limits));
    each.push_back(std::move(one[0]));
  }
  return each;
}

}  // namespace mayfly::worker
