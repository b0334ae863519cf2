"""Reading a checkpoint's ``scheduler_config.json`` the way a diffusers class reads it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from packshot.errors import RepositoryError

PREDICTION_TYPES = ("epsilon", "v_prediction", "sample")
TIMESTEP_SPACINGS = ("leading", "trailing", "linspace")
OFF = (False, None)
ON_OR_OFF = (True, False, None)

#: What every class of diffusers has in common, with the defaults they agree on.
TRAINING_DEFAULTS: dict[str, Any] = {
    "num_train_timesteps": 1000,
    "beta_start": 0.0001,
    "beta_end": 0.02,
    "beta_schedule": "linear",
    "trained_betas": None,
    "rescale_betas_zero_snr": False,
    "prediction_type": "epsilon",
    "steps_offset": 0,
}
#: What the classes with a choice of sigmas have in common.
KARRAS_DEFAULTS: dict[str, Any] = {
    "use_karras_sigmas": False,
    "use_exponential_sigmas": False,
    "use_beta_sigmas": False,
    "sigma_min": None,
    "sigma_max": None,
}
COMMON_ACCEPTED: dict[str, tuple[Any, ...]] = {
    "prediction_type": PREDICTION_TYPES,
    "timestep_spacing": TIMESTEP_SPACINGS,
    "beta_schedule": ("linear", "scaled_linear", "squaredcos_cap_v2"),
}


def read_options(
    config: Mapping[str, Any],
    class_name: str,
    defaults: Mapping[str, Any],
    accepted: Mapping[str, tuple[Any, ...]],
) -> dict[str, Any]:
    """The options of a class: the config's values, the class's own defaults for the others.

    Args:
        config: ``scheduler_config.json``, of whatever class the checkpoint names.
        class_name: the diffusers class whose ``from_config`` is followed.
        defaults: every option of the class that matters here.
        accepted: the values that can be served faithfully, for options where not all can.

    Raises:
        RepositoryError: an option has a value that is not accepted.
    """
    # diffusers drops the values that were the other class's defaults, not the checkpoint's choice.
    assumed = config.get("_use_default_values") or ()
    given = {name: value for name, value in config.items() if name in defaults and name not in assumed}
    options = {**defaults, **given}
    for name, values in accepted.items():
        if options[name] not in values:
            origin = "" if name in given else f" (the default of {class_name}: the file does not set it)"
            choices = ", ".join(map(repr, (value for value in values if value is not None)))
            raise RepositoryError(
                f"scheduler_config.json: {name}: got {options[name]!r}{origin}, "
                f"expected {choices} with this scheduler"
            )
    return options
