"""`course export`: a trained model as an ONNX file, for programs without PyTorch. Chapter 07."""

import argparse
from pathlib import Path
from typing import Any

OPSET = 18
BATCHES = (1, 3)  # that the file is tried with
TOLERANCE = 1e-4  # of the logits, in float32 on two runtimes


def add_export(commands: Any) -> None:
    export = commands.add_parser(
        "export",
        help="write a trained model as an ONNX file",
        description="Write a model as an ONNX file, and compare the two on the spot.",
    )
    export.add_argument("model", help="a run's folder, its model.safetensors, or a name such as vit_base_patch16_224")
    export.add_argument("--onnx", type=Path, required=True, metavar="FILE", help="where to")
    export.add_argument("--json", action="store_true", help="print what came out for programs")
    export.set_defaults(run=_export)


def _export(options: argparse.Namespace) -> int:
    import json
    import tempfile

    from course_lib.files.atomic import write_atomically
    from course_lib.models.saved import load_model

    _check_installed()
    model, target = load_model(options.model), options.onnx.expanduser()
    if target.is_dir():
        raise ValueError(f"{target} is a folder: give the name of a file in it, such as {target / 'model.onnx'}.")
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "model.onnx"
        example = _convert(model, file)
        far = _compare(model, file, example)
        if far > TOLERANCE:
            raise ValueError(f"the ONNX file answers by up to {far:.1e} otherwise than the model: nothing was written.")
        write_atomically(target, file.read_bytes())
    told = {"file": str(target), "input": ["batch", *example.shape[1:]], "largest_difference": far}
    if options.json:
        print(json.dumps(told, indent=1))
        return 0
    size = " x ".join(map(str, told["input"]))
    print(f"{target}: input {size}, float32, normalised; its logits are the model's to {far:.1e}.")
    return 0


def _check_installed() -> None:
    from importlib.util import find_spec

    lacking = [name for name in ("onnx", "onnxscript", "onnxruntime") if find_spec(name) is None]
    if lacking:
        raise ValueError(f"this needs {' and '.join(lacking)}: pip install onnx onnxscript onnxruntime")


def _convert(model: Any, file: Path) -> Any:
    """Write the file, with what the model says of itself; returns images such as the model takes (B, C, h, w)."""
    import contextlib
    import io
    import json
    import logging
    import warnings

    import onnx
    import torch

    from course_lib.models.ask import class_names, wanted_images

    wants = wanted_images(model)
    generator = torch.Generator().manual_seed(0)
    example = torch.randn(max(BATCHES), len(wants.mean), *wants.input_size, generator=generator)
    options = {"input_names": ["images"], "output_names": ["logits"], "opset_version": OPSET, "external_data": False}
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings(action="ignore"), contextlib.redirect_stdout(io.StringIO()):  # of steps on the way
        batch = torch.export.Dim("batch")
        torch.onnx.export(model, (example,), file, dynamo=True, dynamic_shapes=({0: batch},), **options)
    written = onnx.load(file)
    about = {"classes": json.dumps(class_names(model)), "preprocessing": json.dumps(wants.facts())}
    onnx.helper.set_model_props(written, about)
    onnx.save(written, file)
    return example


def _compare(model: Any, file: Path, example: Any) -> float:
    """By how much the file's logits differ at most from the model's, for several sizes of a batch."""
    import onnxruntime
    import torch

    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    far = 0.0
    for size in BATCHES:
        with torch.no_grad():
            ours = model(example[:size])
        (theirs,) = session.run(["logits"], {"images": example[:size].numpy()})
        far = max(far, (ours - torch.from_numpy(theirs)).abs().max().item())
    return far
