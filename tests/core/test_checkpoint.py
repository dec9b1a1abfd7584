"""Model directories, and synthetic files in every published layout."""

import gzip
import json
import pickle
import zipfile
from dataclasses import replace

import open_clip
import pytest
import torch
from safetensors.torch import load_file, save_file

from ovsam_core import checkpoint
from ovsam_core.checkpoint import fetch_clip, hashes_of, import_official, load_model, load_official, save_model
from ovsam_core.config import DecoderConfig, HeadConfig, NeckConfig, RegionConfig, TextConfig, named_config
from ovsam_core.errors import CheckpointError, ModelError
from ovsam_core.modeling.build import build_model
from ovsam_core.official import read_weights
from tests.parity.golden import official_name

TINY = named_config("tiny")
# The paper's form at toy size: what the published layouts are tried on.
PAPER = replace(
    TINY,
    architecture="toy",
    vision={**TINY.vision, "quick_gelu": True},
    clip_model="RN50-quickgelu",
    clip_weights="openai",
    neck=NeckConfig(width=32, depth=2, heads=2, window=4),
    decoder=DecoderConfig(width=32, heads=2, mlp_dim=64, mask_channels=8),
    head=HeadConfig(roi=4, channels=16),
)


@pytest.fixture(scope="module")
def source():
    """A model whose weights play the published ones."""
    return build_model(PAPER, seed=7)


def official(model):
    named = ((official_name(name), tensor.clone()) for name, tensor in model.state_dict().items())
    return {name: tensor for name, tensor in named if name}


def published(model, *, demo=False):
    """The four files' state dicts: SAM2CLIP, CLIP2SAM (or the demo's two), open_clip, SAM."""
    named = official(model)
    neck = {f"neck_student.{k[5:]}": v for k, v in named.items() if k.startswith("neck.")}
    head = {k: v for k, v in named.items() if k.startswith(("fpn_neck.", "mask_decoder."))}
    ours = model.state_dict()
    clip = {f"visual.{k[16:]}": v for k, v in ours.items() if k.startswith("backbone.visual.")}
    clip |= {k[5:]: v for k, v in ours.items() if k.startswith("text.")}
    clip["logit_scale"] = torch.tensor(4.6)
    sam = {k.replace("pe.", "prompt_encoder.", 1): v for k, v in named.items() if k.startswith("pe.")}
    sam["image_encoder.patch_embed.proj.weight"] = torch.zeros(2, 3, 16, 16)
    sam["mask_decoder.mask_tokens.weight"] = torch.zeros(4, 32)
    sam["mask_decoder.iou_token.weight"] = torch.zeros(1, 32)
    sam["mask_decoder.output_hypernetworks_mlps.3.layers.0.weight"] = torch.zeros(32, 32)
    files = {"sam2clip": neck, "clip2sam": head, "clip": clip, "sam": sam}
    if demo:
        del files["clip2sam"]
        files["fpn"] = {k: v for k, v in head.items() if k.startswith("fpn_neck.")}
        files["fpn"] |= {k.removeprefix("mask_decoder."): v for k, v in head.items() if ".roi_conv." in k}
        rest = {k: v for k, v in head.items() if k.startswith("mask_decoder.") and ".roi_conv." not in k}
        files["decoder"] = {k.replace("mask_decoder.mask_decoder.", "mask_decoder."): v for k, v in rest.items()}
    return files


def assert_same(a, b):
    ours, theirs = a.state_dict(), b.state_dict()
    assert ours.keys() == theirs.keys()
    for name, tensor in ours.items():
        assert torch.equal(tensor, theirs[name]), name


@pytest.mark.parametrize("demo", [False, True])
@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_published_layouts_fill_the_whole_model(source, demo, device):
    model = build_model(PAPER, seed=1, device=device)
    report = load_official(model, published(source, demo=demo))
    assert report.complete, str(report)
    assert_same(model, source)
    assert set(report.unused) == {
        "clip: logit_scale",
        "sam: image_encoder.patch_embed.proj.weight",
        "sam: mask_decoder.iou_token.weight",
        "sam: mask_decoder.output_hypernetworks_mlps.3.layers.0.weight",
    }
    tokens = model.tokenizer(["cat"])
    assert torch.equal(model.encode_text(tokens), source.encode_text(tokens))


def test_the_order_of_parts_does_not_matter(source):
    files = published(source)
    for order in (list(files), list(reversed(files))):
        model = build_model(PAPER, seed=1)
        assert load_official(model, {name: files[name] for name in order}).complete
        assert_same(model, source)


def test_the_later_of_two_files_counts_and_the_report_says_so(source):
    files = published(source)
    key = "mask_decoder.label_token.weight"
    later = {key: torch.full((1, 32), 3.0)}
    model = build_model(PAPER, seed=1)
    report = load_official(model, {**files, "later": later})
    assert report.complete
    assert report.repeated == (f"later: {key}",)
    assert "the later file counts: 1, for example later: mask_decoder.label_token.weight" in str(report)
    assert model.mask_decoder.label_token.weight[0, 0] == 3
    assert not load_official(model, files).repeated


def test_sams_decoder_serves_where_no_other_part_has_one(source):
    files = published(source)
    sam = {**files["sam"], "mask_decoder.mask_tokens.weight": torch.arange(128.0).reshape(4, 32)}
    model = build_model(PAPER, seed=1)
    report = load_official(model, {"sam": sam})
    assert torch.equal(model.mask_decoder.mask_tokens.weight[0], torch.arange(32.0))
    assert "mask_decoder.mask_tokens.weight" in report.loaded
    assert {name.split(".")[0] for name in report.missing} >= {"neck", "fpn", "head", "text", "backbone"}


def test_the_full_form_takes_all_of_sams_decoder():
    full = build_model(replace(PAPER, decoder=replace(PAPER.decoder, form="full"), head=HeadConfig("none")), seed=3)
    sam = {k: v.clone() for k, v in official(full).items() if k.startswith(("pe.", "mask_decoder."))}
    sam = {
        k.replace("mask_decoder.mask_decoder.", "mask_decoder.").replace("pe.", "prompt_encoder."): v
        for k, v in sam.items()
    }
    sam["image_encoder.patch_embed.proj.weight"] = torch.zeros(1)
    target = build_model(full.config, seed=4)
    report = load_official(target, {"sam": sam})
    assert not report.unexpected
    assert torch.equal(target.mask_decoder.mask_tokens.weight, full.mask_decoder.mask_tokens.weight)
    assert torch.equal(
        target.mask_decoder.iou_prediction_head.layers[0].weight, full.mask_decoder.iou_prediction_head.layers[0].weight
    )


def test_the_report_lists_problems_in_groups(source):
    files = published(source)
    del files["clip2sam"]["fpn_neck.fpn_convs.0.conv.weight"]
    files["sam2clip"]["neck_student.blocks.9.norm1.weight"] = torch.zeros(32)
    files["sam2clip"]["neck_student.pos_embed"] = torch.zeros(1, 64, 64, 32)
    model = build_model(PAPER, seed=1)
    before = model.neck.pos_embed.clone()
    report = load_official(model, files)
    assert not report.complete
    assert report.missing == {"fpn.fpn_convs.0.weight": (16, 16, 3, 3)}
    assert report.unexpected == {"sam2clip: neck_student.blocks.9.norm1.weight": (32,)}
    assert report.misshaped == {"neck.pos_embed": ((1, 8, 8, 32), (1, 64, 64, 32))}
    assert torch.equal(model.neck.pos_embed, before)
    text = str(report)
    assert "missing: 1\n  fpn: 1, for example fpn.fpn_convs.0.weight (16, 16, 3, 3)" in text
    assert "unexpected: 1\n  sam2clip: neck_student: 1" in text or "unexpected: 1\n  sam2clip: " in text
    assert "mis-shaped: 1\n  neck.pos_embed: expected (1, 8, 8, 32), got (1, 64, 64, 32)" in text


def test_openai_weights_need_quick_gelu(source):
    clip = published(source)["clip"] | {"input_resolution": torch.tensor(64)}
    assert load_official(build_model(PAPER), {"clip": clip}).loaded
    with pytest.raises(CheckpointError, match=r"clip: OpenAI's CLIP weights need QuickGELU; tiny has .* false"):
        load_official(build_model(TINY), {"clip": clip})


def test_the_published_files_have_the_published_sizes():
    """536,350,592 and 31,468,032 bytes of floats: the layout has no tensor too many and none too few."""
    model = build_model(named_config("ovsam-rn50x16-coco"), device="meta")
    sizes = {"neck": 0, "rest": 0}
    for name, tensor in model.state_dict().items():
        if name.startswith("neck."):
            sizes["neck"] += 4 * tensor.numel()
        elif name.startswith(("fpn.", "head.", "mask_decoder.")) and ".prompt_encoder." not in name:
            sizes["rest"] += 4 * tensor.numel()
    assert sizes == {"neck": 536_350_592, "rest": 31_468_032}


# --- assembling published files --------------------------------------------------------------------------------------


@pytest.fixture
def files(source, tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoint, "named_config", lambda name: PAPER)
    made = published(source)
    paths = {name: tmp_path / f"{name}.pth" for name in made}
    torch.save({"meta": {"epoch": 12}, "state_dict": made["sam2clip"]}, paths["sam2clip"])
    torch.save(made["clip2sam"], paths["clip2sam"])
    paths["clip"] = tmp_path / "clip.safetensors"
    save_file(made["clip"], paths["clip"])
    torch.save(made["sam"], paths["sam"])
    return paths


def test_parts_become_a_model_directory(source, files, tmp_path):
    report = import_official(list(files.values()), tmp_path / "model", "toy")
    assert report.complete
    model = load_model(tmp_path / "model", verify=True)
    assert_same(model, source)
    assert model.config.hashes.encoder
    assert "toy" in (tmp_path / "model" / "README.md").read_text()


def test_an_incomplete_set_writes_nothing(files, tmp_path):
    with pytest.raises(CheckpointError, match=r"the files are not the whole of toy\n.*\nmissing: \d+\n  neck: "):
        import_official([files["clip2sam"], files["clip"], files["sam"]], tmp_path / "model", "toy")
    assert not (tmp_path / "model").exists()


def test_clip_is_fetched_when_it_is_not_among_the_parts(source, files, tmp_path, monkeypatch):
    monkeypatch.setattr(open_clip.pretrained, "download_pretrained", lambda source: str(files["clip"]))
    report = import_official([files[n] for n in ("sam2clip", "clip2sam", "sam")], tmp_path / "model", "toy")
    assert report.complete
    assert_same(load_model(tmp_path / "model"), source)


def test_offline_says_what_to_do(monkeypatch):
    def offline(source):
        raise ConnectionError("no route to host")

    monkeypatch.setattr(open_clip.pretrained, "download_pretrained", offline)
    with pytest.raises(CheckpointError, match=r"openai: cannot be fetched \(no route to host\); give the CLIP file"):
        fetch_clip(PAPER)


def test_weights_open_clip_does_not_know():
    with pytest.raises(CheckpointError, match="open_clip knows no weights RN50-quickgelu / nothing"):
        fetch_clip(replace(PAPER, clip_weights="nothing"))


def test_a_wrong_activation_is_found_before_the_download():
    config = replace(PAPER, clip_model="RN50", clip_weights="yfcc15m")  # trained with GELU
    config = replace(config, clip_model="RN50-quickgelu", clip_weights="cc12m")
    plain = replace(config, vision={**config.vision, "quick_gelu": False})
    with pytest.raises(CheckpointError, match="trained with quick_gelu True, the configuration has False"):
        fetch_clip(plain)


# --- files that are refused ------------------------------------------------------------------------------------------


class _Evil:
    def __reduce__(self):
        return (print, ("code ran",))


def test_a_file_that_would_run_code_is_refused(tmp_path, capsys):
    path = tmp_path / "evil.pth"
    torch.save({"state_dict": {"neck.x": _Evil()}}, path)
    with pytest.raises(CheckpointError, match=r"evil.pth: refused, because reading it would run code from the file \("):
        read_weights(path)
    path.write_bytes(pickle.dumps({"x": _Evil()}, protocol=2))
    with pytest.raises(CheckpointError, match=r"refused, because reading it would run code from the file \("):
        read_weights(path)
    assert "code ran" not in capsys.readouterr().out


def test_a_torchscript_archive_is_refused(tmp_path):
    path = tmp_path / "RN50.pt"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("RN50/code/model.py", "print('code ran')")
    with pytest.raises(CheckpointError, match="a TorchScript archive, which is a program; take the safetensors"):
        read_weights(path)


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.safetensors", b"\x10\0\0\0\0\0\0\0nonsense", "damaged"),
        ("a.pth", b"nonsense", "not a readable weight file"),
        ("a.pth", b"", "not a readable weight file"),
    ],
)
def test_damaged_files_are_named(tmp_path, name, content, words):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(CheckpointError, match=rf"{name}: .*({words})"):
        read_weights(tmp_path / name)


def test_a_missing_file_and_a_list_are_named(tmp_path):
    with pytest.raises(CheckpointError, match=r"none.pth: no such file"):
        read_weights(tmp_path / "none.pth")
    torch.save([torch.zeros(1)], tmp_path / "list.pth")
    with pytest.raises(CheckpointError, match=r"list.pth: expected a dictionary of tensors, got list"):
        read_weights(tmp_path / "list.pth")


# --- our own format --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("storage", ["float32", "float16"])
def test_save_load_save_is_the_same(tmp_path, storage):
    model = build_model(replace(TINY, storage=storage))
    config = save_model(model, tmp_path / "a")
    again = load_model(tmp_path / "a", verify=True)
    assert again.config == config
    save_model(again, tmp_path / "b")
    assert (tmp_path / "a" / "config.json").read_bytes() == (tmp_path / "b" / "config.json").read_bytes()
    one, two = (load_file(tmp_path / d / "model.safetensors") for d in "ab")
    assert one.keys() == two.keys()
    for name in one:
        assert one[name].dtype == two[name].dtype
        assert torch.equal(one[name], two[name]), name
    assert all(p.dtype == torch.float32 for p in again.parameters())
    if storage == "float32":
        assert_same(again, model)
        assert config.hashes == hashes_of(model)


def test_a_loaded_model_computes_the_same(tmp_path):
    model = build_model(TINY)
    save_model(model, tmp_path)
    again = load_model(tmp_path)
    pixels = torch.randn(1, 3, 128, 128)
    with torch.inference_mode():
        a, b = model.encode(pixels), again.encode(pixels)
    assert all(torch.equal(a[name], b[name]) for name in a)
    tokens = model.tokenizer(["cat", "a dog"])
    assert torch.equal(model.encode_text(tokens), again.encode_text(tokens))
    assert not any(p.requires_grad for p in again.backbone.parameters())
    assert not again.training


def test_half_precision_keeps_vectors_and_statistics(tmp_path):
    model = build_model(replace(TINY, storage="float16"))
    save_model(model, tmp_path)
    for name, tensor in load_file(tmp_path / "model.safetensors").items():
        if tensor.is_floating_point():
            assert tensor.dtype == (torch.float16 if tensor.ndim > 1 else torch.float32), name


def test_each_hash_follows_its_own_part():
    model = build_model(TINY)
    before = hashes_of(model)
    for name, part in (
        ("neck.blocks.0.norm1.weight", "encoder"),
        ("head.roi_conv.weight", "head"),
        ("text.ln_final.bias", "text"),
    ):
        changed = build_model(TINY)
        with torch.no_grad():
            changed.get_parameter(name).add_(1)
        after = hashes_of(changed)
        assert {p for p in ("encoder", "head", "text") if getattr(after, p) != getattr(before, p)} == {part}
    assert hashes_of(build_model(TINY)) == before
    other = replace(TINY, input=replace(TINY.input, interpolation="area"))
    assert hashes_of(build_model(other)).encoder != before.encoder
    assert hashes_of(build_model(other)).text == before.text


def test_the_merge_list_travels_with_the_model(tmp_path):
    (tmp_path / "a").mkdir()
    with gzip.open(tmp_path / "a" / "merges.txt.gz", "wt", encoding="utf-8") as file:
        file.write("#version: 0.2\nc a\nca t</w>\n")
    vision = {**TINY.vision, "text_cfg": {**TINY.vision["text_cfg"], "vocab_size": 516}}
    config = replace(TINY, vision=vision, text=TextConfig(merges_file="merges.txt.gz"))
    model = build_model(config, directory=tmp_path / "a")
    save_model(model, tmp_path / "a")
    save_model(load_model(tmp_path / "a"), tmp_path / "b")
    tokens = load_model(tmp_path / "b").tokenizer(["cat"])
    assert tokens.shape == (1, 16)
    assert (tokens != 0).sum() == 3  # start, one merged token, end


def test_a_card_is_kept_and_written(tmp_path):
    model = build_model(TINY)
    save_model(model, tmp_path, card="# mine\n")
    save_model(model, tmp_path)
    assert (tmp_path / "README.md").read_text() == "# mine\n"


@pytest.fixture
def saved(tmp_path):
    save_model(build_model(TINY), tmp_path / "m")
    return tmp_path / "m"


def test_damaged_directories_are_named(saved):
    weights = saved / "model.safetensors"
    good = weights.read_bytes()
    weights.write_bytes(good[:1000])
    with pytest.raises(CheckpointError, match=r"model.safetensors: damaged"):
        load_model(saved)
    weights.unlink()
    with pytest.raises(CheckpointError, match=r"model.safetensors: no such file"):
        load_model(saved)
    (saved / "config.json").unlink()
    with pytest.raises(CheckpointError, match=r"config.json: cannot be read"):
        load_model(saved)


def test_flipped_bits_are_found_when_asked(saved):
    weights = saved / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 64
    weights.write_bytes(content)
    load_model(saved)
    with pytest.raises(CheckpointError, match=r"the hash of (encoder|head|text) is not the one in config.json"):
        load_model(saved, verify=True)


def test_tensors_of_another_model_are_listed(saved):
    config = json.loads((saved / "config.json").read_text())
    config["head"]["channels"] = 24
    (saved / "config.json").write_text(json.dumps(config))
    with pytest.raises(
        CheckpointError, match=r"(?s)not the tensors of tiny.*fpn.lateral_convs.0.weight: expected \(24,"
    ):
        load_model(saved)


def test_a_folder_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(CheckpointError, match="file: cannot be written"):
        save_model(build_model(TINY), tmp_path / "file")


def test_a_wrong_region_pool_is_refused_on_loading(saved):
    config = json.loads((saved / "config.json").read_text())
    config["region"]["pool"] = RegionConfig(pool="head").pool
    (saved / "config.json").write_text(json.dumps(config))
    with pytest.raises(ModelError, match="pools by 'attention' or 'mask'"):
        load_model(saved)
