"""What a scenario found."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Finding:
    """One scenario's result."""

    scenario: str
    seed: int
    broken: list[str]
    """Each promise that was broken, in a line; empty is good."""
    figures: dict[str, object] = field(default_factory=dict)

    def line(self) -> str:
        """One line of the report."""
        figures = ", ".join(f"{name} {value}" for name, value in self.figures.items())
        verdict = f"{len(self.broken)} broken" if self.broken else "nothing broken"
        return f"{self.scenario}: {verdict} ({figures}; seed {self.seed})"
