"""Commands that perform live and keep the service: `serve`, `live`, `batch` and `keys`.

Each parses; the work is done by the module it imports when it runs.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from server.commands.options import (
    CameraOut,
    EngineOption,
    Force,
    Json,
    LiveRenderer,
    LiveWeights,
    Port,
    Quiet,
    Vmc,
    asked_for,
)


def serve(
    host: Annotated[str, typer.Option(help="Address to listen on; 0.0.0.0 lets others in.")] = "127.0.0.1",
    port: Port = 8765,
    data: Annotated[Path, typer.Option(help="Folder that characters, uploads, tasks and outputs are kept in.")] = Path(
        "understudy-data"
    ),
    workers: Annotated[int, typer.Option(help="Tasks worked on at once; 0 only takes them.")] = 1,
    executor: Annotated[
        str, typer.Option(help="Who works on tasks: local, processes of this machine; or ray, a cluster.")
    ] = "local",
    database: Annotated[
        str | None, typer.Option(help="Keep tasks in PostgreSQL, by URL, instead of SQLite in the data folder.")
    ] = None,
    tariff: Annotated[Path | None, typer.Option(help="A .toml of prices, tiers and limits of your own.")] = None,
    public_url: Annotated[
        str | None, typer.Option(help="What clients reach the server by, where a proxy stands before it.")
    ] = None,
    trust_host: Annotated[
        list[str] | None,
        typer.Option(
            metavar="HOST", help="A host of your own network that inputs and webhooks may be at; may be repeated."
        ),
    ] = None,
    origin: Annotated[
        list[str] | None, typer.Option(metavar="URL", help="A page elsewhere that may connect; may be repeated.")
    ] = None,
    vmc: Vmc = None,
    vtube_studio: Annotated[
        bool, typer.Option("--vtube-studio", help="Send the captured motion to VTube Studio on this machine.")
    ] = False,
    virtual_camera: CameraOut = False,
    voice_command: Annotated[
        str | None, typer.Option(help="A program that says the texts a client sends, as for understudy dub.")
    ] = None,
    renderer: LiveRenderer = "warp",
    weights: LiveWeights = None,
    engine: EngineOption = None,
    log: Annotated[str, typer.Option(help="How to tell what happens, on stderr: text or json.")] = "text",
    quiet: Quiet = False,
) -> None:
    """Perform live in a browser, and work on what clients send. It is studio page, stream and HTTP service in one."""
    from server.serve import ServeOptions
    from server.serve import serve as run_server

    with asked_for():
        options = ServeOptions(
            host=host, port=port, data=data, origins=tuple(origin or ()), log=log,  # type: ignore[arg-type]
            vmc=vmc, vtube_studio=vtube_studio, virtual_camera=virtual_camera, voice_command=voice_command,
            renderer=renderer, weights=weights, engine=engine, workers=workers, executor=executor,  # type: ignore[arg-type]
            database=database, tariff=tariff, public_url=public_url, trusted_hosts=tuple(trust_host or ()),
        )  # fmt: skip
    run_server(options, quiet=quiet)


def live(
    character: Annotated[
        str, typer.Option(help="Picture of the character, a saved .character, or astronaut, the demo's.")
    ],
    camera: Annotated[str, typer.Option(help="Number of a camera, or a video that plays over and over.")] = "0",
    port: Port = 8765,
    intensity: Annotated[float, typer.Option(help="1 to 5, how strongly the character shows what is acted.")] = 3.0,
    mirror: Annotated[bool, typer.Option("--mirror", help="Your left is the character's right.")] = False,
    renderer: LiveRenderer = "warp",
    weights: LiveWeights = None,
    engine: EngineOption = None,
    vmc: Vmc = None,
    virtual_camera: CameraOut = False,
    quiet: Quiet = False,
) -> None:
    """Perform live with a camera of this machine. A browser or OBS shows the character."""
    from server.camera import LiveOptions
    from server.camera import live as perform

    with asked_for():
        options = LiveOptions(
            character=character, camera=camera, port=port, intensity=intensity, mirror=mirror, vmc=vmc,
            virtual_camera=virtual_camera, renderer=renderer, weights=weights, engine=engine,  # type: ignore[arg-type]
        )  # fmt: skip
    perform(options, quiet=quiet)


def batch(
    manifest: Annotated[
        Path,
        typer.Argument(
            metavar="MANIFEST",
            help="Rows of act, dub and capture jobs, a .csv or .jsonl. Columns: command, output, the command's arguments (character and performance, clip, video) and options.",
        ),
    ],
    workers: Annotated[int, typer.Option(help="Rows worked on at once.")] = 1,
    report: Annotated[
        Path | None, typer.Option(help="What became of each row: a .csv or .json; MANIFEST.report.csv by default.")
    ] = None,
    force: Force = False,
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Work on every row of a manifest. The same command again goes on where it was stopped."""
    from server.jobs.batch import BatchOptions
    from server.jobs.batch import batch as work
    from server.report import Rows

    with asked_for():
        options = BatchOptions(workers=workers, report=report, force=force)
    with Rows("batch", quiet=quiet, json=json) as rows:
        outcome = work(manifest, options, rows.progress, rows.refuse)
        rows.done(outcome.report, [(line.line, line.failure) for line in outcome.lines])
    if outcome.n_failed:
        raise typer.Exit(1)


keys = typer.Typer(
    name="keys", help="Keys that let clients of the service in.", no_args_is_help=True, rich_markup_mode=None
)

DataFolder = Annotated[Path, typer.Option(help="The server's data folder.")]
DatabaseUrl = Annotated[str | None, typer.Option(help="The server's --database, where it has one.")]
TariffFile = Annotated[Path | None, typer.Option(help="The server's --tariff, where it has one.")]


@keys.command("create")
def create_key(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="Whose account it opens; a new one where there is none of that name.")
    ],
    tier: Annotated[str, typer.Option(help="What the account may do; one of the tariff's tiers.")] = "free",
    credits: Annotated[int, typer.Option(help="Credits to add to the account.")] = 0,
    data: DataFolder = Path("understudy-data"),
    database: DatabaseUrl = None,
    tariff: TariffFile = None,
    json: Json = False,
) -> None:
    """Make a key and show it, this once."""
    from server.jobs.desk import create

    create(data, database, tariff, name, tier, credits, json=json)


@keys.command("list")
def list_keys(
    data: DataFolder = Path("understudy-data"),
    database: DatabaseUrl = None,
    tariff: TariffFile = None,
    json: Json = False,
) -> None:
    """Tell which keys there are, whose, and how many credits are left."""
    from server.jobs.desk import show

    show(data, database, tariff, json=json)


@keys.command("revoke")
def revoke_key(
    id: Annotated[str, typer.Argument(metavar="ID", help="Its id, as listed: the 16 digits after key_.")],
    data: DataFolder = Path("understudy-data"),
    database: DatabaseUrl = None,
    tariff: TariffFile = None,
) -> None:
    """Let nobody in with a key any more."""
    from server.jobs.desk import revoke

    revoke(data, database, tariff, id)


@keys.callback()
def keys_of_clients() -> None:
    """Keys that let clients of the service in."""
