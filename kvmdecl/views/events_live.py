"""Events on a terminal: a moving line for each busy host while the run lasts, and a summary that stays."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Self, TextIO

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from kvmdecl.events import GateEnded, RolloutStopped, StepDone, StepFailed, StepRefused, WaveStarted
from kvmdecl.text import safe_text
from kvmdecl.views.board import Board, HostTally, conclusion, gate_line, problem_lines, rollout_line

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import RenderableType

    from kvmdecl.events import Event
    from kvmdecl.plan import Plan
    from kvmdecl.state import Address

_REFRESH = 8  # per second
_BAR = 16  # cells
_BAR_FROM = 80  # narrower terminals need the room for names


class LiveView:
    """Shows events as they come. Use it as a context manager: the moving part vanishes when it is left."""

    def __init__(
        self, plan: Plan, out: TextIO, *, color: bool, width: int | None = None, height: int | None = None
    ) -> None:
        """Show the events of applying `plan` on the terminal `out`; its size is asked for if not given."""
        self._board = Board(plan)
        self._lock = threading.RLock()  # rich draws from a thread of its own
        # The caller decided that this is a terminal and whether it has colours: rich need not guess again.
        self._console = Console(
            file=out,
            force_terminal=True,
            color_system="standard" if color else None,
            no_color=not color,
            width=width,
            height=height,
            markup=False,
            emoji=False,
            highlight=False,
        )
        self._live = Live(
            console=self._console, get_renderable=self._render, refresh_per_second=_REFRESH, transient=True
        )

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        self._live.stop()
        for line in self._summary():
            self._console.print(line, soft_wrap=True)

    def show(self, event: Event) -> None:
        """Take one event in, to be drawn at the next refresh. Problems and remarks are printed and stay."""
        with self._lock:
            self._board.note(event)
        if isinstance(event, StepFailed | StepRefused):
            for number, line in enumerate(problem_lines(event)):
                self._console.print(Text(line, style="" if number else "bold red"), soft_wrap=True)
        elif isinstance(event, WaveStarted | RolloutStopped | GateEnded):
            self._console.print(Text(rollout_line(event), style="bold"), soft_wrap=True)
        elif isinstance(event, StepDone):
            for remark in event.remarks:
                told = f"{safe_text(str(event.address))}: {safe_text(remark)}"
                self._console.print(Text(told, style="yellow"), soft_wrap=True)

    def _summary(self) -> Iterator[Text]:
        with self._lock:
            finished, interrupted = self._board.finished, self._board.interrupted
        if interrupted:
            yield Text("Interrupted: what was not begun is left for the next apply.", style="bold yellow")
        if finished is not None:
            style = "bold red" if finished.failed or finished.refused else "bold"
            yield Text(conclusion(finished), style=style)

    def _render(self) -> RenderableType:
        with self._lock:
            shown = [host for host, tally in self._board.hosts.items() if self._is_busy(host, tally)]
            room = max(1, self._console.height - 2 - bool(self._board.gate))
            rows = shown[:room] if len(shown) <= room else shown[: room - 1]
            parts: list[RenderableType] = [self._table(rows)]
            if len(shown) > len(rows):
                parts.append(Text(f"and {len(shown) - len(rows)} more hosts", style="dim"))
            if self._board.gate is not None:
                told = Text(gate_line(self._board.gate), no_wrap=True, overflow="ellipsis")
                parts.append(told)
            parts.append(self._total())
            return Group(*parts)

    def _is_busy(self, host: str, tally: HostTally) -> bool:
        return tally.ended < tally.steps or any(address.host == host for address in self._board.running)

    def _table(self, hosts: list[str]) -> Table:
        table = Table.grid(padding=(0, 2, 0, 0), expand=True)
        table.add_column(no_wrap=True, overflow="ellipsis", max_width=24)
        table.add_column(no_wrap=True, justify="right")
        if self._console.width >= _BAR_FROM:
            table.add_column(no_wrap=True, width=_BAR)
        table.add_column(no_wrap=True, overflow="ellipsis", ratio=1)
        for host in hosts:
            table.add_row(*self._row(host))
        return table

    def _row(self, host: str) -> Iterator[Text]:
        tally = self._board.hosts[host]
        running = [address for address in self._board.running if address.host == host]
        failed = tally.failed + tally.refused
        yield Text(safe_text(host), style="bold red" if failed else "bold")
        yield Text(f"{tally.ended}/{tally.steps}")
        if self._console.width >= _BAR_FROM:
            yield self._bar(tally, running)
        yield Text(self._current(running))

    def _bar(self, tally: HostTally, running: list[Address]) -> Text:
        """Steps that ended, and the finished parts of those that tell."""
        told = filter(None, map(self._board.running.get, running))
        parts = sum(p.done / p.total for p in told if p.unit == "bytes" and p.total)
        share = min(1.0, (tally.ended + parts) / tally.steps) if tally.steps else 1.0
        filled = round(share * _BAR)
        return Text("#" * filled, style="green").append("-" * (_BAR - filled), style="dim")

    def _current(self, running: list[Address]) -> str:
        if not running:
            return "waiting"
        # A step that says how far it is tells more than one that is over in a moment.
        telling = next((address for address in running if self._board.running[address]), running[0])
        more = f"  (+{len(running) - 1})" if len(running) > 1 else ""
        return f"{self._board.doing(telling)}{more}"

    def _total(self) -> Text:
        tallies = self._board.hosts.values()
        ended, steps = (sum(getattr(tally, name) for tally in tallies) for name in ("ended", "steps"))
        stopping = "; interrupted, waiting for what is running" if self._board.interrupted else ""
        return Text(f"{ended} of {steps} steps{stopping}", style="bold", no_wrap=True, overflow="ellipsis")
