"""The first 150 test images of MNIST: data/results/mnist_test_150.safetensors, images (150, 28, 28) and labels, bytes.

    python benchmarks/mnist_test_150.py

So that chapter 12 can count over digits that the models were not trained on, without a download. None was chosen.
"""

import torch
from safetensors.torch import save

from course_lib.data import mnist
from course_lib.files.atomic import write_atomically
from course_lib.files.places import RESULTS

COUNT = 150


def main():
    test = mnist("test")
    images, labels = test.images[:COUNT, 0].contiguous(), test.labels[:COUNT].to(torch.uint8)
    write_atomically(
        RESULTS[0] / "mnist_test_150.safetensors",
        save({"images": images, "labels": labels}, metadata={"what": "the first 150 test images of MNIST"}),
    )


if __name__ == "__main__":
    main()
