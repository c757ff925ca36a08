// A process entry for tests, in place of the engine's: it speaks the protocol (domain/link.h, frame.h), answers every
// request with its own body, and does on request what a broken or hostile model would. What it does is chosen by the
// order's model name ("crash at load", "never ready"…) or by a request's body ("crash", "exit", "overrun"…).
#pragma once
#include "os/fd.h"

namespace mayfly::security {

void run_standin(os::Fd control);

}  // namespace mayfly::security
