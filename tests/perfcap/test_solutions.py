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
