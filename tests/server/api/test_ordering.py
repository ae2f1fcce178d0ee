"""What requests mean to our own commands, with files that are only said to be there."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
from fastapi.exceptions import RequestValidationError

from runtime.errors import InputError
from server.api.intake import Taken, WrongKindError
from server.api.ordering import Ordering
from server.api.probe import Kind, Media
from server.api.shapes import CharacterPerformanceRequest, LipSyncRequest
from server.jobs.orders import ActOrder, DubOrder

MEDIA = {
    "face": Media(kind="image", suffix=".png", seconds=0, width=64, height=64, has_sound=False),
    "talk": Media(kind="video", suffix=".mp4", seconds=40, width=64, height=64, has_sound=True),
    "mute": Media(kind="video", suffix=".mp4", seconds=8, width=64, height=64, has_sound=False),
    "said": Media(kind="audio", suffix=".wav", seconds=3, width=0, height=0, has_sound=True),
}


def take(uri: str, wanted: Kind, called: str) -> Taken:
    name = uri.removeprefix("runway://")
    if name not in MEDIA:
        raise InputError(f"{uri} is not known")
    taken = Taken(name, Path("uploads") / name, MEDIA[name])
    if taken.media.kind != wanted:
        raise WrongKindError(f"{called} is no {wanted}", taken)
    return taken


ordering = Ordering(take)


def lip_sync(source: str, speech: dict[str, str], **more: object) -> LipSyncRequest:
    kind = MEDIA[source].kind
    body = {"source": {"type": kind, "uri": f"runway://{source}"}, "speech": speech, **more}
    return LipSyncRequest.model_validate(body)


def said(name: str) -> dict[str, str]:
    return {"type": "audio", "uri": f"runway://{name}"}


def refused(request: LipSyncRequest) -> tuple[str, str]:
    with pytest.raises(RequestValidationError) as error:
        ordering.lip_sync(request)
    (issue,) = error.value.errors()
    return ".".join(issue["loc"][1:]), issue["msg"]


def test_a_reference_of_any_length_is_acted_and_costs_its_length() -> None:
    request = CharacterPerformanceRequest.model_validate({
        "model": "act_two", "character": {"type": "image", "uri": "runway://face"},
        "reference": {"type": "video", "uri": "runway://talk"},
    })  # fmt: skip
    ordered = ordering.act(request)
    assert isinstance(ordered.order, ActOrder)
    assert (ordered.seconds, ordered.uploads, ordered.warnings) == (40, ("face", "talk"), ())
    assert (ordered.order.options.ratio, ordered.order.options.face) == (None, "largest")


def test_body_control_moves_a_pictures_shoulders_and_the_answer_says_what_stays() -> None:
    def asked(kind: str, name: str, control: bool) -> tuple[bool, list[str]]:
        request = CharacterPerformanceRequest.model_validate({
            "model": "act_two", "character": {"type": kind, "uri": f"runway://{name}"},
            "reference": {"type": "video", "uri": "runway://talk"}, "bodyControl": control,
        })  # fmt: skip
        ordered = ordering.act(request)
        assert isinstance(ordered.order, ActOrder)
        return ordered.order.options.body, [warning.split()[0] for warning in ordered.warnings]

    assert asked("image", "face", False) == (False, [])
    assert asked("image", "face", True) == (True, ["bodyControl"])
    assert asked("video", "mute", True) == (False, ["a"])


def test_a_dub_costs_what_its_result_will_last() -> None:
    assert ordering.lip_sync(lip_sync("talk", said("said"))).seconds == 3
    assert ordering.lip_sync(lip_sync("talk", said("said"), length="silence")).seconds == 40


def test_a_video_with_sound_says_it_as_well_as_a_sound_file() -> None:
    ordered = ordering.lip_sync(lip_sync("face", said("talk"), still=True))
    assert isinstance(ordered.order, DubOrder)
    assert (ordered.order.options.audio, ordered.order.options.still) == (Path("uploads/talk"), True)
    assert refused(lip_sync("face", said("mute"))) == ("speech.uri", "speech.uri is no audio")


def test_what_a_picture_cannot_do_is_told_before_anything_is_ordered() -> None:
    assert refused(lip_sync("face", said("said"), length="loop"))[0] == "length"
    assert refused(lip_sync("face", said("said"), face="all"))[0] == "face"


@pytest.mark.skipif(importlib.util.find_spec("espeakng_loader") is None, reason="no voice; make setup brings it")
def test_a_text_is_said_in_a_language_that_the_voice_has() -> None:
    assert ordering.lip_sync(lip_sync("face", {"type": "text", "text": "x" * 50, "language": "de"})).seconds == 5
    where, why = refused(lip_sync("face", {"type": "text", "text": "x", "language": "klingonese"}))
    assert where == "speech"
    assert "klingonese" in why
