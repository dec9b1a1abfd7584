"""Fine-tune SAM's own mask decoder on annotated pictures: the paper's "SAM-H fine-tuned" (Table 4).

    python -m training.finetune_sam --sam FILE --data instances_train2017.json --images train2017 --out sam-tuned

Image encoder and prompt encoder stay as they are. The decoder's file goes to `training.evaluate --baseline sam` with
`--sam_decoder`.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, field, replace
from pathlib import Path  # noqa: TC003  option types are read at run time
from typing import TYPE_CHECKING, Any

import torch
from safetensors.torch import save_file

from training.args import command
from training.data import PromptArgs, PromptSamples, collate
from training.loop import FitResult, fit
from training.options import LoopArgs
from training.records import read_records
from training.sam import build_sam
from training.sampling import draw_seed
from training.task import Task, train_only
from training.tasks import LossArgs, mask_terms
from training.teacher import TeacherArgs, teacher_input
from training.train_clip2sam import Clip2SamOptim

if TYPE_CHECKING:
    from collections.abc import Mapping

    from segment_anything.modeling import Sam
    from torch import Tensor

    from training.records import PictureRecord

__all__ = ["SamDecoder", "SamDecoderArgs", "main", "train"]


@dataclass
class SamDecoderArgs:
    """Fine-tune SAM's mask decoder.

    Attributes:
        data: COCO JSON or a folder of SA-1B; names play no part.
        out: folder of the run; the decoder is written to its file `sam_decoder.safetensors`.
        images: folder of the pictures; default as in `training.evaluate`.
        teacher: which SAM.
        prompts: prompts and augmentation.
        loss: weights; the class loss plays no part.
        loop: length, batch and housekeeping.
        optim: optimiser and schedule.
    """

    data: Path
    out: Path
    images: Path | None = None
    teacher: TeacherArgs = field(default_factory=TeacherArgs)
    prompts: PromptArgs = field(default_factory=PromptArgs)
    loss: LossArgs = field(default_factory=LossArgs)
    loop: LoopArgs = field(default_factory=LoopArgs)
    optim: Clip2SamOptim = field(default_factory=Clip2SamOptim)


class SamDecoder(Task):
    """Learn masks with SAM's decoder alone.

    Args:
        sam: all of it but its mask decoder is frozen.
        weights: of the loss.
    """

    may_skip = True  # box prompts alone leave parts of the decoder out

    def __init__(self, sam: Sam, weights: LossArgs) -> None:
        super().__init__()
        self.sam = train_only(sam, ("mask_decoder",))
        self.weights = weights

    def totals(self, batch: Mapping[str, Any]) -> dict[str, Tensor]:
        """Count the prompted masks."""
        return {"masks": torch.tensor(float(sum(len(rows) for rows in batch["object"])))}

    def forward(self, batch: Mapping[str, Any], totals: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return mask losses and the loss of the predicted IoU."""
        with torch.no_grad():
            features = self.sam.image_encoder(batch["pixels"])
        terms = dict.fromkeys(("bce", "dice", "iou"), features.new_zeros(()))
        for index in range(len(batch["ids"])):
            boxes, points = batch["prompt_boxes"][index], batch["prompt_points"][index]
            things, count = batch["object"][index], len(boxes)
            signs = torch.ones(points.shape[:2], dtype=torch.int64, device=points.device)
            for prompts, rows, first, ambiguous in (
                ({"boxes": boxes, "points": None}, things[:count], 0, False),
                ({"boxes": None, "points": (points, signs)}, things[count:], count, True),
            ):
                if not len(rows):
                    continue
                with torch.no_grad():
                    sparse, dense = self.sam.prompt_encoder(masks=None, **prompts)
                logits, iou = self.sam.mask_decoder.predict_masks(
                    image_embeddings=features[index : index + 1],
                    image_pe=self.sam.prompt_encoder.get_dense_pe(),
                    sparse_prompt_embeddings=sparse,
                    dense_prompt_embeddings=dense,
                )
                found = mask_terms(
                    logits,
                    iou,
                    batch["masks"][index][rows],
                    [draw_seed(batch["seeds"][index], "points", first + i) for i in range(len(rows))],
                    totals["masks"],
                    self.weights,
                    ambiguous=ambiguous,
                )
                terms = {name: terms[name] + value for name, value in found.items()}
        return terms


def train(args: SamDecoderArgs) -> FitResult:
    """Run the stage and write the decoder.

    Raises:
        OvsamError: data, SAM or options cannot be used; the message says which.
    """
    sam = build_sam(args.teacher.sam_type, args.teacher.sam, seed=args.teacher.seed)
    pictures = [_nameless(p) for p in read_records(args.data, args.images)]
    settings = teacher_input(sam, args.teacher.interpolation)
    task = SamDecoder(sam, args.loss)
    data = PromptSamples(pictures, {}, settings, args.prompts, seed=args.loop.seed)
    result = fit(task, data, args.out, args.loop, args.optim, collate=collate, config=args)
    if result.main:
        tensors = {k: v.detach().cpu().contiguous() for k, v in sam.mask_decoder.state_dict().items()}
        save_file(tensors, args.out / "sam_decoder.safetensors")
        print(f"wrote {args.out / 'sam_decoder.safetensors'}")
    return result


def _nameless(picture: PictureRecord) -> PictureRecord:
    return replace(picture, objects=tuple(replace(o, name="") for o in picture.masked()))


def main(args: SamDecoderArgs) -> None:
    """Run the stage."""
    train(args)


if __name__ == "__main__":
    sys.exit(command(SamDecoderArgs, main, program="python -m training.finetune_sam"))
