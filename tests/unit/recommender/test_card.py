from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree as ET

from recommender.artifact import read_manifest
from recommender.card import as_markdown, card_of, findings, to_svg, write_card
from recommender.evaluation import evaluate
from tests.unit.recommender import shop


def test_a_card_says_what_was_learned_and_how_good_it_is(tmp_path: Path) -> None:
    metrics = evaluate(shop.interactions(), shop.QUICK, seed=1, origins=1).as_dict()
    shop.trained().write(tmp_path / "v1", version="v1", metrics=metrics)
    manifest = read_manifest(tmp_path / "v1")
    card = write_card(tmp_path / "card", manifest, manifest.metrics)
    text = (tmp_path / "card" / "card.md").read_text()
    assert manifest.content_hash in text
    assert "2024-10-04 to 2025-05-31" in text
    for name in metrics["methods"]:
        assert name in text
    assert f"[{metrics['differences']['mixed']['gp_topfreq']['low']:+.4f}," in text
    assert json.loads((tmp_path / "card" / "card.json").read_text()) == json.loads(json.dumps(card))
    ET.parse(tmp_path / "card" / "card.svg")


def test_a_card_marks_what_is_served_and_not_the_list_that_a_baseline_stands_in_for() -> None:
    metrics = evaluate(shop.interactions(), shop.QUICK, seed=1, origins=1, max_users=20).as_dict()
    for arm, marked, plain in (("learned", "discover", "ease"), ("ease", "ease", "discover")):
        told = {**metrics, "served": {"mixed": "learned", "discover": arm}}
        text = as_markdown(card_of(shop.trained().serve().manifest, told))
        new_items = text.split("## New items only")[1].split("## ")[0]
        assert f"| **{marked}** |" in new_items
        assert f"| {plain} |" in new_items
        bars = to_svg([("shop", told)]).split("new items only")[1].split("<text")
        of_marked = next(bar for bar in bars if f">{marked}<" in bar)
        assert "#2a7f62" in of_marked


def test_a_card_without_a_measurement_says_so() -> None:
    card = card_of(shop.trained().serve().manifest, {})
    assert "Not measured" in as_markdown(card)
    assert card["findings"] == []


def test_a_card_says_where_a_baseline_wins() -> None:
    gaps = {
        "good": {"difference": 0.1, "low": 0.05, "high": 0.2},
        "better_baseline": {"difference": -0.1, "low": -0.2, "high": -0.05},
        "close": {"difference": 0.0, "low": -0.1, "high": 0.1},
    }
    told = findings(
        {"differences": {"mixed": gaps}, "chosen": [{"mixed": "top_frequency", "discover": "learned"}]}
    )
    assert any("**below** `better_baseline`" in sentence for sentence in told)
    assert any("`close`" in sentence and "nothing is settled" in sentence for sentence in told)
    assert any("top_frequency" in sentence for sentence in told)
