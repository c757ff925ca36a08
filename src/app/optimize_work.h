// The folder beside the output in which `mayfly optimize` makes its candidates, `.NAME.optimize`: on the same disk, so that the one that is
// taken needs only a new name, and a full disk is met before anything is replaced. It also holds what was measured so far, under a key
// of all that it depends on: after an interruption the next run goes on from there. Gone when the command ends otherwise.
#pragma once
#include <string>
#include <vector>

#include "app/optimize_report.h"
#include "base/result.h"
#include "os/fd.h"

namespace mayfly::app {

class OptimizeWork {
 public:
  // Takes what is there if its key is the same, else begins anew. Error conflict: another run works on this output.
  [[nodiscard]] static Result<OptimizeWork> open(const std::string& output, const std::string& key);
  OptimizeWork(OptimizeWork&&) = default;
  OptimizeWork& operator=(OptimizeWork&&) = delete;
  ~OptimizeWork();

  const std::vector<OptimizeRow>& done() const { return done_; }  // of the run before
  [[nodiscard]] Result<void> keep(const OptimizeRow& row);        // and its files
  [[nodiscard]] Result<std::string> folder_of(const std::string& recipe) const;  // made where it is not there
  std::string model_of(const std::string& recipe) const;          // a path; it has the output's name, which external data are named after
  std::string compiled_of(const std::string& recipe) const;
  // Moves a candidate's files to the output: its weights, then the model, then what was compiled of it. Who may read the original may
  // read them.
  [[nodiscard]] Result<void> take(const std::string& recipe, const std::string& original);
  void forget_files(const std::string& recipe) const;
  void stay() { stays_ = true; }                                  // the next run goes on

 private:
  OptimizeWork(std::string output, std::string key, os::Fd lock);
  std::string output_, folder_, key_;
  os::Fd lock_;
  std::vector<OptimizeRow> done_;
  bool stays_ = false;
};

}  // namespace mayfly::app
