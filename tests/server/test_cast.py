from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from runtime.errors import InputError
from server.cast import Cast


def test_what_is_still_being_written_is_no_character(tmp_path: Path) -> None:
    cast = Cast(tmp_path)
    for name in ("hero.png", ".hero.partial-7.png"):
        Image.new("RGB", (64, 64)).save(tmp_path / "characters" / name)
    assert cast.names() == ["hero"]
    with pytest.raises(InputError, match="there is no character 'nobody'; wanted one of hero"):
        cast.character("nobody")
