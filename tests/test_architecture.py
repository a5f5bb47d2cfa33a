"""The shape of the program: layers, light imports, documentation, clean files."""

import ast
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "photometry"
MODULES = sorted(PACKAGE.rglob("*.py"))
HEAVY = ("h5py", "sqlite3", "matplotlib", "mpi4py")

COMMAND_LINE = ("cli.py", "cli_care.py", "cli_results.py", "cli_tessphot.py", "console.py")

# Who alone may import what, anywhere in the file.
OWNERS = {"mpi4py": ("mpi.py",), "matplotlib": ("plots/",), "h5py": ("io/",),
          "hdf5plugin": ("io/",), "sqlite3": ("io/",), "sqlite_utils": ("io/",),
          "argparse": COMMAND_LINE}

IN_FRESH_INTERPRETER = """
import importlib, json, sys, time
start = time.perf_counter()
for name in sys.argv[1:]:
    importlib.import_module(name)
print(json.dumps({"modules": sorted(sys.modules), "elapsed_s": time.perf_counter() - start}))
"""


def name_of(path):
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def science():
    return [name_of(path) for folder in ("core", "sky", "scene", "methods")
            for path in sorted((PACKAGE / folder).glob("*.py"))]


def test_layers_import_downwards_only():
    done = subprocess.run([Path(sys.executable).with_name("lint-imports"), "--no-cache"],
                          cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("names", [["photometry"], ["photometry.methods.aperture"], science()],
                         ids=["package", "method", "all-science"])
def test_importing_science_loads_nothing_that_opens_files_or_draws(names, record_property):
    done = subprocess.run([sys.executable, "-c", IN_FRESH_INTERPRETER, *names], cwd=ROOT,
                          capture_output=True, text=True, check=True)
    answer = json.loads(done.stdout)
    record_property("import_s", answer["elapsed_s"])
    assert [name for name in HEAVY if name in answer["modules"]] == []


def imported(path):
    """Return the top names of all modules that a file imports, at its head or later."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield (node.module or "").partition(".")[0]


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_module_imports_only_what_is_its_own_business(path):
    place = path.relative_to(PACKAGE).as_posix()
    strangers = [name for name in imported(path)
                 if name in OWNERS and not place.startswith(OWNERS[name])]
    assert strangers == []


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_the_environment_is_read_by_the_command_line_only(path):
    names = {node.attr for node in ast.walk(ast.parse(path.read_text()))
             if isinstance(node, ast.Attribute)}
    assert path.name in COMMAND_LINE or not names & {"environ", "getenv", "argv"}


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_everything_public_has_a_docstring(path):
    tree = ast.parse(path.read_text())
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    scopes = [tree, *(node for node in tree.body if isinstance(node, ast.ClassDef))]
    public = [node for scope in scopes for node in scope.body
              if isinstance(node, kinds) and not node.name.startswith("_")]
    assert ast.get_docstring(tree)
    assert [node.name for node in public if not ast.get_docstring(node)] == []


def closure(start):
    """Return the modules of ours that some import, at their heads or later, and these do."""
    paths, found = {name_of(path): path for path in MODULES}, set()
    left = [name for name in paths if re.fullmatch("|".join(start), name)]
    while left:
        name = left.pop()
        if name in found:
            continue
        found.add(name)
        for node in ast.walk(ast.parse(paths[name].read_text())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("photometry"):
                each = [f"{node.module}.{alias.name}" for alias in node.names]
                left += [module for module in (node.module, *each) if module in paths]
    return found


def test_simulated_scenes_share_no_prf_motion_or_noise_with_what_measures_them():
    scenes = closure([r"photometry\.scene\.(simulate|simulated_\w+|mission_prf|pointing|troubles|"
                      r"detector|variability)"])
    measuring = closure([r"photometry\.(methods|sky)\..*", r"photometry\.metrics",
                         r"photometry\.scene\.(motion|jitter|centroids|prf\w*|effective_psf|"
                         r"psf_stars|variation)", r"photometry\.stages\.(tessphot|prepare)"])
    assert {"photometry.scene.mission_prf", "photometry.scene.rendering"} <= scenes - measuring
    assert {"photometry.scene.motion", "photometry.core.noise"} <= measuring - scenes
    shared = scenes & measuring - {"photometry.scene"}
    assert {name for name in shared if not name.startswith("photometry.core.")} == {
        "photometry.scene.wcs", "photometry.scene.detector"}
    assert not shared & {"photometry.core.noise", "photometry.core.stats"}
    # Of the detector only facts are shared: where its straps are.
    known = [set(re.findall(r"\bdetector\.(\w+)\(", path.read_text())) for path in MODULES
             if name_of(path) in measuring]
    assert set().union(*known) == {"strap_columns"}


def tracked():
    """Return the text files that git knows."""
    listed = subprocess.run(["git", "-c", "safe.directory=*", "ls-files", "-z"], cwd=ROOT,
                            capture_output=True, check=False)
    if listed.returncode:
        pytest.skip("needs git and a checkout")
    for name in listed.stdout.decode().split("\0"):
        path = ROOT / name
        if path.is_file() and b"\0" not in (content := path.read_bytes()):
            yield name, content.decode()


@pytest.mark.parametrize("what, pattern", [
    ("a path of somebody's machine", r"(?<![\w.>])/(?:home|root|work|Users|tmp)/"),
    ("a task left in the code", r"#.*\b(?:TO" + r"DO|FIX" + r"ME|XX" + r"X)\b"),
    ("a quarrel of two versions", r"^(?:<{7}|>{7}) "),
    ("British spelling", r"(?i)\b(?:centre|catalogue|colour|behaviour|grey|artefact)s?\b"),
])
def test_tracked_files_are_free_of(what, pattern):
    found = [f"{name}:{number}: {line.strip()}" for name, text in tracked()
             for number, line in enumerate(text.splitlines(), 1)
             if re.search(pattern, line) and f'("{what}"' not in line]
    assert found == [], what


def test_numerical_libraries_keep_to_one_thread_unless_told():
    program = ("import os, sys, photometry.console; assert 'numpy' not in sys.modules; "
               "print(os.environ['OMP_NUM_THREADS'])")
    free = {name: value for name, value in os.environ.items() if "_NUM_THREADS" not in name}
    for chosen, expected in (({}, "1"), ({"OMP_NUM_THREADS": "3"}, "3")):
        done = subprocess.run([sys.executable, "-c", program], env=free | chosen,
                              capture_output=True, text=True, check=True)
        assert done.stdout.strip() == expected
