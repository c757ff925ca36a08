// Routes of Azure's HTTP triggers, as ASP.NET writes them: "orders/{id:int}/{*rest}". Pure; worker/azure.h asks.
//
// Promises: literal segments in any case; {name}, {name?}, {name=default}, {*rest}; the constraints int, long, double, float, decimal,
// bool, alpha and guid are checked, others are taken as met. Values are percent-decoded once.
#pragma once
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace mayfly::worker {

class AzureRoute {
 public:
  using Parameters = std::vector<std::pair<std::string, std::string>>;

  explicit AzureRoute(std::string_view text);                             // without or with a slash in front
  bool matches(std::string_view path, Parameters& parameters) const;      // adds to them, even where it does not match in the end
  int literals() const;                                                   // segments that are no parameters
  const std::string& text() const { return text_; }                       // with a slash in front

 private:
  struct Segment {
    std::string text;                          // a literal, or a parameter's name
    std::vector<std::string> constraints;
    std::string otherwise;                     // a default
    bool parameter = false, optional = false, rest = false;
  };
  static Segment segment_of(std::string_view text);

  std::string text_;
  std::vector<Segment> segments_;
};

}  // namespace mayfly::worker
