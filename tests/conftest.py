"""What every test may rely on."""

from __future__ import annotations

import signal

# A shell without job control starts background jobs with SIGINT ignored, and their children inherit
# that. Tests that interrupt a program would then test nothing.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
