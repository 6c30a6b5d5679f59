"""Rows that are the same on every machine: a row is a function of its index. They are those of the Rust example."""

from collections.abc import Iterator
from typing import Any

from bridge import Column, Kind

COLUMNS = [
    Column("id", Kind.INT64, key=True),
    Column("name", Kind.TEXT, nullable=False),
    Column("email", Kind.TEXT),
    Column("score", Kind.FLOAT64, nullable=False),
    Column("active", Kind.BOOLEAN, nullable=False),
    Column("created_at", Kind.TIMESTAMP, nullable=False),
    Column("balance", Kind.DECIMAL, nullable=False),
    Column("device", Kind.UUID, nullable=False),
]
FIRST_NAMES = (
    "Ada Björn Chiara Dmitri Emeka Fatima Grace Hiroshi Ingrid João Kavya Lars Mei Noor Olga Pedro".split()
)
LAST_NAMES = (
    "Almeida Baker Costa Duval Eriksson Fischer García Haddad "
    "Ivanova Jansen Kowalska Lindqvist Müller Nakamura O'Neill Petrov"
).split()
#: 2020-01-01T00:00:00Z in microseconds.
FIRST_INSTANT = 1_577_836_800_000_000
#: Between two people, in microseconds.
STEP = 61_000_250
MASK = (1 << 64) - 1


def people(first: int, end: int) -> Iterator[tuple[Any, ...]]:
    """The rows at these indexes, from 0."""
    for index in range(first, end):
        noise = mix(index)
        high, low = f"{noise:016x}", f"{mix(noise):016x}"
        yield (
            index + 1,
            f"{FIRST_NAMES[noise % 16]} {LAST_NAMES[(noise >> 4) % 16]}",
            f"person{index}@example.com" if noise % 5 else None,
            (noise >> 8) % 100_000 / 1_000,
            noise % 3 != 0,
            FIRST_INSTANT + (index + 1) * STEP,
            f"{(noise >> 20) % 10_000_000}.{(noise >> 44) % 10}{(noise >> 48) % 10}",
            f"{high[:8]}-{high[8:12]}-8{high[13:]}-a{low[1:4]}-{low[4:]}",
        )


def mix(index: int) -> int:
    """Spreads the bits of an index over all of the result (the finalizer of splitmix64)."""
    bits = (index + 0x9E3779B97F4A7C15) & MASK
    bits = (bits ^ bits >> 30) * 0xBF58476D1CE4E5B9 & MASK
    bits = (bits ^ bits >> 27) * 0x94D049BB133111EB & MASK
    return bits ^ bits >> 31
