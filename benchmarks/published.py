"""What others published of models on phones and Jetsons, with the sources: for a machine that has neither."""

PUBLISHED = """\
Numbers of phones and Jetsons that others published, of models that this package can take or that do the same work.
None of them ran a graph of this package.

| model | device and engine | what was measured | published |
|---|---|---|---|
| MobileSAM | iPhone 14, Core ML | encoder and decoder, one prompt, 1024 | 4.9 photos a second [1] |
| EdgeSAM | iPhone 14, Core ML | the same | 38.7 photos a second [1] |
| MobileCLIP2-S0 | iPhone 12 Pro Max | image tower; text tower | 1.5 ms; 1.6 ms [2] |
| MobileCLIP2-S2 | iPhone 12 Pro Max | image tower; text tower | 3.6 ms; 3.3 ms [2] |
| MobileSAM | Jetson Orin Nano, TensorRT, float32 | whole pipeline | 146 ms [3] |
| MobileSAM | Jetson AGX Orin, TensorRT, float32 | encoder; whole pipeline | 35 ms; 39 ms [3] |
| NanoSAM (ResNet18) | Jetson Orin Nano, TensorRT, fp16 encoder | whole pipeline | 27 ms [3] |
| NanoSAM (ResNet18) | Jetson AGX Orin, TensorRT, fp16 encoder | encoder; whole pipeline | 4.2 ms; 8.1 ms [3] |
| EfficientViT-SAM-L0 at 512 | Jetson AGX Orin, TensorRT, fp16 | end to end, one photo | 8.2 ms [4] |
| EfficientViT-SAM-XL1 at 1024 | Jetson AGX Orin, TensorRT, fp16 | end to end, one photo | 37.2 ms [4] |
| MobileSAM | one GPU, not named | encoder; decoder | 8 ms; 4 ms [5] |
| MobileSAM | "Mac i5 CPU" | a photo | around 3 s [5] |
| SAM ViT-H | one GPU, the same | encoder; decoder | 452 ms; 4 ms [5] |

1. <https://github.com/chongzhou96/EdgeSAM>, README, "Performance". Its 38.2 GFLOPs of MobileSAM
   are what is counted above as multiply-adds.
2. <https://github.com/apple/ml-mobileclip>, README of September 2025, "Evaluation"; the device is that of its
   highlights. It also says that MobileCLIP-S0, whose towers it gives the same latencies, is 4.8 times as fast as
   OpenAI's ViT-B-16.
   The models' cards on the hub give MobileCLIP2-S0's text tower 63.4 M parameters, as open_clip builds it, and 3.3 ms.
3. <https://github.com/NVIDIA-AI-IOT/nanosam>, README, "Performance". MobileSAM's encoder ran in float32 there "because
   it produced erroneous results when built for FP16 precision with TensorRT".
4. <https://github.com/mit-han-lab/efficientvit>, applications/efficientvit_sam/README.md. Time to move data is
   included.
5. <https://github.com/ChaoningZhang/MobileSAM>, README.
"""
