import csv
import json

from training.plot_log import averaged, main


def write(folder, losses):
    folder.mkdir()
    rows = [{"step": 10 * (i + 1), "epoch": 0, "loss": v, "mask": v / 2, "lr": 1e-3} for i, v in enumerate(losses)]
    lines = [json.dumps(r) for r in (*rows, {"step": 10 * len(rows), "validation": 0.5})]
    (folder / "log.jsonl").write_text("\n".join(lines) + "\n")


def test_runs_are_averaged_and_follow_one_another(tmp_path):
    write(tmp_path / "a", [4.0, 2.0, 1.0])
    write(tmp_path / "b", [0.5])
    rows = averaged([tmp_path / "a", tmp_path / "b"], 20)
    assert [(r["run"], r["step"], r["loss"]) for r in rows] == [(1, 20, 3.0), (1, 30, 1.0), (2, 40, 0.5)]


def test_the_picture_and_its_numbers_are_written(tmp_path):
    write(tmp_path / "a", [4.0, 2.0, 1.0])
    assert main([str(tmp_path / "a"), "--out", str(tmp_path / "curve.png"), "--every", "10"]) == 0
    assert (tmp_path / "curve.png").stat().st_size > 1000
    with (tmp_path / "curve.csv").open() as file:
        assert [float(r["mask"]) for r in csv.DictReader(file)] == [2.0, 1.0, 0.5]


def test_a_missing_log_is_named(tmp_path, capsys):
    assert main([str(tmp_path), "--out", str(tmp_path / "x.png")]) == 1
    assert "log.jsonl: cannot be read" in capsys.readouterr().err


def test_a_log_without_a_step_is_named(tmp_path, capsys):
    write(tmp_path / "a", [])
    assert main([str(tmp_path / "a"), "--out", str(tmp_path / "x.png")]) == 1
    assert "log.jsonl: no step was logged yet" in capsys.readouterr().err
