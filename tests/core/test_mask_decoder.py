import pytest
import torch
from segment_anything.modeling import MaskDecoder as SamMaskDecoder
from segment_anything.modeling import PromptEncoder as SamPromptEncoder
from segment_anything.modeling import Sam, TwoWayTransformer

from ovsam_core.modeling.mask_decoder import ImageSkips, MaskDecoder, postprocess_logits
from ovsam_core.modeling.prompt_encoder import PromptTensors

WIDTH, GRID = 32, 6
SIZE = 16 * GRID
SWITCHES = {"skips": True, "prompt_maps": True, "content_tokens": True, "box_start": True, "pooled_iou": True}
CONTEXT = {**SWITCHES, "context_iou": True}


def some(n=3, points=2, box=False, mask=False):
    generator = torch.Generator().manual_seed(3)
    coords = torch.rand(n, points, 2, generator=generator) * SIZE
    labels = torch.randint(2, (n, points), generator=generator).to(torch.int8)
    corner = torch.rand(n, 2, generator=generator) * SIZE / 2
    boxes = torch.cat((corner, corner + SIZE / 3), 1) if box else None
    logits = torch.randn(n, 1, 4 * GRID, 4 * GRID, generator=generator) if mask else None
    return PromptTensors(coords, labels, boxes, logits)


def sam():
    """A small random decoder and prompt encoder of segment_anything."""
    torch.manual_seed(1)
    transformer = TwoWayTransformer(depth=2, embedding_dim=WIDTH, num_heads=2, mlp_dim=64)
    decoder = SamMaskDecoder(transformer_dim=WIDTH, transformer=transformer, num_multimask_outputs=3).eval()
    return decoder, SamPromptEncoder(WIDTH, (GRID, GRID), (SIZE, SIZE), 16).eval()


def ours(**options):
    torch.manual_seed(2)
    return MaskDecoder(width=WIDTH, heads=2, mlp_dim=64, **options).eval()


def loaded(form):
    """Our decoder with SAM's weights; the one-mask form takes the single-mask token, the IoU token as label token."""
    decoder, encoder = sam()
    state = {f"prompt_encoder.{k}": v for k, v in encoder.state_dict().items()} | decoder.state_dict()
    if form == "official":
        state["label_token.weight"] = state.pop("iou_token.weight")
        state["mask_tokens.weight"] = state["mask_tokens.weight"][:1]
        dropped = ("iou_prediction_head.", *(f"output_hypernetworks_mlps.{i}." for i in (1, 2, 3)))
        state = {k: v for k, v in state.items() if not k.startswith(dropped)}
    model = ours(form=form)
    model.load_state_dict(state)
    return model, decoder, encoder


def features(n=1, skips=False):
    generator = torch.Generator().manual_seed(5)
    found = {"neck": torch.randn(n, WIDTH, GRID, GRID, generator=generator)}
    if skips:
        found["skip4"] = torch.randn(n, WIDTH // 4, 4 * GRID, 4 * GRID, generator=generator)
        found["skip8"] = torch.randn(n, WIDTH // 2, 2 * GRID, 2 * GRID, generator=generator)
    return found


@pytest.mark.parametrize(
    ("points", "box", "mask"), [(1, False, False), (2, True, False), (0, True, True), (3, False, True)]
)
def test_the_full_form_agrees_with_segment_anything(points, box, mask):
    model, decoder, encoder = loaded("full")
    prompts, image = some(points=points, box=box, mask=mask), features()
    given = (prompts.coords, prompts.labels) if points else None
    sparse, dense = encoder(given, prompts.boxes, prompts.mask_logits)
    found = model(image, prompts)
    for several, part in ((False, slice(0, 1)), (True, slice(1, None))):
        logits, iou = decoder(image["neck"], encoder.get_dense_pe(), sparse, dense, several)
        torch.testing.assert_close(found.logits[:, part], logits, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(found.iou[:, part], iou, rtol=1e-4, atol=1e-5)


def test_the_one_mask_form_is_the_single_mask_of_a_decoder_without_the_dropped_tokens():
    model, decoder, encoder = loaded("official")
    prompts, image = some(), features()
    decoder.mask_tokens.weight.data = decoder.mask_tokens.weight.data[:1]
    decoder.num_mask_tokens = 1
    sparse, dense = encoder((prompts.coords, prompts.labels), None, None)
    logits, _ = decoder(image["neck"], encoder.get_dense_pe(), sparse, dense, multimask_output=False)
    found = model(image, prompts)
    torch.testing.assert_close(found.logits, logits, rtol=1e-4, atol=1e-5)
    assert found.iou is None
    assert found.label_tokens.shape == (3, WIDTH)


def test_the_one_mask_form_has_the_official_number_of_parameters():
    with torch.device("meta"):
        model = MaskDecoder()
    own = {n: p.numel() for n, p in model.named_parameters() if not n.startswith("prompt_encoder.")}
    assert sum(own.values()) == 3_505_280 + 256  # reference: one-mask decoder and label token
    assert sum(p.numel() for p in model.prompt_encoder.parameters()) == 6_220  # SAM's prompt encoder


def test_post_processing_agrees_with_segment_anything():
    decoder, encoder = sam()
    image_encoder = torch.nn.Identity()
    image_encoder.img_size = SIZE
    reference = Sam(image_encoder, encoder, decoder)
    logits = torch.randn(2, 3, 4 * GRID, 4 * GRID)
    expected = reference.postprocess_masks(logits, (64, 96), (101, 150))
    torch.testing.assert_close(postprocess_logits(logits, padded=SIZE, input_hw=(64, 96), size_hw=(101, 150)), expected)


@pytest.mark.parametrize(
    "options", [{"form": "official"}, {"form": "full"}, {"form": "full", **SWITCHES}, {"form": "full", **CONTEXT}]
)
@pytest.mark.parametrize(("points", "box", "mask"), [(1, False, False), (0, True, False), (2, True, True)])
def test_a_batch_equals_one_by_one(options, points, box, mask):
    model, image, prompts = ours(**options), features(skips="skips" in options), some(points=points, box=box, mask=mask)
    together = model(image, prompts)
    repeated = model({k: v.expand(3, -1, -1, -1) for k, v in image.items()}, prompts)
    torch.testing.assert_close(repeated.logits, together.logits, rtol=1e-4, atol=1e-5)
    for i in range(3):
        row = slice(i, i + 1)
        one = PromptTensors(
            prompts.coords[row],
            prompts.labels[row],
            prompts.boxes[row] if box else None,
            prompts.mask_logits[row] if mask else None,
        )
        alone = model(image, one)
        torch.testing.assert_close(alone.logits[0], together.logits[i], rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(alone.label_tokens[0], together.label_tokens[i], rtol=1e-4, atol=1e-5)
        if together.iou is not None:
            torch.testing.assert_close(alone.iou[0], together.iou[i], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("options", [{"form": "official"}, {"form": "full", **SWITCHES}])
def test_the_order_of_points_does_not_matter(options):
    model, image, prompts = ours(**options), features(skips="skips" in options), some(points=4)
    turned = PromptTensors(prompts.coords.flip(1), prompts.labels.flip(1))
    torch.testing.assert_close(model(image, turned).logits, model(image, prompts).logits, rtol=1e-4, atol=1e-5)


def test_a_negative_click_is_not_a_positive_one():
    model, image = ours(form="full", **SWITCHES), features(skips=True)
    prompts = some(points=1)
    other = PromptTensors(prompts.coords, 1 - prompts.labels)
    assert (model(image, prompts).logits - model(image, other).logits).abs().max() > 0.1


def test_box_start_answers_about_the_rectangle_before_training():
    model = ours(form="full", skips=True, box_start=True)
    for mlp in model.output_hypernetworks_mlps:  # silence the network: what is left is the start
        torch.nn.init.zeros_(mlp.layers[-1].weight)
        torch.nn.init.zeros_(mlp.layers[-1].bias)
    prompts = some(points=0, box=True)
    inside = model(features(skips=True), prompts).logits > 0
    for mask, (x1, y1, x2, y2) in zip(inside[:, 0], (prompts.boxes / 4).tolist(), strict=True):
        rows, columns = mask.any(1).nonzero().flatten(), mask.any(0).nonzero().flatten()
        assert abs(columns[0] - x1) <= 0.5 + 1e-4
        assert abs(columns[-1] + 1 - x2) <= 0.5 + 1e-4
        assert abs(rows[0] - y1) <= 0.5 + 1e-4
        assert abs(rows[-1] + 1 - y2) <= 0.5 + 1e-4


@pytest.mark.parametrize("grid", [4, 8])
def test_the_full_form_works_on_any_grid(grid):
    model = ours(form="full", **SWITCHES)
    image = {
        "neck": torch.randn(1, WIDTH, grid, grid),
        "skip4": torch.randn(1, WIDTH // 4, 4 * grid, 4 * grid),
        "skip8": torch.randn(1, WIDTH // 2, 2 * grid, 2 * grid),
    }
    assert model(image, some(mask=True)).logits.shape == (3, 4, 4 * grid, 4 * grid)


def test_skips_have_the_shapes_that_the_decoder_reads():
    skips = ImageSkips(in_channels=(5, 7), width=WIDTH, edge_channels=4)
    maps = [torch.randn(2, 5, 24, 24), torch.randn(2, 7, 12, 12)]
    found = skips(torch.randn(2, 3, SIZE, SIZE), maps)
    assert found["skip4"].shape == (2, WIDTH // 4, 24, 24)
    assert found["skip8"].shape == (2, WIDTH // 2, 12, 12)
    plain = ImageSkips(in_channels=(5, 7), width=WIDTH)
    assert plain(torch.randn(2, 3, SIZE, SIZE), maps)["skip4"].shape == (2, WIDTH // 4, 24, 24)


def test_every_part_of_the_switched_form_learns():
    model = ours(form="full", **SWITCHES)
    found = model(features(skips=True), some(points=2, box=True, mask=True))
    alone = model(features(skips=True), some(points=1))
    only_box = model(features(skips=True), some(points=0, box=True))
    (
        found.logits.square().mean() + found.iou.mean() + alone.logits.square().mean() + only_box.logits.square().mean()
    ).backward()
    silent = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum()]
    assert silent == []


def test_the_quality_estimate_does_not_shape_the_masks():
    model = ours(form="full", **SWITCHES)
    image = {k: v.requires_grad_() for k, v in features(skips=True).items()}
    model(image, some(points=1)).iou.sum().backward()
    assert model.refine4.out.weight.grad is None
    assert image["skip4"].grad is None
