r"""List, show, download, verify and import models.

Example:
  ovsam models list
  ovsam models download --accept-licence sam2clip_vith_rn50x16.pth clip2sam_lvis_rn50x16.pth
  ovsam models download sam_vit_h_4b8939.pth clip_rn50x16_openai.safetensors
  ovsam models import sam2clip_vith_rn50x16.pth clip2sam_lvis_rn50x16.pth sam_vit_h_4b8939.pth \
      clip_rn50x16_openai.safetensors
  ovsam models import runs/finetuned --name my-birds

The published Open-Vocabulary SAM weights are under the S-Lab License 1.0: non-commercial use only.
OVSAM_MIRROR names a folder on another server that holds every file; HF_ENDPOINT replaces https://huggingface.co.
"""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ovsam_core.cli.common import add_json, say, size_text, write_json
from ovsam_core.errors import ModelError, OvsamError

if TYPE_CHECKING:
    import argparse

    from ovsam_core.models import Installed

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this verb's arguments."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    listing = actions.add_parser("list", help="installed models and published files")
    add_json(listing, optional_value=True)
    show = actions.add_parser("show", help="all that is known of a model or a published file")
    show.add_argument("name", metavar="MODEL|FILE")
    fetch = actions.add_parser("download", help="fetch published files; goes on where it stopped")
    fetch.add_argument("names", metavar="FILE", nargs="+")
    fetch.add_argument(
        "--accept-licence", action="store_true", help="you have read the licence that the command prints"
    )
    verify = actions.add_parser("verify", help="read models and downloaded files again and check their hashes")
    verify.add_argument("names", metavar="MODEL|FILE", nargs="*", help="default: all there are")
    take = actions.add_parser("import", help="take in a model directory, or assemble published weight files")
    take.add_argument(
        "parts", metavar="PART", nargs="+", help="one model directory; or weight files, or names of downloaded ones"
    )
    take.add_argument("--config", metavar="NAME", help="named configuration (default: by the names of the parts)")
    take.add_argument("--name", metavar="ID", help="what to call the model (default: the configuration's name)")


def run(args: argparse.Namespace) -> int:
    """Run one action."""
    actions = {"list": _list, "show": _show, "download": _download, "verify": _verify, "import": _import}
    return actions[args.action](args)


def _list(args: argparse.Namespace) -> int:
    from ovsam_core.models import CATALOGUE, installed
    from ovsam_core.models.download import downloads_folder

    models = installed()
    here = {file.name for file in CATALOGUE if (downloads_folder() / file.name).exists()}
    if args.json:
        document = {
            "installed": [{**asdict(model), "path": str(model.path)} for model in models],
            "published": [
                {
                    "name": file.name,
                    "about": file.about,
                    "licence": file.licence,
                    "non_commercial": file.non_commercial,
                    "bytes": file.about_bytes or None,
                    "downloaded": file.name in here,
                }
                for file in CATALOGUE
            ],
        }
        write_json(document, args.json)
    if args.json != "-":
        print("installed:")
        for model in models:
            print(f"  {_line(model)}")
        if not models:
            print("  none")
        print("published:")
        for file in CATALOGUE:
            size = size_text(file.about_bytes) if file.about_bytes else "size unknown"
            mark = "downloaded" if file.name in here else ""
            print(f"  {file.name:28} {size:>12}  {file.licence:44} {mark}".rstrip())
    return 0


def _line(model: Installed) -> str:
    text = f"{model.id:28} {size_text(model.nbytes):>12}  {model.licence:44} {model.path}"
    return f"{text}  PROBLEM: {model.problem}" if model.problem else text


def _show(args: argparse.Namespace) -> int:
    from ovsam_core.models import CATALOGUE, published, resolve
    from ovsam_core.models.download import downloads_folder

    if args.name in {file.name for file in CATALOGUE}:
        file = published(args.name)
        rows: dict[str, Any] = {
            "name": file.name,
            "about": file.about,
            "licence": file.licence,
            "size": size_text(file.about_bytes) if file.about_bytes else "told by the server",
            "address": file.url(),
            "sha256": file.sha256 or "told by the server",
            "place": downloads_folder() / file.name,
        }
    else:
        from ovsam_core.config import ModelConfig

        path = resolve(args.name)
        config = ModelConfig.from_json((path / "config.json").read_bytes(), str(path / "config.json"))
        rows = {
            "model": args.name,
            "architecture": config.architecture,
            "about": config.description,
            "licence": config.licence,
            "input": f"{config.input.size} x {config.input.size} pixels",
            "embedding": f"{config.embed_dim} dimensions",
            "seen": f"{len(config.seen)} classes",
            "encoder": config.hashes.encoder,
            "place": path,
        }
    for key, value in rows.items():
        print(f"{key:13} {value}")
    return 0


def _download(args: argparse.Namespace) -> int:
    from tqdm import tqdm

    from ovsam_core.models import download, published

    files = [published(name) for name in args.names]
    for file in files:
        size = size_text(file.about_bytes) if file.about_bytes else "size told by the server"
        print(f"{file.name}: {size}, licence: {file.licence}", flush=True)
    for file in files:
        with tqdm(
            desc=file.name, unit="B", unit_scale=True, leave=False, disable=None, file=sys.stderr, total=file.size
        ) as shown:

            def update(done: int, total: int | None, shown: Any = shown) -> None:
                shown.total = total or shown.total
                shown.update(done - shown.n)

            path = download(file, accept_licence=args.accept_licence, progress=update)
        print(f"{path}: complete and checked")
    return 0


def _verify(args: argparse.Namespace) -> int:
    from ovsam_core.models import CATALOGUE, installed, resolve, verify
    from ovsam_core.models.download import downloads_folder

    catalogue = {file.name: file for file in CATALOGUE}
    names = args.names or [
        *(model.id for model in installed()),
        *(name for name in catalogue if (downloads_folder() / name).exists()),
    ]
    failed = 0
    for name in names:
        try:
            if name in catalogue:
                receipt = verify(catalogue[name])
                told = {"published": "as published", "server": "as the server told"}
                print(
                    f"{name}: {receipt.size} bytes, sha256 {receipt.sha256}, "
                    f"{told.get(receipt.checked_against, 'as first downloaded; nobody published a hash')}"
                )
            else:
                from ovsam_core.checkpoint import load_model

                load_model(resolve(name), verify=True)
                print(f"{name}: weights match config.json")
        except OvsamError as error:
            failed += 1
            say(f"{name}: {error}")
    if not names:
        print("nothing is installed or downloaded")
    return 1 if failed else 0


def _import(args: argparse.Namespace) -> int:
    from ovsam_core.checkpoint import import_official, load_model
    from ovsam_core.models import adopt, models_folder

    if len(args.parts) == 1 and Path(args.parts[0]).is_dir():
        source = Path(args.parts[0])
        load_model(source, verify=True)
        made = adopt(source, args.name or source.resolve().name)
        print(f"{made}: ready; use it with --model {made.name}")
        return 0
    parts = [_part(name) for name in args.parts]
    config = args.config or _guess_config(parts)
    name = args.name or config
    if name != Path(name).name or name.startswith("."):
        raise ModelError(f"{name!r}: not a name for a model")
    out = models_folder() / name
    if out.exists():
        raise ModelError(f"{out}: there already; choose another --name, or move it away")
    report = import_official(parts, out, config)
    print(report)
    print(f"{out}: ready; use it with --model {out.name}")
    return 0


def _part(name: str) -> Path:
    from ovsam_core.models import CATALOGUE
    from ovsam_core.models.download import downloads_folder

    path = Path(name)
    if path.is_file():
        return path
    if name in {file.name for file in CATALOGUE}:
        kept = downloads_folder() / name
        if kept.is_file():
            return kept
        raise ModelError(f"{name}: not downloaded yet; run `ovsam models download {name}`")
    raise ModelError(f"{name}: no such file")


def _guess_config(parts: list[Path]) -> str:
    names = " ".join(part.name.lower() for part in parts)
    for word in ("coco", "lvis"):
        if word in names:
            return f"ovsam-rn50x16-{word}"
    raise ModelError("the parts' names do not tell which model it is; say it with --config (see docs/models.md)")
