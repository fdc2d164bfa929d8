"""How figures are written for people: three digits that count, and the unit that makes them short."""

from __future__ import annotations

from typing import Final

_TIMES: Final = ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs"), (1e-9, "ns"))
_SIZES: Final = ((1024.0**3, "GiB"), (1024.0**2, "MiB"), (1024.0, "KiB"))


def shown(value: float, unit: str) -> str:
    """`value`, in seconds, bytes, a share or whatever `unit` of a Metric says, as text."""
    if unit == "s":
        return duration(value)
    if unit == "B":
        return size(value)
    if unit == "/s":
        return f"{digits(value)}/s"
    if unit == "share":
        return f"{digits(100 * value)} %"
    return digits(value)


def duration(seconds: float) -> str:
    if seconds == 0:
        return "0 s"
    factor, name = next(((factor, name) for factor, name in _TIMES if abs(seconds) >= factor * 0.9995), _TIMES[-1])
    return f"{digits(seconds / factor)} {name}"


def size(number: float) -> str:
    """Below 10 KiB in bytes, as what a message carries is compared by the byte."""
    if abs(number) < 10_240:
        return f"{digits(number)} B" if number < 100 else f"{number:,.0f} B"
    factor, name = next((factor, name) for factor, name in _SIZES if abs(number) >= factor)
    return f"{digits(number / factor)} {name}"


def digits(value: float) -> str:
    """Three digits that count; whole numbers from 100 on, with commas; no zeros behind that say nothing."""
    if value == int(value) and abs(value) < 1e15:
        return f"{value:,.0f}"
    size = abs(value)
    if size >= 99.95:
        return f"{value:,.0f}"
    if size >= 9.995:
        return f"{value:.1f}"
    if size >= 0.9995:
        return f"{value:.2f}"
    return f"{value:.3g}" if size >= 1e-4 else f"{value:.1e}"
