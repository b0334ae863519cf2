"""What every test may rely on."""

from __future__ import annotations

import os
import signal

# torch's, here and in what tests start. Their networks are too small to share between threads: on a busy
# machine two are ten times slower.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# A shell without job control starts background jobs with SIGINT ignored, and their children inherit
# that. Tests that interrupt a program would then test nothing.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
