"""A stand-in for `google.colab` in a kernel that is not Colab's, so that a notebook from there runs: nothing is mounted."""

import importlib.abc
import importlib.machinery
import importlib.util
import sys
import types


class NeedsAHumanError(RuntimeError):
    """A cell waits for somebody to choose, to type or to allow something."""


def _nothing(*_args, **_named) -> None:
    """What has no effect outside of Colab."""


def _asks(*_args, **_named) -> None:
    raise NeedsAHumanError("nobody is here to choose a file")


CONTENT = {
    "google": {},
    "google.colab": {},
    "google.colab.drive": {"mount": _nothing, "flush_and_unmount": _nothing},
    "google.colab.files": {"upload": _asks, "download": _nothing},
    "google.colab.output": {"enable_custom_widget_manager": _nothing, "clear": _nothing},
    "google.colab.auth": {"authenticate_user": _asks},
    "google.colab.userdata": {"get": _asks},
}


class _StandIn(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Found last, so that a real package of that name comes first; not loaded before it is asked for."""

    def find_spec(self, fullname, path=None, target=None):
        if fullname in CONTENT:
            return importlib.machinery.ModuleSpec(fullname, self, is_package=fullname in ("google", "google.colab"))
        return None

    def exec_module(self, module: types.ModuleType) -> None:
        vars(module).update(CONTENT[module.__name__])


def pretend_colab() -> None:
    """From here on `from google.colab import drive` works, and mounts nothing."""
    sys.meta_path.append(_StandIn())
