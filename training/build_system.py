"""From an evaluation's options to the system it measures."""

from __future__ import annotations

from typing import TYPE_CHECKING

from training.args import ConfigError
from training.baselines import CropSystem, GrabCutSystem, RectangleSystem
from training.networks import device_of, load_network
from training.systems import OfficialSystem, OvsamSystem, System, merged_phrases

if TYPE_CHECKING:
    from ovsam_core.vocabulary import Vocabulary
    from training.evaluate import EvaluateArgs

__all__ = ["build_system"]


def build_system(args: EvaluateArgs, vocabulary: Vocabulary | None) -> System:
    """Load what `args` asks for.

    Raises:
        ConfigError: options that do not go together.
        ModelError: the model cannot be loaded.
    """
    if args.baseline in {"rectangle", "grabcut"} and args.prompt != "box":
        raise ConfigError(f"--baseline {args.baseline} needs --prompt box")
    if args.coop is not None and args.baseline not in {"image-crop", "feature-crop"}:
        raise ConfigError("--coop goes with --baseline image-crop or feature-crop")
    if args.baseline == "rectangle":
        return RectangleSystem()
    if args.baseline == "grabcut":
        return GrabCutSystem()
    sam = _sam(args) if args.sam is not None or args.baseline == "sam" else None
    if args.baseline == "sam":
        assert sam is not None
        return sam
    from ovsam_core.predictor import load_predictor  # noqa: PLC0415  slow to import; the others do without

    predictor = load_predictor(args.model, device=args.device)
    if not args.baseline:
        if args.protocol == "official" and args.prompt != "box":
            return OfficialSystem(predictor, load_network(args.model), vocabulary, synonyms=args.synonyms)
        return OvsamSystem(predictor, vocabulary, closer=args.closer, synonyms=args.synonyms, region=args.region)
    encoded = None
    if vocabulary is not None and args.coop is not None:
        from training.coop import encode_with_contexts  # noqa: PLC0415

        encoded = encode_with_contexts(args.model, args.coop, vocabulary)
    elif vocabulary is not None:
        encoded = merged_phrases(predictor.encode_vocabulary(vocabulary), args.synonyms)
    return CropSystem(args.baseline, predictor, encoded, sam)


def _sam(args: EvaluateArgs) -> System:
    from training.sam import SamSystem, build_sam  # noqa: PLC0415

    sam = build_sam(args.sam_type, args.sam, decoder=args.sam_decoder)
    return SamSystem(sam, device_of(args.device), "SAM, tuned" if args.sam_decoder else "SAM")
