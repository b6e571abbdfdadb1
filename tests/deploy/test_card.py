"""The card says how the model is fed; names of strangers' files stand in it as they are, and do nothing."""

import html
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from precbench.datasets import Preprocessing
from precbench.deploy.card import _code, _shown, model_card
from precbench.errors import printable

EVIL = "![x](http://evil.example/t.png) [click](javascript:alert(1)) **b** <b>&lt; `c` a|b ~~d~~ www.evil.example"


def manifest(name: str = "m.onnx", **changes: Any) -> dict[str, Any]:
    source = {"file": name, "digest": "sha256:00"}
    spec = {"name": name, "dtype": "float32", "shape": [name, None, 3]}
    value: dict[str, Any] = {
        "source": source,
        "reference": source,
        "form": "fp16",
        "accuracy": None,
        "accuracy_not_measured": None,
        "time": None,
        "bytes": {"model": 1, "reference": 2, "zstd_model": 1, "zstd_reference": 2},
        "opset": 17,
        "inputs": [spec],
        "outputs": [spec],
        "preprocessing": None,
        "environment": {"packages": {}},
        "precbench": "1",
        "created": "now",
        "command": ["precbench", "deploy", name],
        "about": {"kept_in_float32": {name: "why"}},
        "tried": [{"form": "int8", "made": False, "reason": name}],
    }
    return {**value, **changes}


def rendered(text: str) -> str:
    return str(MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"]).render(text))


def test_a_hostile_name_is_no_picture_no_link_and_no_markup_anywhere() -> None:
    page = rendered(model_card(manifest(EVIL)))
    assert not re.search("<(img|a|strong|b|s)[ >]", page)
    assert (
        page.count(html.escape(EVIL)) == 10
    )  # title, reference, source; name and shape of both ends; command, kept, tried
    assert page.count("<tr>") == 5 + 3


@given(st.text(min_size=1))
def test_any_text_is_shown_as_it_is_on_one_line(text: str) -> None:
    line = printable(text)
    assert html.unescape(rendered(f"a {_shown(text)} b")) == f"<p>a {line} b</p>\n"
    if line:
        assert html.unescape(re.findall("<code>(.*)</code>", rendered(f"a {_code(text)} b"))[0]) == line


@pytest.mark.parametrize("name", ["www.evil.example", "HTTP://evil.example", "a@evil.example"])
def test_what_github_makes_a_link_of_without_brackets_is_parted(name: str) -> None:
    assert not re.search(r"(?i)www\.|[^\\]://|[^\\]@", _shown(name))


def test_the_card_says_how_images_are_fed() -> None:
    card = model_card(manifest(preprocessing=Preprocessing.for_mode("caffe", (224, 192)).to_json()))
    assert "largest centred window of the shape 224 x 192 (height x width), resized to that size (bilinear)" in card
    assert "put in the order BGR" in card
    assert "- scale 1, 1, 1\n- offset -103.939, -116.779, -123.68\n" in card


def test_the_card_says_where_no_preprocessing_is_recorded() -> None:
    assert "No preprocessing is recorded" in model_card(manifest())


def test_a_form_that_was_tried_has_its_time_at_every_batch_size() -> None:
    ratio = {"point": 0.5, "low": 0.4, "high": 0.6}
    times = [{"batch": 1, "ratio": ratio}, {"batch": 32, "ratio": {"point": None}}]
    row = {"form": "int8", "made": True, "drop_points": 0.25, "time": times}
    said = (
        "- also tried: int8, may lose 0.25 points, time at batch 1 0.500 [0.400, 0.600], time at batch 32 not measured"
    )
    assert said in model_card(manifest(tried=[row]))
    assert "accuracy not measured, not timed" in model_card(
        manifest(tried=[{**row, "drop_points": None, "time": None}])
    )
