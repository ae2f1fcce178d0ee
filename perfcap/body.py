"""Where the joints of a person's body are in one picture: MediaPipe's pose landmarks, by name.

For pictures that have nothing to do with each other; nothing here follows anybody.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from perfcap.solutions import solution

# Names of joints, the person's own right and left, and which of MediaPipe's landmarks they are.
JOINTS = {
    "right shoulder": 12, "right elbow": 14, "right wrist": 16, "left shoulder": 11, "left elbow": 13, "left wrist": 15,
    "right hip": 24, "right knee": 26, "right ankle": 28, "left hip": 23, "left knee": 25, "left ankle": 27,
    "left toe": 31, "right toe": 32,
}  # fmt: skip
LOOK_PX = 1280  # on a picture no larger than this
SEEN = 0.5  # how sure the model must be that a joint is neither outside of the picture nor hidden


@dataclass(frozen=True)
class Joint:
    name: str  # one of JOINTS
    x: float  # px
    y: float


def body_joints(rgb: NDArray[np.uint8]) -> list[Joint]:
    """The joints that a picture [H, W, 3] shows of the person in it; none where there is nobody, or only a face."""
    import cv2

    H, W = rgb.shape[:2]
    scale = min(1.0, LOOK_PX / max(H, W))
    small = cv2.resize(rgb, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA) if scale < 1 else rgb
    with solution("pose").Pose(static_image_mode=True, model_complexity=1) as model:  # the one that the wheel carries
        found = model.process(np.ascontiguousarray(small)).pose_landmarks
    if found is None:
        return []
    seen = [(name, found.landmark[i]) for name, i in JOINTS.items()]
    return [
        Joint(name, point.x * W, point.y * H)
        for name, point in seen
        if point.visibility >= SEEN and 0 <= point.x <= 1 and 0 <= point.y <= 1
    ]
