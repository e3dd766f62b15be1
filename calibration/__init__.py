"""Whether an exported model still agrees with the one it came from: how that is measured, and the limits."""

from lifeiqa.calibration.agreement import Agreement, compare
from lifeiqa.calibration.limits import Limit, limit_for

__all__ = ["Agreement", "Limit", "compare", "limit_for"]
