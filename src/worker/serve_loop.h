// The life of an instance: take frames from the ring, decode and check them, run what waits as one
// batch, encode, reply. One thread. It grants credit by being asked only for what it said it wants
// (ReadyMessage::credit); the node never sends more.
//
// Promises: one reply for each request, in whatever order; a bad request fails alone, also within a batch; what is
// cancelled or past its deadline before it began is answered without being run; a run whose calls were all cancelled
// is stopped where the engine can (worker/run_watch.h); CPU told in replies adds up to what this process used since it was ready.
#pragma once
#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "base/time.h"
#include "domain/frame.h"
#include "os/fd.h"
#include "os/ring.h"
#include "worker/codec.h"
#include "worker/model.h"
#include "worker/node_control.h"
#include "worker/run_watch.h"

namespace mayfly::worker {

struct ServeOptions {
  std::string model_name;
  int version_number = 0;
  int rows_max = 1;
  Duration batch_wait{};
  bool batches = true;       // as the check found; only where the signature says so too
  std::vector<std::string> labels;  // of classes, for the classification extension
};

constexpr std::uint32_t kCreditMax = 64;

class ServeLoop {
 public:
  ServeLoop(Model& model, int control, os::Ring in, os::Ring out, ServeOptions options);

  // Until it is told to stop (true: everything was answered) or the node is gone (false).
  bool run();
  std::uint32_t credit() const;

 private:
  struct Work {
    domain::RequestHead head;
    std::string body;            // a copy, with os::kPadding bytes behind it
    os::Mapping large;
    DecodeMemory memory;
    DecodedRequest request;
    Instant begun;
    Duration decode{};
  };

  bool intake();                 // frames to waiting_; false: the node is gone
  bool accept(std::span<const std::byte> frame);
  bool take_large_body(Work& work);
  bool wait(Duration at_most);
  bool spin();
  void run_batch();
  bool same_shapes(const Work& a, const Work& b) const;
  std::size_t choose_batch();
  void run_together(std::size_t count);
  void run_alone(Work& work);
  Result<std::span<const TensorView>> run_joined(std::size_t count, std::int64_t rows);
  void answer(Work& work, std::span<const TensorView> outputs, Duration run, std::int64_t batch_rows, std::int64_t first_row);
  Result<void> write_reply(const Work& work, std::span<const TensorView> outputs);
  std::span<const TensorView> cut(std::span<const TensorView> outputs, std::int64_t batch_rows, std::int64_t first_row, std::int64_t rows);
  void refuse(const Work& work, const Error& error, std::uint64_t cpu = 0);
  void drop_overdue();
  void reply(domain::ReplyHead head, std::string_view body);
  std::uint64_t cpu_since_last();

  Model& model_;
  NodeControl control_;
  os::Ring in_, out_;
  const ServeOptions options_;
  bool batches_;
  const std::string version_text_;
  Decoder decoder_;
  RunWatch watch_;
  std::deque<Work> waiting_;
  std::vector<Work> spare_;    // answered; their memory is used again
  std::vector<std::vector<std::byte>> joined_;
  std::vector<TensorView> joined_inputs_, part_;
  Encoded encoded_;
  Duration cpu_told_{};
  std::uint64_t cpu_batch_ = 0;             // of the batch that is answered; each request tells its part
  bool gone_ = false;
  bool may_spin_ = false;
  int spin_misses_ = 0, spin_pause_ = 0;
};

}  // namespace mayfly::worker
