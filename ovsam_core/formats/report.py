"""What reading, writing or converting annotation files found: every problem with file, place and field."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

__all__ = ["Problem", "Report", "Severity"]

Severity = Literal["error", "warning", "note"]


@dataclass(frozen=True, slots=True)
class Problem:
    """One finding.

    Attributes:
        file: the file it is in.
        where: the record: "images[3]", "annotation 17", a line; empty for the file as a whole.
        field: the field; empty where none in particular.
        message: what is wrong and what was expected.
        severity: "error": the item was left out; "warning": it was kept, though something is wrong; "note": nothing is
            wrong, but the format could not hold something, or something was written in another form.
    """

    file: str
    where: str
    field: str
    message: str
    severity: Severity = "error"

    def __str__(self) -> str:
        place = " ".join(part for part in (self.where, self.field) if part)
        return f"{self.severity}: {self.file}: {place + ': ' if place else ''}{self.message}"


@dataclass(frozen=True, slots=True)
class Report:
    """Everything found in one run.

    Attributes:
        problems: in the order of the file.
        counts: how many of what was read or written ("images", "annotations", …).
        rejected: (section, item as it stood in the file) of everything left out, so that nothing is lost.
    """

    problems: tuple[Problem, ...] = ()
    counts: dict[str, int] = field(default_factory=dict)
    rejected: tuple[tuple[str, Any], ...] = ()

    @property
    def errors(self) -> tuple[Problem, ...]:
        """Problems for which something was left out."""
        return tuple(p for p in self.problems if p.severity == "error")

    @property
    def ok(self) -> bool:
        """Whether there is neither error nor warning."""
        return all(p.severity == "note" for p in self.problems)

    def __add__(self, other: Report) -> Report:
        counts = dict(self.counts)
        for name, number in other.counts.items():
            counts[name] = counts.get(name, 0) + number
        return Report(self.problems + other.problems, counts, self.rejected + other.rejected)

    def to_dict(self) -> dict[str, Any]:
        """JSON form: {"ok", "counts", "problems": [{"severity", "file", "where", "field", "message"}], "rejected"}."""
        problems = [
            {"severity": p.severity, "file": p.file, "where": p.where, "field": p.field, "message": p.message}
            for p in self.problems
        ]
        return {"ok": self.ok, "counts": self.counts, "problems": problems, "rejected": len(self.rejected)}

    def text(self, limit: int = 50) -> str:
        """Readable lines: counts, then up to `limit` problems, worst first."""
        lines = [", ".join(f"{number} {name}" for name, number in self.counts.items())] if self.counts else []
        order = {"error": 0, "warning": 1, "note": 2}
        worst = sorted(self.problems, key=lambda p: order[p.severity])
        lines += [str(p) for p in worst[:limit]]
        if len(worst) > limit:
            lines.append(f"… and {len(worst) - limit} more")
        return "\n".join(lines)


class Findings:
    """Collects problems while a file is read or written."""

    def __init__(self, file: str | Path) -> None:
        self.file = str(file)
        self.problems: list[Problem] = []
        self.rejected: list[tuple[str, Any]] = []

    def error(self, where: str, field_name: str, message: str, *, item: tuple[str, Any] | None = None) -> None:
        """Record that an item (section, raw form) was left out."""
        self.problems.append(Problem(self.file, where, field_name, message, "error"))
        if item is not None:
            self.rejected.append(item)

    def warn(self, where: str, field_name: str, message: str) -> None:
        """Record that something kept is wrong."""
        self.problems.append(Problem(self.file, where, field_name, message, "warning"))

    def note(self, where: str, field_name: str, message: str) -> None:
        """Record what a format could not hold, or holds in another form."""
        self.problems.append(Problem(self.file, where, field_name, message, "note"))

    def report(self, counts: dict[str, int] | None = None, extra: Iterable[Problem] = ()) -> Report:
        """Close the collection."""
        return Report((*self.problems, *extra), counts or {}, tuple(self.rejected))
