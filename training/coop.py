"""CoOp: learnt context tokens before a name, for the crop baselines (Zhou et al. 2022; the paper's "+ CoOp" rows).

    python -m training.coop --model DIR --data coco_train.json --kind image-crop --out coop.safetensors

The image side is frozen, so every region is embedded once; the contexts learn through the frozen text tower.
"""

from __future__ import annotations

import sys
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path  # noqa: TC003  option types are read at run time
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
import xxhash
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional

from ovsam_core.errors import CheckpointError
from ovsam_core.text import EncodedVocabulary
from training.args import ConfigError, command
from training.loop import FitResult, fit
from training.names import RegionVectors, collate_vectors, embed_objects
from training.networks import device_of, load_network
from training.options import LoopArgs, OptimArgs
from training.records import names_of, read_records
from training.task import Task, freeze
from training.train_clip2sam import class_rows, training_vocabulary

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from ovsam_core.modeling.ovsam import OVSAM
    from ovsam_core.vocabulary import Vocabulary

__all__ = ["CoOp", "CoopArgs", "CoopTask", "encode_with_contexts", "main", "train"]

_HOLDER = "x"  # a one-token word that keeps the contexts' places in the tokenised sentence


@dataclass
class CoopLoop(LoopArgs):
    """Length; see `LoopArgs`."""

    epochs: int = 50
    batch_size: int = 32


@dataclass
class CoopOptim(OptimArgs):
    """Schedule; see `OptimArgs`."""

    lr: float = 2e-3
    weight_decay: float = 5e-4
    warmup_steps: int = 20
    clip: float = 1.0


@dataclass
class CoopArgs:
    """Learn contexts.

    Attributes:
        data: COCO JSON to learn from.
        out: the safetensors file to write; the run lies beside it.
        model: model directory or configuration whose CLIP is used.
        images: folder of the pictures.
        classes: as in `training.train_clip2sam`.
        kind: what the baseline embeds.
        contexts: learnt tokens before every name.
        loop: length and batch (regions).
        optim: optimiser and schedule.
    """

    data: Path
    out: Path
    model: str = "starter"
    images: Path | None = None
    classes: str = "coco-base"
    kind: Literal["image-crop", "feature-crop"] = "image-crop"
    contexts: int = 16
    loop: CoopLoop = field(default_factory=CoopLoop)
    optim: CoopOptim = field(default_factory=CoopOptim)


class CoOp(nn.Module):
    """Context vectors in front of names, read by a frozen text tower.

    Args:
        network: its text tower; frozen.
        contexts: (M, W) start values, or how many to draw.
    """

    def __init__(self, network: OVSAM, contexts: Tensor | int) -> None:
        super().__init__()
        self.network = network
        if isinstance(contexts, int):
            width = network.text.token_embedding.weight.shape[1]
            contexts = 0.02 * torch.randn(contexts, width, generator=torch.Generator().manual_seed(0))
        self.contexts = nn.Parameter(contexts.clone())

    def forward(self, phrases: Sequence[str]) -> Tensor:
        """Return (N, D) unit-length embeddings of N names behind the contexts."""
        count = len(self.contexts)
        tokens = self.network.tokenizer([" ".join([_HOLDER] * count + [p]) for p in phrases])
        tokens = tokens.to(self.contexts.device)
        with self._in_place(count):
            return functional.normalize(self.network.text(tokens).float(), dim=-1)

    @contextmanager
    def _in_place(self, count: int) -> Iterator[None]:
        """Put the contexts where the place holders' embeddings would be (behind the start token)."""

        def swap(_: nn.Module, __: Any, embedded: Tensor) -> Tensor:
            own = self.contexts.to(embedded.dtype).expand(len(embedded), -1, -1)
            return torch.cat([embedded[:, :1], own, embedded[:, 1 + count :]], dim=1)

        handle = self.network.text.token_embedding.register_forward_hook(swap)
        try:
            yield
        finally:
            handle.remove()


class CoopTask(Task):
    """Cross-entropy of frozen region embeddings against names behind learnt contexts.

    Args:
        network: frozen.
        names: one phrase for each class.
        contexts: how many.
    """

    def __init__(self, network: OVSAM, names: Sequence[str], contexts: int) -> None:
        super().__init__()
        self.coop = CoOp(freeze(network), contexts)  # type: ignore[arg-type]
        self.names = list(names)

    def forward(self, batch: Mapping[str, Any], totals: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the class loss."""
        rows = self.coop(self.names)  # (K, D)
        scores = batch["vectors"] @ rows.T * self.coop.network.logit_scale
        return {"names": functional.cross_entropy(scores, batch["labels"], reduction="sum") / totals["pictures"]}


def train(args: CoopArgs) -> FitResult:
    """Run the stage and write the contexts.

    Raises:
        ConfigError: contexts and names do not fit the text tower.
    """
    network = load_network(args.model, seed=args.loop.seed)
    length = int(network.config.vision["text_cfg"].get("context_length", 77))
    if args.contexts > length - 8:
        raise ConfigError(f"--contexts: {args.contexts} leave no room for names in {length} tokens")
    pictures = read_records(args.data, args.images)
    names = names_of(pictures)
    vocabulary = training_vocabulary(args.classes, names)
    device = device_of(args.loop.device)
    network.to(device)
    share = 1.0 if args.kind == "image-crop" else 0.0
    vectors, labels, ids = embed_objects(
        network, pictures, class_rows(vocabulary, names), device, crop_share=share, max_bad=args.loop.max_bad
    )
    task = CoopTask(network, [entry.phrases[0] for entry in vocabulary], args.contexts)
    data = RegionVectors(vectors, labels, ids, seed=args.loop.seed)
    run = args.out.parent / f"{args.out.stem}_run"
    result = fit(task, data, run, args.loop, args.optim, collate=collate_vectors, config=args)
    if result.main:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        save_file({"contexts": task.coop.contexts.detach().cpu()}, args.out, {"kind": args.kind})
        print(f"wrote {args.out}")
    return result


@torch.no_grad()
def encode_with_contexts(model: str, contexts: Path, vocabulary: Vocabulary) -> EncodedVocabulary:
    """Embed a vocabulary behind learnt contexts, one phrase a name.

    Raises:
        CheckpointError: the file cannot be read, or was made for another text tower.
    """
    network = load_network(model)
    try:
        learnt = load_file(contexts)["contexts"]
    except (OSError, SafetensorError, KeyError) as error:
        raise CheckpointError(f"{contexts}: not the contexts that training.coop writes ({error})") from error
    width = network.text.token_embedding.weight.shape[1]
    if learnt.ndim != 2 or learnt.shape[1] != width:
        raise CheckpointError(f"{contexts}: made for a text tower of width {learnt.shape[-1]}, this one has {width}")
    coop = CoOp(network, learnt)
    phrases = [entry.phrases[0] for entry in vocabulary]
    rows = torch.cat([coop(phrases[i : i + 256]) for i in range(0, len(phrases), 256)])
    digest = xxhash.xxh3_128_hexdigest(vocabulary.digest.encode() + learnt.numpy().tobytes())
    return EncodedVocabulary(vocabulary, rows.half().numpy(), np.arange(len(phrases), dtype=np.int64), digest)


def main(args: CoopArgs) -> None:
    """Run the stage."""
    train(args)


if __name__ == "__main__":
    sys.exit(command(CoopArgs, main, program="python -m training.coop"))
