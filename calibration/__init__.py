"""Activation ranges, Q/DQ graphs, and whether an exported model still agrees with the one it came from."""

from lifeiqa.calibration.agreement import Agreement, compare, compare_pictures
from lifeiqa.calibration.limits import Limit, limit_for

__all__ = ["Agreement", "Limit", "compare", "compare_pictures", "limit_for"]
