"""Whether an exported model still agrees with the one it came from: how that is measured, and the limits."""

from lifeiqa.calibration.agreement import Agreement, compare
from lifeiqa.calibration.limits import LIMITS, Limit

__all__ = ["LIMITS", "Agreement", "Limit", "compare"]
