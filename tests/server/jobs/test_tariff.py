"""One file holds prices, tiers and limits, and a mistake in it is told by its name."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import pytest

from runtime.errors import InputError
from server.jobs.orders import KINDS
from server.jobs.tariff import PRICED, SHIPPED, Tariff, load_tariff
from tests.server.jobs.conftest import TARIFF


def test_the_tariff_that_is_shipped_prices_every_kind() -> None:
    tariff = load_tariff()
    assert set(tariff.prices) == set(KINDS) == set(PRICED)
    assert not tariff.tiers["local"].metered
    assert tariff.tiers["free"].priority < tariff.tiers["paid"].priority


def test_a_cost_is_rounded_up_to_whole_credits(tariff: Tariff) -> None:
    assert tariff.prices["lip_sync"] == Fraction(5, 2)
    assert tariff.cost("lip_sync", 3.0, "free") == 8
    assert tariff.cost("act", 4.0000000001, "free") == 20
    assert tariff.cost("act", 0.0, "free") == 0
    assert tariff.cost("act", 100.0, "local") == 0


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("act = 5", 'act = "five"', "a price that is no number"),
        ("act = 5", "act = -5", "a price below 0"),
        ("act = 5", "", "no price for act"),
        ("daily = 3", "dayly = 3", r"\[tiers.free\] says dayly; wanted name, priority"),
        ("daily = 3", "daily = 2.5", "daily = 2.5; wanted a whole number"),
        ("daily = 3", "daily = true", "daily = True; wanted int"),
        ("daily = 3", "daily = -3", "daily = -3; wanted 0 or more"),
        ("metered = false", "metered = 0", "metered = 0; wanted bool"),
        ("tries = 3", "", r"\[work\] is not complete"),
        ("[tiers.local]", "[tiers.lokal]", r"no \[tiers.local\]"),
        ("[prices]", "[price]", r"has \[price\]; wanted"),
        ("[prices]", "[prices", "cannot be read as a tariff"),
    ],
)
def test_a_mistake_is_told_by_its_name(tmp_path: Path, old: str, new: str, said: str) -> None:
    path = tmp_path / "tariff.toml"
    assert old in TARIFF
    path.write_text(TARIFF.replace(old, new, 1))
    with pytest.raises(InputError, match=said):
        load_tariff(path)


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.toml cannot be read as a tariff"):
        load_tariff(tmp_path / "none.toml")


def test_the_shipped_file_says_what_each_limit_is() -> None:
    text = SHIPPED.read_text(encoding="utf-8")
    for name in ("priority", "concurrency", "daily", "waiting", "per_minute", "credits", "metered"):
        assert f"#   {name} " in text
