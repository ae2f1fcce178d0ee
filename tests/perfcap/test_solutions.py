from __future__ import annotations

import subprocess
import sys


def test_faces_are_found_without_what_draws_them_and_it_can_be_imported_after() -> None:
    code = (
        "import sys\n"
        "from perfcap.solutions import solution\n"
        "assert solution('face_mesh').FaceMesh\n"
        "assert not any(n.startswith(('matplotlib', 'mediapipe.tasks')) for n in sys.modules), 'half a second lost'\n"
        "import matplotlib.pyplot\n"
        "assert matplotlib.pyplot.figure\n"
        "from mediapipe.tasks.python import vision\n"
        "assert vision.FaceLandmarker\n"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr


def test_two_threads_may_ask_at_once() -> None:
    code = (
        "from concurrent.futures import ThreadPoolExecutor\n"
        "from perfcap.solutions import solution\n"
        "names = ['face_mesh', 'face_mesh_connections', 'face_detection', 'pose']\n"
        "with ThreadPoolExecutor(4) as pool:\n"
        "    assert [m.__name__.rsplit('.', 1)[1] for m in pool.map(solution, names)] == names\n"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr


def test_answers_are_plain_objects_apart_and_nobody_else_s_named_tuples_are_touched() -> None:
    code = (
        "import collections\n"
        "import numpy as np\n"
        "from perfcap.solutions import solution\n"
        "mesh = solution('face_mesh').FaceMesh(static_image_mode=True)\n"
        "first, second = (mesh.process(np.zeros((64, 64, 3), np.uint8)) for _ in range(2))\n"
        "assert first is not second and not isinstance(first, type), first\n"
        "assert first.multi_face_landmarks is None, first\n"
        "assert collections.namedtuple('Pair', 'a b')(1, 2).b == 2\n"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
