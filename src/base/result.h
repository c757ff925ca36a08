// Result<T>: a value or an Error; the one place that names std::expected. What is expected to fail
// returns a Result; a bug is an ASSERT (base/assert.h); a library's exception is caught in the file
// that calls the library and becomes an Error.
#pragma once
#include <expected>
#include <string>
#include <string_view>
#include <utility>

namespace mayfly {

// For machines: what a caller can act on. One code, one HTTP status, one gRPC status.
// Twelve is enough; what a person needs to know goes in the message. The values are part of the
// frames between node and instance and of the usage log: never renumber.
enum class Code : unsigned char {
  invalid_argument = 1, unauthenticated = 2, permission_denied = 3, not_found = 4, conflict = 5, exhausted = 6,
  cancelled = 7, deadline_exceeded = 8, unavailable = 9, unimplemented = 10, data_loss = 11, internal = 12,
};

[[nodiscard]] constexpr std::string_view name(Code code) {
  constexpr std::string_view kNames[] = {"?", "invalid_argument", "unauthenticated", "permission_denied", "not_found",
      "conflict", "exhausted", "cancelled", "deadline_exceeded", "unavailable", "unimplemented", "data_loss", "internal"};
  const auto at = static_cast<std::size_t>(code);
  return at < std::size(kNames) ? kNames[at] : kNames[0];
}

struct Error {
  Code code = Code::internal;
  std::string message;  // says what, which value, and what to do
};

template <class T>
using Result = std::expected<T, Error>;

[[nodiscard]] inline std::unexpected<Error> fail(Code code, std::string message) {
  return std::unexpected(Error{code, std::move(message)});
}
[[nodiscard]] inline std::unexpected<Error> fail(Error error) { return std::unexpected(std::move(error)); }

}  // namespace mayfly

// TRY(auto x, f()) takes the value out, or returns the error to the caller. TRY_VOID(f()) for Result<void>.
#define MAYFLY_JOIN_(a, b) a##b
#define MAYFLY_JOIN(a, b) MAYFLY_JOIN_(a, b)
#define MAYFLY_TRY_(tmp, decl, expr)                     \
  auto tmp = (expr);                                     \
  if (!tmp) return std::unexpected(std::move(tmp).error()); \
  decl = *std::move(tmp)
#define TRY(decl, expr) MAYFLY_TRY_(MAYFLY_JOIN(try_, __COUNTER__), decl, expr)
#define TRY_VOID(expr) \
  do { if (auto try_void_ = (expr); !try_void_) return std::unexpected(std::move(try_void_).error()); } while (false)
