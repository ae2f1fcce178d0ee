"""The command line as a process: every command by its name, errors as sentences, exit statuses, signals.

The commands themselves are in `server.commands`. An `InputError` becomes one sentence on stderr and exit status 2.
"""

from __future__ import annotations

import os
import signal
import sys
from threading import Timer
from typing import Annotated

import typer

from runtime.errors import InputError
from server.commands import files, serving, training

INTERRUPTED = 130  # 128 and SIGINT, as shells count

app = typer.Typer(
    name="understudy",
    help="Performance characters and lip-sync: an actor's video drives any character image.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

for command in (
    files.act, files.dub, files.visemes, files.capture, files.sync, files.character, files.demo, training.export,
    serving.serve, serving.live, serving.batch, files.doctor,
):  # fmt: skip
    app.command()(command)
for group in (files.calibration, serving.keys, training.training):
    app.add_typer(group)


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        print(f"understudy {version('understudy')}")
        raise typer.Exit


@app.callback()
def understudy(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Performance characters and lip-sync: an actor's video drives any character image."""


def run(arguments: list[str] | None = None) -> int:
    """Run one command and return its exit status; an input that cannot be used ends it with one sentence and 2."""
    try:
        status = app(_spread(sys.argv[1:] if arguments is None else arguments), standalone_mode=False)
        if status == INTERRUPTED:  # what the parser makes of Ctrl-C
            raise KeyboardInterrupt
        return status if isinstance(status, int) else 0
    except InputError as error:
        return _say(str(error), 2)
    except (KeyboardInterrupt, typer.Abort):
        return _say("stopped", INTERRUPTED)
    except BrokenPipeError:  # whoever read the output has gone; there is nobody to tell
        sys.stdout = None
        return 1
    except Exception as error:  # click's own errors: a command line that cannot be parsed
        if not hasattr(error, "format_message"):
            raise
        if type(error).__name__ == "NoArgsIsHelpError":  # by its name: where it is defined has moved before
            print(error.format_message(), file=sys.stderr)
            return 2
        said = error.format_message().rstrip(".")
        see = " See" if said.endswith("?") else "; see"
        return _say(f"{said}{see} {_command_of(error)} --help", 2)


def _command_of(error: Exception) -> str:
    """The command whose line could not be parsed, like `understudy calibrate performer`."""
    names: list[str] = []
    context = getattr(error, "ctx", None)
    while context is not None and context.parent is not None:
        names.insert(0, context.info_name)
        context = context.parent
    return " ".join(["understudy", *names])


def _spread(arguments: list[str]) -> list[str]:
    """`PICTURE --references a b` as `PICTURE --references a --references b`, which the parser takes."""
    flag = "--references"
    if arguments[:1] != ["character"] or flag not in arguments:
        return arguments
    at = arguments.index(flag) + 2
    if arguments[1:2] == [flag]:  # the picture comes last, as the only one without the flag
        return arguments
    until = next((i for i in range(at, len(arguments)) if arguments[i].startswith("-")), len(arguments))
    more = [part for name in arguments[at:until] for part in (flag, name)]
    return [*arguments[:at], *more, *arguments[until:]]


def _say(text: str, status: int) -> int:
    sentence = " ".join(text.split()).rstrip(".")
    print(f"understudy: {sentence}", file=sys.stderr)
    return status


def spare_pools() -> None:
    """Before numpy is loaded: our matrices are small, and waking a pool for one costs more than it saves."""
    for pool in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(pool, "1")
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # a network's threads yield a busy machine instead of spinning


def main() -> None:
    """The process: quiet native libraries, stop cleanly when told to, exit with the command's status."""
    from server.chatter import quiet_natives

    def stop(*_: object) -> None:
        raise SystemExit(143)

    def tell_again(lost: sys.UnraisableHookArgs) -> None:
        # A signal that arrives inside a finalizer or weak-reference callback is printed and forgotten by Python.
        signals = {SystemExit: signal.SIGTERM, KeyboardInterrupt: signal.SIGINT}
        if lost.exc_type in signals:
            Timer(0.02, os.kill, (os.getpid(), signals[lost.exc_type])).start()
        else:
            sys.__unraisablehook__(lost)

    spare_pools()
    signal.signal(signal.SIGTERM, stop)
    sys.unraisablehook = tell_again
    quiet_natives()
    sys.exit(run())


if __name__ == "__main__":
    main()
