"""Counts why pictures have no score, with a few examples of each reason."""

from __future__ import annotations

from collections import Counter, defaultdict

from lifeiqa.runtime.errors import OTHER_REASON, reason_of

EXAMPLES = 3
_MOST = 1000  # reasons that are told apart, so that memory stays bounded whatever the messages hold


class Reasons:
    """Errors by reason.

    Attributes:
        counts: how many there are of each reason.
        examples: of each reason the first few sources, each with its whole message.
    """

    def __init__(self) -> None:
        self.counts = Counter[str]()
        self.examples: dict[str, list[tuple[str, str]]] = defaultdict(list)

    def add(self, source: str, error: str) -> None:
        """Counts one error."""
        reason = reason_of(error)
        if reason not in self.counts and len(self.counts) >= _MOST:
            reason = OTHER_REASON
        self.counts[reason] += 1
        if len(self.examples[reason]) < EXAMPLES:
            self.examples[reason].append((source, error))
