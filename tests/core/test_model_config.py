"""config.json: what is read, what is refused and with which words."""

import csv
import json
from dataclasses import replace

import open_clip
import pytest

from ovsam_core.assets import asset_path
from ovsam_core.config import (
    FusionConfig,
    HeadConfig,
    InputConfig,
    ModelConfig,
    NeckConfig,
    RegionConfig,
    named_config,
    named_configs,
)
from ovsam_core.errors import ModelError

TINY = named_config("tiny")


def edited(change) -> str:
    data = json.loads(TINY.to_json())
    change(data)
    return json.dumps(data)


def test_the_named_configurations():
    assert set(named_configs()) == {
        "ovsam-convnext-large",
        "ovsam-rn50",
        "ovsam-rn50x16-coco",
        "ovsam-rn50x16-lvis",
        "ovsam-rn50x64",
        "starter",
        "tiny",
    }


@pytest.mark.parametrize("name", named_configs())
def test_a_configuration_survives_its_file(name):
    config = named_config(name)
    assert config.architecture == name
    again = ModelConfig.from_json(config.to_json())
    assert again == config
    assert again.to_json() == config.to_json()


@pytest.mark.parametrize("name", [name for name in named_configs() if named_config(name).clip_model])
def test_open_clips_towers_are_described_as_open_clip_does(name):
    config = named_config(name)
    assert dict(config.vision) == open_clip.get_model_config(config.clip_model)
    assert (config.clip_model, config.clip_weights) in open_clip.list_pretrained()


def test_the_papers_settings():
    coco, lvis = named_config("ovsam-rn50x16-coco"), named_config("ovsam-rn50x16-lvis")
    assert coco.input == InputConfig(1024, (123.675, 116.28, 103.53), (58.395, 57.12, 57.375), "bilinear")
    assert coco.neck == NeckConfig("multi", 1280, 5, 16, 14, 64, "fixed", 4.0)
    assert coco.head == HeadConfig("fpn", 12, 56, 256, label_token_classifies=False)
    assert coco.fusion == FusionConfig(enabled=True, alpha=0.1, beta=0.9, tiny_rule=True)
    assert coco.logit_scale == 4.6052
    assert len(coco.templates) == 14
    d = coco.decoder
    assert (d.form, d.skips, d.prompt_maps, d.content_tokens, d.edge_channels, d.box_start) == (
        "official",
        False,
        False,
        False,
        0,
        False,
    )
    assert (len(coco.seen), len(lvis.seen)) == (48, 866)
    assert len(set(lvis.seen)) == 866


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda d: d["neck"].update(widht=4), r"neck: unknown key 'widht'; did you mean 'width'\?"),
        (lambda d: d.update(temprature=1.0), r"unknown key 'temprature'; did you mean 'temperature'\?"),
        (lambda d: d["head"].update(variant="fpm"), r"head: variant: 'fpm' is not one of .* did you mean 'fpn'\?"),
        (lambda d: d["input"].update(size="128"), r"input: size: expected int, got '128'"),
        (lambda d: d["input"].update(size=True), r"input: size: expected int, got True"),
        (lambda d: d["input"].update(size=100), r"input.size must be a positive multiple of 32, got 100"),
        (lambda d: d["input"].update(mean=[1.0, 2.0]), r"input: mean: expected 3 values, got 2"),
        (lambda d: d["input"].update(mean=1.0), r"input: mean: expected a list, got 1.0"),
        (lambda d: d["crop"].update(scales=[1.2, "x"]), r"crop: scales\[1\]: expected float, got 'x'"),
        (lambda d: d.update(vision=[]), r"vision: expected an object"),
        (lambda d: d.update(neck=3), r"neck: expected an object, got 3"),
        (lambda d: d.pop("vision"), r"key 'vision' is missing"),
        (lambda d: d["vision"].pop("text_cfg"), r"vision: an open_clip model config has 'text_cfg'"),
        (lambda d: d["vision"].update(vision_cfg=[]), r"vision: vision_cfg: got \[\]"),
        (lambda d: d["vision"].update(embed_dim="32"), r"vision: embed_dim: got '32'"),
        (lambda d: d["neck"].update(heads=5), r"neck.width 32 must be a multiple of neck.heads 5"),
        (lambda d: d["head"].update(variant="token"), r"classifies by the label token: set label_token_classifies"),
        (lambda d: d["head"].update(variant="none", label_token_classifies=True), r"'none' has no label token"),
        (lambda d: d["fusion"].update(alpha=1.5), r"alpha must lie in \[0, 1\], got 1.5"),
        (lambda d: d.update(templates=["a photo"]), r"templates: each needs \{\} where the name goes"),
        (lambda d: d.update(templates=[]), r"templates: each needs"),
        (lambda d: d["text"].update(merges_file="../m.gz"), r"the name of a file beside config.json, got '../m.gz'"),
        (lambda d: d.update(clip_weights="openai"), r"QuickGELU.* expected quick_gelu true, got false"),
    ],
)
def test_a_wrong_file_says_what_is_wrong(change, words):
    with pytest.raises(ModelError, match=words):
        ModelConfig.from_json(edited(change))


def test_laion_weights_refuse_quick_gelu():
    config = named_config("ovsam-convnext-large")
    with pytest.raises(ModelError, match="trained with GELU: expected quick_gelu false, got true"):
        replace(config, vision={**config.vision, "quick_gelu": True})


def test_attention_pooling_needs_a_clip_resnet():
    with pytest.raises(ModelError, match="'attention' needs a CLIP ResNet"):
        replace(named_config("starter"), region=RegionConfig(pool="attention"))


def test_no_json_names_the_file():
    with pytest.raises(ModelError, match=r"^here.json: not JSON"):
        ModelConfig.from_json("{", "here.json")


def test_whole_numbers_pass_for_floats():
    assert ModelConfig.from_json(edited(lambda d: d.update(temperature=2))).temperature == 2.0


def test_an_unknown_name_is_answered_with_the_nearest():
    with pytest.raises(ModelError, match=r"'ovsam-rn50x16-coc'; did you mean 'ovsam-rn50x16-coco'\?"):
        named_config("ovsam-rn50x16-coc")
    with pytest.raises(ModelError, match=r"known: .*tiny"):
        named_config("zzz")


def test_the_seen_classes_are_the_vocabularies_base_classes():
    def ids(name: str, column: str, values: set[str]) -> list[str]:
        with asset_path("vocabularies", f"{name}.tsv").open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
        return [row["id"] for row in rows if row[column] in values]

    assert list(named_config("ovsam-rn50x16-coco").seen) == ids("coco", "split", {"base"})
    assert list(named_config("ovsam-rn50x16-lvis").seen) == ids("lvis", "frequency", {"c", "f"})
