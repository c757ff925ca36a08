// What a function's program prints, on its way to this process's own stderr, which is the function's log: line by line, each with
// what is known of it (domain/printed.h). Between both, so that a program that prints more than the log takes is neither
// blocked nor refused: what does not fit is dropped, and counted.
//
// Promises: a line belongs to the call that begin_call() told when it was read; what is printed before a call is answered is read before
// the answer (os::kFirst), but for an instant in which the kernel looks at both; a host that shows a call's lines to its caller calls
// drain() at both ends, which leaves none out and takes none in. A line without an end is told when its call is over.
// Not promised: the order of what is printed to stdout and to stderr within one turn of the loop.
#pragma once
#include <unistd.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "base/result.h"
#include "domain/printed.h"
#include "os/fd.h"
#include "os/loop.h"
#include "os/process.h"

namespace mayfly::worker {

class CodeOutput {
 public:
  using Also = std::function<void(std::string_view bytes)>;
  enum class Of : std::uint8_t { program, extension };

  // `log`: a descriptor that doesn't block. `also`: who is told all of it, the dropped bytes, too.
  [[nodiscard]] static Result<std::unique_ptr<CodeOutput>> create(os::Loop& loop, int log, Of of, Also also = {});
  ~CodeOutput() = default;
  CodeOutput(const CodeOutput&) = delete;
  CodeOutput& operator=(const CodeOutput&) = delete;

  // Called before anything is read because it was told that something is there: the call that it belongs to may not be known yet.
  void before_reading(std::function<void()> before) { before_ = std::move(before); }

  const os::Fd& far() const { return out_.far; }           // the program's ends, until it has them
  const os::Fd& far_errors() const { return err_.far ? err_.far : out_.far; }
  void forget_far();
  void drain();                                            // what is there now

  // What is printed from now on is this call's; from end_call() on, nobody's.
  void begin_call(std::uint64_t id_high, std::uint64_t id_low);
  void end_call();
  // Since begin_call(), or since the start: the last whole lines, of domain::kLastLinesMax bytes at most.
  std::string_view last_lines() const { return domain::last_lines(last_, domain::kLastLinesMax); }

 private:
  struct Pipe final : os::Watcher {
    Pipe(CodeOutput& o, domain::Stream s) : output(o), stream(s) {}
    ~Pipe();
    Result<void> open();
    void on_events(std::uint32_t events) override;
    CodeOutput& output;
    const domain::Stream stream;
    os::Fd near, far;
    std::string begun;                                     // of a line
    bool watched = false;
  };

  CodeOutput(os::Loop& loop, int log, Of of, Also also)
      : loop_(loop), log_(log), also_(std::move(also)),
        out_(*this, of == Of::program ? domain::Stream::out : domain::Stream::extension), err_(*this, domain::Stream::err) {}
  long move(Pipe& from);                                   // bytes; 0: everybody who could print has gone; below: nothing now
  void take(Pipe& from, std::string_view bytes);
  void end_line(Pipe& from);
  void say(domain::Stream stream, std::string_view line);
  void write_out();

  os::Loop& loop_;
  const int log_, pid_ = ::getpid();
  const Also also_;
  std::function<void()> before_;
  std::uint64_t id_high_ = 0, id_low_ = 0;
  std::string records_, last_;
  Pipe out_, err_;
  std::uint64_t dropped_ = 0;
};

}  // namespace mayfly::worker
