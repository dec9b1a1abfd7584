import pytest
import torch
from segment_anything.modeling import PromptEncoder as SamPromptEncoder

from ovsam_core.modeling.prompt_encoder import PromptEncoder, PromptTensors, box_coverage, prompt_maps

WIDTH, GRID = 16, (6, 6)
SIZE = 16 * GRID[0]


@pytest.fixture
def pair():
    """Our encoder and SAM's, with the same random weights."""
    torch.manual_seed(0)
    reference = SamPromptEncoder(WIDTH, GRID, (SIZE, SIZE), 8).eval()
    ours = PromptEncoder(width=WIDTH, mask_channels=8).eval()
    ours.load_state_dict(reference.state_dict())
    return ours, reference


def some(n=3, points=2, box=False, mask=False):
    generator = torch.Generator().manual_seed(7)
    coords = torch.rand(n, points, 2, generator=generator) * SIZE
    labels = torch.randint(2, (n, points), generator=generator).to(torch.int8)
    corner = torch.rand(n, 2, generator=generator) * SIZE / 2
    boxes = torch.cat((corner, corner + 5 + torch.rand(n, 2, generator=generator) * SIZE / 2), 1) if box else None
    logits = torch.randn(n, 1, 4 * GRID[0], 4 * GRID[1], generator=generator) if mask else None
    return PromptTensors(coords, labels, boxes, logits)


@pytest.mark.parametrize(
    ("points", "box", "mask"),
    [(1, False, False), (3, False, True), (0, True, False), (2, True, True), (0, False, True)],
)
def test_it_agrees_with_segment_anything(pair, points, box, mask):
    ours, reference = pair
    prompts = some(points=points, box=box, mask=mask)
    sparse, dense = ours(prompts, torch.zeros(1, WIDTH, *GRID))
    given = (prompts.coords, prompts.labels) if points else None
    expected_sparse, expected_dense = reference(given, prompts.boxes, prompts.mask_logits)
    torch.testing.assert_close(sparse, expected_sparse)
    torch.testing.assert_close(dense, expected_dense)
    torch.testing.assert_close(ours.dense_position(GRID), reference.get_dense_pe())


def test_a_padding_point_stands_in_for_the_missing_box_only(pair):
    ours, _ = pair
    image = torch.zeros(1, WIDTH, *GRID)
    assert ours(some(points=2), image)[0].shape == (3, 3, WIDTH)
    assert ours(some(points=2, box=True), image)[0].shape == (3, 4, WIDTH)
    assert ours(some(points=0, mask=True), image)[0].shape == (3, 0, WIDTH)


def test_content_is_the_image_feature_under_the_click_and_inside_the_box():
    torch.manual_seed(0)
    encoder = PromptEncoder(width=WIDTH, content=True).eval()
    torch.nn.init.eye_(encoder.content.weight)
    torch.nn.init.zeros_(encoder.content.bias)
    image = torch.zeros(1, WIDTH, *GRID)
    image[0, :, 2, 3] = 5.0
    blank = torch.zeros_like(image)
    on, off = torch.tensor([[[3.5 * 16, 2.5 * 16]]]), torch.tensor([[[0.5 * 16, 4.5 * 16]]])
    label = torch.ones(1, 1, dtype=torch.int8)
    for coords, value in ((on, 5.0), (off, 0.0)):
        prompts = PromptTensors(coords, label)
        gain = encoder(prompts, image)[0] - encoder(prompts, blank)[0]
        torch.testing.assert_close(gain[0, 0], torch.full((WIDTH,), value))
        torch.testing.assert_close(gain[0, 1], torch.zeros(WIDTH))
    box = PromptTensors(
        torch.zeros(1, 0, 2), torch.zeros(1, 0, dtype=torch.int8), torch.tensor([[48.0, 32.0, 80.0, 48.0]])
    )
    gain = encoder(box, image)[0] - encoder(box, blank)[0]
    torch.testing.assert_close(gain, torch.full((1, 2, WIDTH), 2.5))


def test_content_of_one_picture_equals_content_of_repeated_pictures():
    torch.manual_seed(0)
    encoder = PromptEncoder(width=WIDTH, content=True, maps=True).eval()
    image, prompts = torch.randn(1, WIDTH, *GRID), some(box=True, mask=True)
    for one, many in zip(encoder(prompts, image), encoder(prompts, image.expand(3, -1, -1, -1)), strict=True):
        torch.testing.assert_close(one, many)


def test_coverage_is_the_share_of_a_cell_inside_the_box():
    cover = box_coverage(torch.tensor([[4.0, 0.0, 10.0, 4.0]]), (2, 4), 4)
    torch.testing.assert_close(cover, torch.tensor([[[0.0, 1.0, 0.5, 0.0], [0.0, 0.0, 0.0, 0.0]]]))
    assert cover.sum() * 16 == 24  # the box's area


def test_maps_show_box_clicks_and_previous_logits():
    prompts = PromptTensors(
        torch.tensor([[[10.0, 10.0], [50.0, 50.0]]]),
        torch.tensor([[1, 0]], dtype=torch.int8),
        torch.tensor([[0.0, 0.0, 32.0, 32.0]]),
        torch.full((1, 1, 16, 16), 40.0),
    )
    box, clicks, previous = prompt_maps(prompts, (16, 16), 4)[0]
    assert box[3, 3] == 1
    assert box[12, 12] == -1
    assert clicks[2, 2] > 0.9
    assert clicks[12, 12] < -0.9
    assert (previous == 2).all()
    nothing = prompt_maps(PromptTensors(prompts.coords[:, :0], prompts.labels[:, :0]), (16, 16), 4)
    assert not nothing.any()


def test_the_order_of_points_does_not_change_the_maps():
    prompts = some(points=4)
    turned = PromptTensors(prompts.coords.flip(1), prompts.labels.flip(1))
    torch.testing.assert_close(prompt_maps(prompts, (24, 24), 4), prompt_maps(turned, (24, 24), 4))
