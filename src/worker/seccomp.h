// The system-call allow-lists. A call that is not listed fails with EPERM and is logged where it is
// one that only an escape would try; see seccomp.cpp for each list and its reasons.
#pragma once
#include "base/result.h"
#include "domain/link.h"

namespace mayfly::worker {

// Built once in the zygote, so that a child only hands a finished program to the kernel.
[[nodiscard]] Result<void> prepare_filters();
// What every process in a sandbox may do at most; on before it reads its first order.
[[nodiscard]] Result<void> apply_common_filter();
// The same for a code sandbox: what programs in any language need, and nothing that is for another namespace, another process's
// memory or the kernel's insides. It stays on in whatever they exec. What is denied is not logged: exec forgets who would.
[[nodiscard]] Result<void> apply_code_filter();
// For the process that carries connections of a code sandbox to the outside (worker/outbound.h): it moves bytes and accepts, no more.
[[nodiscard]] Result<void> apply_outbound_filter();
// For the process that decodes pictures (worker/pictures.h): it computes and writes to what is open already. Needs nothing prepared.
[[nodiscard]] Result<void> apply_decoder_filter();
// Tightens further for the role it was given. Filters only ever add up. threads: of the engine, as ordered; an
// instance with one may not make more.
[[nodiscard]] Result<void> apply_role_filter(domain::Role role, int threads = 1);
// As an instance of one thread, which may also ask for the current folder and whether a name is there: the engine looks for the folder that
// weights are said to be in (worker/external_data.h). The sandbox has no files to find.
[[nodiscard]] Result<void> apply_in_place_filter();

}  // namespace mayfly::worker
