"""The one error the command line answers with a sentence and exit status 2."""

from __future__ import annotations


class InputError(ValueError):
    """What the outside world gave cannot be used; the text names the file, what was found and what was wanted."""
