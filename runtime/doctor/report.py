"""What was found, as text for people and as JSON for programs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import Enum
from typing import Any

from rich.text import Text


class State(str, Enum):
    """What a check came to."""

    ok = "ok"
    absent = "absent"
    unknown = "unknown"
    broken = "broken"


_STYLES = {State.ok: "green", State.absent: "dim", State.unknown: "yellow", State.broken: "bold red"}


@dataclass(frozen=True)
class Check:
    """One thing that was looked at.

    Attributes:
        name: what it is, for people; unique in its section.
        state: "ok"; "absent": not here, which is no fault; "unknown": this system does not say; "broken": installed,
            and does not work.
        text: what was found, on one line; for what is broken also what to do about it.
        values: the same for programs, in types that JSON has.
    """

    name: str
    state: State
    text: str
    values: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Check:
        """Reads what `dataclasses.asdict` gave, by way of JSON."""
        return cls(values["name"], State(values["state"]), values["text"], values["values"])


@dataclass(frozen=True)
class Section:
    """Checks that belong together, in the order in which they are shown."""

    title: str
    checks: tuple[Check, ...]


@dataclass(frozen=True)
class Report:
    """Everything that was found."""

    sections: tuple[Section, ...]

    @property
    def broken(self) -> tuple[Check, ...]:
        """What is installed and does not work."""
        return tuple(check for section in self.sections for check in section.checks if check.state is State.broken)

    def to_json(self) -> str:
        """One object: `healthy`, and under `sections`, by title and name, `state`, `text` and `values`."""
        sections = {
            section.title: {c.name: {k: v for k, v in asdict(c).items() if k != "name"} for c in section.checks}
            for section in self.sections
        }
        return json.dumps({"healthy": not self.broken, "sections": sections}, indent=1)

    def to_text(self) -> Text:
        """Lines of state, name and finding under each section's title, and a last one that sums up."""
        width = max((len(check.name) for section in self.sections for check in section.checks), default=0)
        text = Text()
        for section in self.sections:
            text.append(f"{section.title}\n", "bold")
            for check in section.checks:
                text.append(f"  {check.state.value:7}", _STYLES[check.state])
                text.append(f"  {check.name:{width}}  {check.text}\n")
            text.append("\n")
        names = ", ".join(check.name for check in self.broken)
        if names:
            return text.append(f"Does not work: {names}.", _STYLES[State.broken])
        return text.append("All that is installed works.", _STYLES[State.ok])
