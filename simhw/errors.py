"""The family of errors a user can cause. Anything else is our bug and keeps its traceback."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence


class SimhwError(Exception):
    """One or more faults in what the user gave; each fault is one line that says what would do."""

    def __init__(self, faults: str | Sequence[str]) -> None:
        self.faults: tuple[str, ...] = (faults,) if isinstance(faults, str) else tuple(faults)
        super().__init__("\n".join(self.faults))


class DescriptionError(SimhwError):
    """A description of an accelerator, or an option that overrides it, is wrong."""


class MappingError(SimhwError):
    """A mapping is not legal on this machine, or none exists."""


class WorkloadError(SimhwError):
    """A workload file, its weights or its inputs are wrong."""


class DataError(SimhwError):
    """A data set is absent or not what its name says."""


class TraceError(SimhwError):
    """A trace file is cut short, altered, of another version or not a trace."""


class TransformError(SimhwError):
    """A transform was asked for what its layer does not allow."""


class RecipeError(SimhwError):
    """A recipe of a training, or the checkpoint of one, is wrong."""


class ParameterError(SimhwError):
    """A parameter file is wrong, of another kind than was wanted, or belongs to another network."""


class TuningError(ParameterError):
    """A tuning file or its recipe is wrong, or belongs to another network."""


class TechnologyError(SimhwError):
    """A technology table is wrong, or has no price for an action."""


class ResultError(SimhwError):
    """A result file is wrong."""


class ComparisonError(SimhwError):
    """Results that do not speak of the same network and inputs were to be compared."""


class ScheduleError(SimhwError):
    """A schedule says what cannot be: a circle of waits, a task that is not there, time that runs back."""


class PluginError(SimhwError):
    """A plug-in could not be loaded or clashes with what exists."""


class MissingExtraError(SimhwError):
    """An optional package is needed and not installed."""


def did_you_mean(name: object, known: Iterable[str]) -> str:
    """Return "; did you mean 'x'? known: a, b, c", for the end of a message."""
    names = sorted(set(known))
    close = difflib.get_close_matches(str(name), names, n=1, cutoff=0.6)
    hint = f"; did you mean {close[0]!r}?" if close else ";"
    return f"{hint} known: {', '.join(names) if names else 'none'}"
