"""Slots: what reservations hold of concurrency budgets is given back when their calls are over.

Pure, as decide.py.
"""

from __future__ import annotations

from outlay.domain.decide import Decision
from outlay.domain.outcomes import Freed
from outlay.domain.reservations import Reservation
from outlay.domain.resolve import Periods


def has_slots(reservation: Reservation) -> bool:
    """Whether a reservation counts against concurrency budgets, those made later included."""
    return reservation.amounts.get("concurrency", 1) > 0


def decide_free(reservation: Reservation, periods: Periods) -> Decision:
    """Give back what the reservation holds of concurrency budgets; its other holds and its end stay open.

    From then on its amount of concurrency is 0, so that no new budget counts it.
    """
    kept, changed, is_held = [], [], False
    for hold in reservation.holds:
        if hold.unit != "concurrency":
            kept.append(hold)
            continue
        is_held = is_held or hold.amount > 0
        period = periods.get(hold.period_key)
        if period is not None:
            changed.append(period._replace(reserved=period.reserved - hold.amount))
    amounts = {**reservation.amounts, "concurrency": 0}
    freed = reservation._replace(holds=tuple(kept), amounts=amounts)
    return Decision(Freed(int(is_held)), changed, freed)
