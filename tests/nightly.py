"""How much is run: `make nightly` asks for the full numbers, everything else for a sample of them."""

import os


def full(nightly, quick):
    """`nightly` where pytest was given --nightly (or NIGHTLY=1 stands in the environment), else `quick`:
    `for seed in range(full(20, 5))`. What is not a number but a test of its own gets `@pytest.mark.nightly`."""
    return nightly if os.environ.get("NIGHTLY") else quick
