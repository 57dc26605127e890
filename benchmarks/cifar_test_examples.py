"""Six test images of CIFAR-10 (JPEG copy), the first of each animal: data/results/cifar10_test_examples.json.

    python benchmarks/cifar_test_examples.py

So that a page can draw attention over photographs without a download. No model here was trained on them. An image is
32 rows, each a text of 96 hexadecimal numbers: red, green and blue of each pixel in turn.
"""

from mnist_mistakes import write

from course_lib.data import cifar10_jpeg

ANIMALS = ("bird", "cat", "deer", "dog", "frog", "horse")


def rows(image):
    """(3, 32, 32) uint8 -> 32 texts."""
    return [bytes(row).hex() for row in image.permute(1, 2, 0).flatten(1).tolist()]


def main():
    test = cifar10_jpeg("test")
    labels = [test.classes.index(animal) for animal in ANIMALS]
    firsts = [(test.labels == label).nonzero()[0, 0].item() for label in labels]
    entries = [
        {"image": rows(test.images[i]), "number": i, "label": label} for i, label in zip(firsts, labels, strict=True)
    ]
    what = "the first test image of each animal of CIFAR-10 (JPEG copy)"
    write("cifar10_test_examples", what, {"classes": list(test.classes), "examples": entries})


if __name__ == "__main__":
    main()
