"""The project as a whole: versions agree everywhere, and style and spelling are checked."""

import json
import os
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
import task
import yaml
from packaging.requirements import Requirement
from packaging.version import Version

from course_lib import __version__, attention, checks, records, vit, viz
from course_lib.interpret import maps as interpret
from course_lib.recipes.runner import RECIPES

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def pins(name):
    """{package: its pinned versions} of a lock file; there may be one for each Python."""
    found = {}
    for line in (ROOT / "requirements" / name).read_text().splitlines():
        if line.startswith("#"):
            continue
        requirement = Requirement(line)
        (pin,) = requirement.specifier
        assert pin.operator == "==", line
        found.setdefault(requirement.name, set()).add(pin.version)
    return found


def test_the_two_lock_files_agree():
    book, dev = pins("book.txt"), pins("dev.txt")
    assert all(dev[name] == versions for name, versions in book.items())


def test_the_site_needs_no_torch():
    assert not {"torch", "torchvision", "jupyterlab", "matplotlib"} & set(pins("book.txt"))


def test_the_lock_file_is_within_the_bounds():
    locked = pins("dev.txt")
    groups = [r for group in PROJECT["dependency-groups"].values() for r in group if isinstance(r, str)]
    for text in PROJECT["project"]["dependencies"] + groups:
        bound = Requirement(text)
        for version in locked[bound.name]:
            assert bound.specifier.contains(version), f"{text}, but {version} is locked"


def test_colab_keeps_its_packages():
    """Our bounds must not make pip replace any of what Colab has installed."""
    colab = pins("colab.txt")
    for bound in map(Requirement, PROJECT["project"]["dependencies"]):
        (version,) = colab[bound.name]
        assert bound.specifier.contains(version), bound
        assert all(part.operator == ">=" for part in bound.specifier), bound


def test_the_lowest_versions_are_the_bounds():
    """`make lowest` tries what pyproject.toml promises: every dependency at its bound."""
    lowest, groups = pins("lowest.txt"), PROJECT["dependency-groups"]
    for bound in map(Requirement, PROJECT["project"]["dependencies"] + groups["notebooks"] + groups["test"]):
        (part,), (version,) = bound.specifier, lowest[bound.name]
        assert part.operator == ">=" and Version(part.version) == Version(version), bound


def test_environment_yml_is_the_lock_file():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    python, pip, packages = environment["dependencies"]
    assert packages == {"pip": ["-r requirements/dev.txt", "-e ."]} and pip == "pip"
    assert Requirement(python.replace("=", "==", 1)).name == "python"
    version = python.split("=")[1]
    assert Requirement(f"python{PROJECT['project']['requires-python']}").specifier.contains(version)


def test_versions_agree():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    latest = re.search(r"^## (.*)$", (ROOT / "CHANGELOG.md").read_text(), re.M)
    assert __version__ == citation["version"] == latest[1] == str(Version(__version__))
    build = [sys.executable, "-m", "hatchling", "version"]  # what a wheel would be called
    assert subprocess.run(build, cwd=ROOT, capture_output=True, text=True).stdout.strip() == __version__


def test_addresses_follow_the_one_in_config():
    repository = yaml.safe_load((ROOT / "_config.yml").read_text())["repository"]
    owner, name = repository["url"].removeprefix("https://github.com/").split("/")
    assert PROJECT["project"]["urls"] == {
        "Documentation": f"https://{owner}.github.io/{name}/",
        "Repository": repository["url"],
        "Issues": f"{repository['url']}/issues",
        "Changelog": f"{repository['url']}/blob/{repository['branch']}/CHANGELOG.md",
    }


@pytest.mark.parametrize(
    "command",
    [
        pytest.param(c, marks=pytest.mark.slow if c == "basedpyright" else (), id=c.split(" --")[0])
        for c in task.TASKS["lint"][2]
    ],
)
@pytest.mark.slow
def test_lint(command, monkeypatch):
    monkeypatch.setattr(task, "PROGRAMS", Path(sys.executable).parent)
    assert task.execute(command) == 0


@pytest.mark.parametrize("module", [attention, interpret, records, vit, viz], ids=lambda m: m.__name__)
def test_public_names_are_documented(module):
    for name, thing in vars(module).items():
        if getattr(thing, "__module__", None) == module.__name__ and not name.startswith("_"):
            assert thing.__doc__, name
    if module in (attention, interpret, vit):
        assert "hapter" in module.__doc__


def test_blocks_name_their_source_and_chapter():
    for thing in (
        attention.attention_weights,
        attention.scaled_dot_product_attention,
        attention.split_heads,
        attention.MultiHeadSelfAttention,
        vit.MLP,
        vit.EncoderBlock,
    ):
        assert "Source: " in thing.__doc__ and "Chapter 0" in thing.__doc__, thing
        assert re.search(r"\((\.\.\.|B), ", thing.__doc__), thing  # shapes


def test_importing_the_package_is_cheap():
    """Neither the package nor its widgets bring in torch before it is needed."""
    code = "import sys, course_lib, course_lib.widgets; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_a_missing_record_names_those_there_are():
    with pytest.raises(ValueError, match="no record 'nothing'; there are attention_cost"):
        records.load_record("nothing")


def test_pictures_beside_the_records():
    found = records.load_pictures("mnist_test_150")
    assert found["images"].shape == (150, 28, 28) and found["labels"].bincount().tolist()[:3] == [12, 19, 12]
    assert str(found["images"].dtype) == "torch.uint8"
    with pytest.raises(ValueError, match="no nothing.safetensors among the records"):
        records.load_pictures("nothing")
    table = (ROOT / "data/README.md").read_text()
    for file in (ROOT / "data/results").glob("*.safetensors"):
        assert f"`{file.name}`" in table


def test_every_record_is_described_and_complete():
    table = (ROOT / "data/README.md").read_text()
    for file in (ROOT / "data/results").glob("*.json"):
        assert f"`{file.name}`" in table or file.stem in RECIPES
        assert {"what", "device", "versions"} <= set(records.load_record(file.stem)), file.name


def test_no_large_file_is_tracked():
    names = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True).stdout.split("\0")
    sizes = {name: (ROOT / name).stat().st_size for name in names if name and (ROOT / name).is_file()}
    assert max(sizes.values(), default=0) < 2_000_000


@pytest.mark.slow
def test_the_installed_package_is_complete(tmp_path):
    """What Colab gets: built as a wheel and unpacked elsewhere, it finds its records and its widgets' scripts."""
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "site")
    code = (
        "import course_lib; from course_lib.records import load_record; from course_lib.widgets import AttentionPlayground;"
        "print(course_lib.__file__, load_record('attention_cost')['dim'], len(AttentionPlayground()._esm) > 1000)"
    )
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "site")}
    result = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert result.stdout.split() == [str(tmp_path / "site/course_lib/__init__.py"), "64", "True"], result.stderr


def test_setup_cells_install_this_package():
    paths = sorted((ROOT / "book").glob("*.py"))
    assert paths
    for path in paths:
        path = path.with_suffix(".ipynb")
        code = "".join(line for cell in json.loads(path.read_text())["cells"] for line in cell["source"])
        (line,) = re.findall(r'%pip install -q "(.*)"', code)
        requirement = Requirement(line)
        assert requirement.name == PROJECT["project"]["name"] and requirement.url.startswith("git+https://")


def test_the_speed_table_is_the_record():
    """The README's milliseconds, cell by cell, are those of the fastest rounds that were recorded."""
    table = [[cell.strip() for cell in line.split("|")[1:-1]] for line in (ROOT / "README.md").read_text().splitlines()]
    (start,) = [i for i, row in enumerate(table) if "vit-pytorch" in row]
    names = table[start][1:]
    for row, run in zip(table[start + 2 : start + 6], records.load_record("vit_speed")["results"], strict=True):
        assert row[0] == f"{run['step'].replace('_', ' ')}, {run['dtype']}"
        assert row[1:] == [f"{run['times'][name]['fastest_ms']:.0f}" for name in names]


def test_the_home_page_counts_the_exercises():
    words = {50: "fifty", 51: "fifty-one", 52: "fifty-two", 53: "fifty-three"}
    assert f"{words[len(checks.NAMES)]} exercises" in (ROOT / "book/index.md").read_text()
