// Work that may block, behind the loop: `done` runs on the loop's thread with what it returned, or at once where the
// line is full, with `exhausted` and the words of `busy`.
#pragma once
#include <memory>
#include <type_traits>

#include "control/node.h"

namespace mayfly::control {

constexpr const char* kCatalogBusy = "the catalog has too much to write already: try again";
constexpr const char* kDiskBusy = "the disk has too much to write already: try again";

template <class Work, class T = std::invoke_result_t<Work>::value_type>
void behind(const Background& line, const char* busy, Work work, std::type_identity_t<Done<T>> done) {
  const auto result = std::make_shared<Result<T>>(fail(Code::internal, "not run"));
  const auto told = std::make_shared<Done<T>>(std::move(done));
  const bool taken = line([result, work = std::move(work)] { *result = work(); },
                          [result, told] { if (*told) (*told)(std::move(*result)); });
  if (!taken && *told) (*told)(fail(Code::exhausted, busy));
}

}  // namespace mayfly::control
