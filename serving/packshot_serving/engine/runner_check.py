"""Telling a runner that is broken from requests that break it."""

from __future__ import annotations

import logging

from packshot.family import Family
from packshot_serving.engine.capacity import measure_step_times
from packshot_serving.engine.runner import Runner

logger = logging.getLogger(__name__)

#: Turns in a row that bring nobody a step further before the runner has to prove itself.
FUTILE_TURNS = 3


class RunnerCheck:
    """Watches what comes of the engine's turns.

    A lost GPU fails one request after another as if each were at fault, and never comes back. Pictures that
    are too large for the memory fail likewise; but then the smallest one does not.
    """

    def __init__(self, runner: Runner, family: Family) -> None:
        self._runner, self._family = runner, family
        self._futile_turns = 0

    def tried(self, stepped: bool) -> None:
        """A turn in which some requests were tried; whether any of them came a step further."""
        self._futile_turns = 0 if stepped else self._futile_turns + 1

    def prove(self) -> None:
        """Take a step of the smallest picture, if the last turns were all futile.

        Raises:
            Exception: the runner's, if it cannot do even that.
        """
        if self._futile_turns < FUTILE_TURNS:
            return
        logger.error("all requests of %d turns in a row failed; trying the smallest picture", FUTILE_TURNS)
        side = self._family.canvas.min_side
        measure_step_times(self._runner, self._family, (1,), side=side, budget_s=0.0)
        self._futile_turns = 0
