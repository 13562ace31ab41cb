"""What the paper's tables say (arXiv 2310.15308, version 4): shares, by task, by model, by the name of our measure."""

from __future__ import annotations

PAPER: dict[str, dict[str, dict[str, float]]] = {
    "imagenet": {
        "SAM-CLIP": {"top-1": 0.724},
        "CLIP, DataComp": {"top-1": 0.735},
    },
    "imagenet-v2": {
        "SAM-CLIP": {"top-1": 0.632},
        "CLIP, DataComp": {"top-1": 0.656},
    },
    "places365": {
        "SAM-CLIP": {"top-1": 0.436},
        "CLIP, DataComp": {"top-1": 0.430},
    },
    "coco": {"SAM-CLIP": {"mAP": 0.409}, "SAM": {"mAP": 0.412}},
    "lvis": {"SAM-CLIP": {"mAP": 0.350}, "SAM": {"mAP": 0.368}},
    "voc": {"SAM-CLIP": {"mIoU": 0.606}},
    "context": {"SAM-CLIP": {"mIoU": 0.292}},
    "ade20k": {"SAM-CLIP": {"mIoU": 0.171}},
    "coco-stuff": {"SAM-CLIP": {"mIoU": 0.315}},
    "coco-panoptic": {"SAM-CLIP": {"mIoU": 0.288}},
}
