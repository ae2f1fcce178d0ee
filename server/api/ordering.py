"""Requests made into orders: what Runway's words mean to our own commands. Nothing is decoded or rendered here."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from fastapi.exceptions import RequestValidationError

from runtime.errors import InputError
from server.act import ActOptions
from server.api.intake import Taken, WrongKindError
from server.api.probe import Kind
from server.api.problems import bad_field
from server.api.shapes import Audio, CaptureRequest, CharacterPerformanceRequest, LipSyncRequest, Picture, Text, Video
from server.capture import CaptureOptions
from server.dub import DubOptions
from server.jobs.orders import ActOrder, CaptureOrder, DubOrder, Order

LETTERS_A_SECOND = 10  # a slow speaker's: a text's length is estimated on the long side
Take = Callable[[str, Kind, str], Taken]  # uri, wanted, called


@dataclass(frozen=True, kw_only=True)
class Ordered:
    order: Order
    seconds: float  # of the result, estimated
    uploads: tuple[str, ...]
    warnings: tuple[str, ...] = ()  # what was asked for and is not done


@dataclass(frozen=True)
class Ordering:
    """Blocks while files are fetched and looked at; raises what the request is answered with."""

    take: Take
    voice_command: str | None = None

    def act(self, request: CharacterPerformanceRequest) -> Ordered:
        character = self._taken("character.uri", request.character)
        is_video, warnings = isinstance(request.character, Video), []
        if is_video:
            warnings.append("a video character keeps its own head, eyes and body; its mouth follows the performer")
        elif request.body_control:
            warnings.append("bodyControl moves shoulders and upper body; arms and hands stay as pictured")
        reference = self._taken("reference.uri", request.reference)
        options = ActOptions(
            intensity=float(request.expression_intensity), ratio=request.ratio, seed=request.seed or 0,
            face="largest", character_face="largest", body=request.body_control and not is_video,
        )  # fmt: skip
        return Ordered(
            order=ActOrder(character=character.path, performance=reference.path, options=options),
            seconds=reference.media.seconds, uploads=(character.upload, reference.upload), warnings=tuple(warnings),
        )  # fmt: skip

    def lip_sync(self, request: LipSyncRequest) -> Ordered:
        speech = request.speech
        source = self._taken("source.uri", request.source)
        if source.media.kind == "image" and request.length is not None:
            raise bad_field("length", InputError("length is of a clip; the source is a picture"))
        if source.media.kind == "image" and request.face == "all":
            raise bad_field("face", InputError("of a picture one face speaks; wanted largest, left, right or a number"))
        audio = self._sound("speech.uri", speech.uri) if isinstance(speech, Audio) else None
        with _field("speech"):
            options = DubOptions(
                audio=None if audio is None else audio.path,
                transcript=_text_alone(speech.transcript) if isinstance(speech, Audio) else None,
                text=speech.text if isinstance(speech, Text) else None, language=speech.language,
                voice=speech.voice if isinstance(speech, Text) else None,
                voice_command=self.voice_command if isinstance(speech, Text) else None,
                face=request.face, length=request.length, still=request.still, seed=request.seed,
            )  # fmt: skip
            if isinstance(speech, Text):
                options.the_voice()  # refuses what it cannot say
                if not speech.text.strip():
                    raise InputError("the text is empty; wanted something to be said")
        seconds = len(speech.text) / LETTERS_A_SECOND if isinstance(speech, Text) else 0.0
        if audio is not None:
            seconds = audio.media.seconds
        if request.length == "silence":
            seconds = source.media.seconds
        uploads = (source.upload,) if audio is None else (source.upload, audio.upload)
        return Ordered(order=DubOrder(clip=source.path, options=options), seconds=seconds, uploads=uploads)

    def capture(self, request: CaptureRequest) -> Ordered:
        reference = self._taken("reference.uri", request.reference)
        options = CaptureOptions(face=request.face)
        return Ordered(
            order=CaptureOrder(video=reference.path, options=options, suffix=f".{request.format}"),
            seconds=reference.media.seconds, uploads=(reference.upload,),
        )  # fmt: skip

    def _taken(self, field: str, part: Picture | Video) -> Taken:
        with _field(field):
            return self.take(part.uri, part.type, field)

    def _sound(self, field: str, uri: str) -> Taken:
        """A sound file, or a video with sound."""
        with _field(field):
            try:
                return self.take(uri, "audio", field)
            except WrongKindError as wrong:
                if wrong.taken.media.has_sound:
                    return wrong.taken
                raise


@contextmanager
def _field(name: str) -> Iterator[None]:
    """What cannot be used inside is told as a fault of that field."""
    try:
        yield
    except ValueError as error:  # InputError, and what option dataclasses refuse
        if isinstance(error, RequestValidationError):
            raise
        raise bad_field(name, error) from error


def _text_alone(transcript: str | None) -> str | None:
    """A transcript that is never taken for the name of a file: none is called by something with a line's end."""
    return None if transcript is None else f"{transcript}\n"
