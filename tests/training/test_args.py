"""Options from YAML and the command line."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import pytest

from training.args import ConfigError, as_dict, command, differences, parse, save
from training.options import LoopArgs, OptimArgs


@dataclass
class Stage:
    """A stage.

    Attributes:
        data: the pictures.
        kind: which one.
        sizes: a list
            over two lines.
    """

    data: Path
    kind: Literal["a", "no"] = "a"
    sizes: tuple[int, ...] = (1, 2)
    limit: int | None = None
    loop: LoopArgs = field(default_factory=LoopArgs)
    optim: OptimArgs = field(default_factory=OptimArgs)
    gentle: OptimArgs = field(default_factory=lambda: OptimArgs(lr=0.5, clip=9.0))


def test_yaml_then_command_line(tmp_path):
    (tmp_path / "a.yaml").write_text(
        "data: x\nloop: {epochs: 3, seed: 5}\noptim:\n  lr: 1e-3\n  lr_scale: {head: 0.5}\n"
    )
    config = parse(Stage, ["--config", str(tmp_path / "a.yaml"), "--epochs", "4", "--sizes=3,4", "--kind", "no"])
    assert config.data == Path("x")
    assert (config.loop.epochs, config.loop.seed, config.optim.lr) == (4, 5, 0.001)
    assert config.optim.lr_scale == {"head": 0.5}
    assert (config.sizes, config.kind) == ((3, 4), "no")
    save(config, tmp_path / "b.yaml")
    assert parse(Stage, ["--config", str(tmp_path / "b.yaml")]) == config


def test_a_fields_own_defaults_stay_when_another_of_its_options_is_set(tmp_path, capsys):
    (tmp_path / "a.yaml").write_text("gentle: {ema: 0.9}\n")
    config = parse(Stage, ["--data", "x", "--config", str(tmp_path / "a.yaml"), "--gentle.clip", "2"])
    assert (config.gentle.lr, config.gentle.clip, config.gentle.ema) == (0.5, 2.0, 0.9)
    assert config.optim == OptimArgs()
    with pytest.raises(SystemExit):
        parse(Stage, ["--help"])
    text = capsys.readouterr().out
    assert re.search(r"--gentle\.lr .*\(default 0\.5\)", text)
    assert re.search(r"--optim\.lr .*\(default 0\.0001\)", text)


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--data", "x", "--epoch", "3"], "the nearest is loop.epochs"),
        (["--data", "x", "--loop.sed", "3"], "the nearest is loop.seed"),
        ([], "data: this option is required"),
        (["--data", "x", "--epochs", "many"], "loop.epochs: expected int"),
        (["--data", "x", "--kind", "b"], "expected one of a, no"),
        (["data"], "starts with --"),
    ],
)
def test_mistakes_are_explained(argv, message):
    with pytest.raises(ConfigError, match=message):
        parse(Stage, argv)


def test_wrong_key_in_yaml(tmp_path):
    (tmp_path / "a.yaml").write_text("data: x\nloop: {batchsize: 3}\n")
    with pytest.raises(ConfigError, match=r"loop\.batchsize: no such option; the nearest is batch_size"):
        parse(Stage, ["--config", str(tmp_path / "a.yaml")])


def test_exit_codes(capsys):
    assert command(Stage, lambda _: None, program="stage", argv=["--data", "x"]) == 0
    assert command(Stage, lambda _: None, program="stage", argv=["--dta", "x"]) == 2
    assert "nearest is data" in capsys.readouterr().err

    def fail(_):
        raise ConfigError("x: broken")

    assert command(Stage, fail, program="stage", argv=["--data", "x"]) == 1

    def read_only(_):
        Path("/proc/version").write_text("x")

    assert command(Stage, read_only, program="stage", argv=["--data", "x"]) == 1
    assert "stage: [Errno" in capsys.readouterr().err


def test_help_has_a_line_per_field(capsys):
    with pytest.raises(SystemExit):
        parse(Stage, ["--help"], program="python -m training.stage")
    text = capsys.readouterr().out
    assert text.startswith("usage: python -m training.stage [--config")
    assert "--sizes  a list over two lines (default 1,2)" in text
    assert "--kind  which one (one of a, no; default a)" in text
    assert "--limit   (default none)" in text
    assert "--loop.epochs  passes over the data" in text


def test_an_options_note_is_inherited(capsys):
    """A stage changes defaults in a subclass; what its options mean stands where they were first declared."""

    @dataclass
    class Long(LoopArgs):
        """A long run; see `LoopArgs`.

        Attributes:
            seed: a seed of its own.
        """

        epochs: int = 99

    with pytest.raises(SystemExit):
        parse(Long, ["--help"])
    text = capsys.readouterr().out
    assert "--epochs  passes over the data (default 99)" in text
    assert "--seed  a seed of its own (default 0)" in text
    assert "--tensorboard  write TensorBoard events beside the JSONL log (default false)" in text


def test_differences_name_the_fields():
    a, b = as_dict(LoopArgs()), as_dict(LoopArgs(seed=3))
    assert differences({"loop": a}, {"loop": b}) == ["loop.seed: 0 → 3"]
