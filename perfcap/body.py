"""Where the joints of a person's body are in a picture: MediaPipe's pose landmarks, by name.

`body_joints` is for one picture; `Shoulders` looks for the two of a performer whose face is known, in frame after frame.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from perfcap.face import FaceMesh
from perfcap.solutions import solution

# Names of joints, the person's own right and left, and which of MediaPipe's landmarks they are.
JOINTS = {
    "right shoulder": 12, "right elbow": 14, "right wrist": 16, "left shoulder": 11, "left elbow": 13, "left wrist": 15,
    "right hip": 24, "right knee": 26, "right ankle": 28, "left hip": 23, "left knee": 25, "left ankle": 27,
    "left toe": 31, "right toe": 32,
}  # fmt: skip
NOSE = 0
LOOK_PX = 1280  # on a picture no larger than this
BEYOND = 0.15  # of a picture, how far outside of it a shoulder is still told by what it shows of the body
SEEN = 0.5  # how sure the model must be that a joint is neither outside of the picture nor hidden


@dataclass(frozen=True)
class Joint:
    name: str  # one of JOINTS
    x: float  # px
    y: float


def body_joints(rgb: NDArray[np.uint8]) -> list[Joint]:
    """The joints that a picture [H, W, 3] shows of the person in it; none where there is nobody, or only a face."""
    with _pose(still=True) as model:
        found = _look(model, rgb)
    return [] if found is None else [joint for name, i in JOINTS.items() if (joint := _joint(found, name, i, rgb))]


class Shoulders:
    """Follow a performer's shoulders through a video, or find them in unrelated pictures (`still=True`)."""

    def __init__(self, *, still: bool = False) -> None:
        self._still = still
        self._model: Any = None

    def find(self, rgb: NDArray[np.uint8], face: FaceMesh) -> NDArray[np.float32] | None:
        """The right and the left one [2, 2] px of whom the face in a picture [H, W, 3] belongs to; None unless both are told.

        A picture tells of shoulders that it cuts off, so they may lie a little outside.
        """
        self._model = self._model or _pose(self._still)
        found = _look(self._model, rgb)
        if found is None:
            return None
        H, W = rgb.shape[:2]
        nose = np.array((found.landmark[NOSE].x * W, found.landmark[NOSE].y * H))
        if (nose < face.box[:2]).any() or (nose > face.box[2:]).any():
            return None  # somebody else's
        both = [_joint(found, name, JOINTS[name], rgb, BEYOND) for name in ("right shoulder", "left shoulder")]
        if any(joint is None for joint in both):
            return None
        return np.array([(joint.x, joint.y) for joint in both if joint is not None], np.float32)

    def close(self) -> None:
        if self._model is not None:
            self._model.close()
            self._model = None


def _pose(still: bool) -> Any:
    # the one model that the wheel carries; its own smoothing takes no notice of how much time has passed
    return solution("pose").Pose(static_image_mode=still, model_complexity=1, smooth_landmarks=False)


def _look(model: Any, rgb: NDArray[np.uint8]) -> Any:
    import cv2

    scale = min(1.0, LOOK_PX / max(rgb.shape[:2]))
    small = cv2.resize(rgb, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA) if scale < 1 else rgb
    return model.process(np.ascontiguousarray(small)).pose_landmarks


def _joint(found: Any, name: str, number: int, rgb: NDArray[np.uint8], beyond: float = 0.0) -> Joint | None:
    """One joint, if it is seen; `beyond` is how far outside of the picture, in shares of it."""
    point, (H, W) = found.landmark[number], rgb.shape[:2]
    is_near = all(-beyond <= at <= 1 + beyond for at in (point.x, point.y))
    return Joint(name, point.x * W, point.y * H) if is_near and point.visibility >= SEEN else None
