// Ids as distinct types: a swapped argument does not compile. value() takes the number out at the edge.
#pragma once
#include <compare>
#include <cstdint>
#include <functional>

namespace mayfly {

template <class Tag>
struct Id {
  std::uint64_t number = 0;  // 0: none
  friend constexpr auto operator<=>(Id, Id) = default;
  constexpr explicit operator bool() const { return number != 0; }
};

using FunctionId = Id<struct FunctionTag>;  // a row of the catalog; survives restarts, never reused
using VersionId = Id<struct VersionTag>;    // a row of the catalog: one version of one function
using ProcessId = Id<struct ProcessTag>;    // an instance, a template or a job process; unique within one run of the node
using Ticket = Id<struct TicketTag>;        // one invocation in flight; unique within one run of the node

}  // namespace mayfly

template <class Tag>
struct std::hash<mayfly::Id<Tag>> {
  std::size_t operator()(mayfly::Id<Tag> id) const noexcept { return std::hash<std::uint64_t>()(id.number); }
};
