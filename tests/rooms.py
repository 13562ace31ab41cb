"""The rooms of CONTRIBUTING.md: what each may import. `test_arrows.py` holds them to it."""

CORE = {"numpy", "PIL", "tokenizers", "pydantic", "typer", "rich"}

# Room: (the packages of others, and the rooms, that it may import besides itself). A room is a folder or a file; what
# lies in no smaller room belongs to the folder. A room may import those above it in this list, and no other.
BASE = {"samclip_edge"}  # errors, progress and the names that apps import
LOOK = BASE | {"samclip_edge/data", "samclip_edge/bundle", "samclip_edge/photo", "samclip_edge/text"}
ASK = LOOK | {f"samclip_edge/{name}" for name in ("encoded", "together", "scene_file", "tasks", "scene", "pipeline")}
ENGINES = {"runtimes", "runtimes/interpreters", "runtimes/tensorrt"}
EXPORT = {"export", "export/forms", "export/precision", "export/targets"}
TRACING = {"torch", "onnx", "onnx_ir", "onnxruntime", "onnxscript", "coremltools"}
ROOMS: dict[str, tuple[set[str], set[str]]] = {
    "samclip_edge": (set(), set()),
    "samclip_edge/data": (set(), BASE),
    "samclip_edge/bundle": ({"numpy", "pydantic", "huggingface_hub"}, BASE),
    "samclip_edge/photo": ({"numpy", "PIL"}, BASE | {"samclip_edge/bundle"}),
    "samclip_edge/text": ({"numpy", "tokenizers"}, BASE | {"samclip_edge/data", "samclip_edge/bundle"}),
    "samclip_edge/encoded": ({"numpy"}, BASE | {"samclip_edge/bundle", "samclip_edge/photo"}),
    "samclip_edge/together": ({"numpy"}, LOOK | {"samclip_edge/encoded"}),
    "samclip_edge/scene_file": ({"numpy", "PIL"}, LOOK | {"samclip_edge/encoded"}),
    "samclip_edge/tasks": ({"numpy"}, LOOK | {"samclip_edge/encoded"}),
    "samclip_edge/scene": ({"numpy"}, ASK - {"samclip_edge/scene", "samclip_edge/pipeline"}),
    "samclip_edge/pipeline": ({"numpy"}, ASK - {"samclip_edge/pipeline"}),
    "samclip_edge/site": (set(), LOOK),
    "samclip_edge/library": ({"numpy", "PIL", "pyarrow", "lancedb", "lance_ray", "ray"}, ASK),
    "samclip_edge/rendered": ({"numpy", "cv2"}, set()),
    "samclip_edge/accuracy": ({"numpy", "cv2", "pycocotools"}, ASK | {"samclip_edge/rendered"}),
    "samclip_edge/model": (
        {"torch", "safetensors", "pydantic", "open_clip"},
        BASE | {"samclip_edge/bundle", "samclip_edge/text"},
    ),
    "runtimes": ({"numpy", "onnxruntime", "coremltools", "PIL", "ai_edge_litert"}, BASE | {"samclip_edge/bundle"}),
    "runtimes/tensorrt": ({"numpy", "cuda", "tensorrt"}, BASE | {"samclip_edge/bundle", "runtimes"}),
    "runtimes/interpreters": ({"numpy", "torch", "coremltools"}, BASE | {"samclip_edge/bundle", "runtimes"}),
    "export/forms": ({"torch"}, {"samclip_edge/bundle", "samclip_edge/model"}),
    "export/precision": (
        {"numpy", "torch", "onnx", "onnxruntime", "ai_edge_litert", "ai_edge_quantizer"},
        BASE | {"samclip_edge/bundle", "export/weights"},
    ),
    "export/targets": (
        TRACING | {"numpy", "tensorrt", "ai_edge_litert", "litert_torch", "litert_converter"},
        LOOK | ENGINES | EXPORT | {"export/weights", "samclip_edge/model"},
    ),
    "export/weights": ({"numpy", "onnx"}, set()),
    "export/costs": ({"numpy"}, ASK | {"samclip_edge/accuracy", "export/targets"}),
    "export/order": (set(), LOOK | EXPORT | {"export/costs", "samclip_edge/model"}),
    "export/get": (set(), LOOK | EXPORT | {"samclip_edge/model"}),
    "export": (
        {"numpy", "torch", "tokenizers", "open_clip"},
        ASK | ENGINES | {"samclip_edge/rendered", "samclip_edge/model", "export/forms"},
    ),
    "train/data": (
        {"numpy", "cv2", "onnxruntime", "torch", "pydantic", "pycocotools", "open_clip", "timm"},
        LOOK | {"samclip_edge/rendered", "train/recipe"},
    ),
    "train/yaml_lines": ({"yaml"}, set()),
    "train/recipe": ({"numpy", "yaml", "pydantic"}, BASE | {"samclip_edge/bundle", "train/yaml_lines"}),
    "train": (
        {"numpy", "torch", "accelerate", "matplotlib", "open_clip", "pydantic", "transformers"},
        LOOK | {"samclip_edge/rendered", "samclip_edge/model", "train/data", "train/recipe"},
    ),
    "train/probing": (
        {"numpy", "torch", "torchvision", "accelerate", "open_clip", "PIL", "yaml", "pydantic"},
        LOOK | {"samclip_edge/model", "train", "train/data"},
    ),
    "benchmarks/evaluation": (
        {"numpy", "PIL", "cv2", "torch", "open_clip", "timm", "scipy", "pycocotools", "lvis", "pydantic"}
        | {"typing_extensions"},
        ASK | {"samclip_edge/accuracy", "benchmarks", "train", "train/probing"},
    ),
    "benchmarks/library": (
        {"numpy", "apsw", "faiss", "lancedb", "pyarrow", "sqlite_vec", "usearch"},
        ASK | {"samclip_edge/library", "samclip_edge/rendered", "benchmarks", "benchmarks/evaluation"},
    ),
    "benchmarks": (
        {"numpy", "torch", "onnx", "onnxruntime", "ai_edge_litert", "matplotlib", "segment_anything", "PIL"},
        ASK | EXPORT | {"samclip_edge/model"},
    ),
    "samclip_edge/cli": (
        CORE | {"onnxruntime"},
        ASK
        | EXPORT
        | {
            "export/costs",
            "export/get",
            "export/order",
            "runtimes",
            "train",
            "train/recipe",
            "benchmarks",
            "benchmarks/evaluation",
            "benchmarks/library",
        }
        | {"samclip_edge/accuracy", "samclip_edge/library", "samclip_edge/model", "samclip_edge/site"},
    ),
}
