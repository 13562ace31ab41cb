"""What the paper's tables say (arXiv 2310.15308, version 4): shares, by task, by model, by the name of our measure."""

from __future__ import annotations

PUBLISHED = {  # samples of the data sets as they are published
    "imagenet": 50_000,
    "imagenet-v2": 10_000,
    "places365": 36_500,
    "flickr30k": 1_000,
    "coco-captions": 5_000,
    "coco": 5_000,
    "lvis": 19_809,
    "voc": 1_449,
    "context": 5_105,
    "ade20k": 2_000,
    "coco-stuff": 5_000,
    "coco-panoptic": 5_000,
}
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
    "voc": {"SAM-CLIP, CLIP head": {"mIoU": 0.606}},
    "context": {"SAM-CLIP, CLIP head": {"mIoU": 0.292}},
    "ade20k": {"SAM-CLIP, CLIP head": {"mIoU": 0.171}},
    "coco-stuff": {"SAM-CLIP, CLIP head": {"mIoU": 0.315}},
    "coco-panoptic": {"SAM-CLIP, CLIP head": {"mIoU": 0.288}},
    "probe voc linear": {"SAM-CLIP": {"mIoU": 0.750}, "CLIP": {"mIoU": 0.707}, "SAM": {"mIoU": 0.466}},
    "probe voc deeplabv3": {"SAM-CLIP": {"mIoU": 0.803}, "CLIP": {"mIoU": 0.789}, "SAM": {"mIoU": 0.699}},
    "probe voc pspnet": {"SAM-CLIP": {"mIoU": 0.813}, "CLIP": {"mIoU": 0.797}, "SAM": {"mIoU": 0.712}},
    "probe ade20k linear": {"SAM-CLIP": {"mIoU": 0.384}, "CLIP": {"mIoU": 0.364}, "SAM": {"mIoU": 0.266}},
    "probe ade20k deeplabv3": {"SAM-CLIP": {"mIoU": 0.411}, "CLIP": {"mIoU": 0.394}, "SAM": {"mIoU": 0.328}},
    "probe ade20k pspnet": {"SAM-CLIP": {"mIoU": 0.417}, "CLIP": {"mIoU": 0.407}, "SAM": {"mIoU": 0.362}},
    "probe imagenet linear": {
        "SAM-CLIP": {"top-1": 0.805},
        "CLIP, DataComp": {"top-1": 0.813},
        "CLIP, LAION": {"top-1": 0.796},
        "SAM": {"top-1": 0.412},
    },
    "probe places365 linear": {
        "SAM-CLIP": {"top-1": 0.553},
        "CLIP, DataComp": {"top-1": 0.551},
        "CLIP, LAION": {"top-1": 0.552},
        "SAM": {"top-1": 0.415},
    },
}
