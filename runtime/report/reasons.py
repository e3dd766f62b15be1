"""Counts why pictures have no score, with a few examples of each reason."""

from __future__ import annotations

import re
from collections import Counter, defaultdict

EXAMPLES = 3
_OTHER = "another reason"
_MOST = 1000  # reasons that are told apart, so that memory stays bounded whatever the messages hold
_DETAILS = re.compile(r"[;(:].*|\b\d+x\d+ ", re.DOTALL)


def reason_of(error: str) -> str:
    """The kind of an error, without what differs from picture to picture."""
    return _DETAILS.sub("", error).strip() or _OTHER


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
            reason = _OTHER
        self.counts[reason] += 1
        if len(self.examples[reason]) < EXAMPLES:
            self.examples[reason].append((source, error))
