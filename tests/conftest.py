"""What several test files share: the browser's fixtures, and one thread for each process."""

import os

# Two test processes on two cores: more threads would only wait for each other. The kernels inherit it.
os.environ["OMP_NUM_THREADS"] = "1"

pytest_plugins = ["browser", "data_files"]
