"""What the documentation shows must be there, and must work."""

import re
import shlex
import subprocess
import sys
import types
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from photometry import console
from photometry.core import outcome
from photometry.core.flags import (
    DEFAULT_CADENCE_FLAGS,
    CadenceFlag,
    LightCurveFlag,
    PixelFlag,
)
from photometry.core.outcome import Grow, Measurement
from photometry.io import layout
from photometry.io.lightcurve import read_lightcurve
from photometry.io.lightcurve_cards import COLUMNS, POSITION_COLUMNS
from photometry.methods import _given, _remarks, aperture, psf
from photometry.stages import method_choice
from tests.factories import make_stamp

ROOT = Path(__file__).resolve().parents[1]
README = ROOT / "README.md"
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("benchmarks/*.md")])
PROGRAMS = Path(sys.executable).parent
VARIABLES = {"TESSPHOT_INPUT", "TESSPHOT_OUTPUT"}


def blocks(page, language):
    """Return the fenced blocks of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL)


def prose(page):
    """Return a page without its fenced blocks."""
    return re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)


def shell_lines():
    """Return (page, line) of every command shown."""
    return [pytest.param(line, id=f"{page.name}: {line}") for page in PAGES
            for block in blocks(page, "sh") for line in block.splitlines() if line.strip()]


@cache
def help_of(*command):
    """Return what a command says about itself."""
    done = subprocess.run([*command, "--help"], cwd=ROOT, capture_output=True, text=True,
                          check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def check_options(arguments, text):
    options = [word.split("=")[0] for word in arguments if re.match(r"-{1,2}[a-zA-Z]", word)]
    missing = [option for option in options
               if not re.search(rf"(?<![\w-]){re.escape(option)}(?![\w-])", text)]
    assert not missing, f"--help does not know {missing}"


@pytest.mark.parametrize("line", shell_lines())
def test_every_command_shown_exists(line):
    words = shlex.split(line)
    if words[0] == "export":
        assert words[1].split("=")[0] in VARIABLES
        return
    if words[0] == "mpiexec":
        assert words[1] == "-n"
        words = words[3:]
    if words[0] == "make":
        assert re.search(rf"^{words[1]}:", (ROOT / "Makefile").read_text(), re.MULTILINE)
    elif words[0] == "source":
        assert words[1:] == [".venv/bin/activate"]
    elif words[0] == "pip":
        assert words[1:3] == ["install", "-r"]
        assert (ROOT / words[3]).is_file()
    elif words[0] in {"python", "tessphot"}:
        program = ([sys.executable, str(ROOT / words[1])] if words[0] == "python"
                   else [str(PROGRAMS / "tessphot"), words[1]])
        text = help_of(*program)
        assert re.search(rf"[Ee]xample.*{re.escape(words[1])}", text, re.DOTALL)
        check_options(words[2:], text)
    else:
        assert (PROGRAMS / words[0]).is_file(), f"{words[0]} is not among what is installed"


def anchors(page):
    """Return the anchors of a page's headings, as forges make them."""
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
            for heading in re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)]+)\)", page.read_text()):
        if target.startswith("https://"):      # what others write is not to be had here
            continue
        name, _, anchor = target.partition("#")
        linked = (page.parent / name).resolve() if name else page
        assert linked.exists(), target
        assert not anchor or anchor in anchors(linked), target


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_files_named_exist(page):
    named = set(re.findall(r"`((?:photometry|tests|benchmarks|docs)/[\w/.-]+)`", prose(page)))
    imagined = {name for name in named if "circle" in name}     # the example of the how-to
    assert [name for name in sorted(named - imagined) if not (ROOT / name).exists()] == []


def test_every_decision_is_listed():
    index = (ROOT / "docs/index.md").read_text()
    for page in sorted(ROOT.glob("docs/adr/*.md")):
        status = re.search(r"^Status: (\w+)$", page.read_text(), re.MULTILINE)[1]
        assert re.search(rf"\(adr/{page.name}\).*\| {status} \|", index), page.name


def documented():
    """Return the names in code type on the page about files."""
    return set(re.findall(r"`([^`]+)`", prose(ROOT / "docs/data-model.md")))


def test_every_flag_is_documented_with_its_bit():
    text = (ROOT / "docs/data-model.md").read_text()
    for kind in (CadenceFlag, PixelFlag, LightCurveFlag):
        table = text[text.index(f"\n| `{kind.__name__}`"):].lstrip().split("\n\n")[0]
        rows = re.findall(r"^\| `(\w+)` \| (\d+)( \*)? \|", table, re.MULTILINE)
        assert [(name, int(bit)) for name, bit, _ in rows] == [(flag.name, int(flag))
                                                               for flag in kind]
        if kind == CadenceFlag:
            assert sum(int(bit) for _, bit, mark in rows if mark) == DEFAULT_CADENCE_FLAGS


def test_every_column_of_a_light_curve_is_documented():
    columns = (*COLUMNS, *POSITION_COLUMNS)
    assert [column.name for column in columns if column.name not in documented()] == []


def test_every_remark_is_documented():
    codes = {outcome.BLEND, outcome.VARIABLE, _remarks.NO_ERRORS, _remarks.NO_LIGHT,
             _remarks.FULL, _remarks.LITTLE_LIGHT, aperture.MINIMUM, psf.HELD,
             method_choice.SWITCHED, _given.OTHERS_INSIDE, _given.NO_SHARE}
    assert codes - documented() == set()


@pytest.mark.parametrize("table", ["todolist", "diagnostics", "photometry_skipped"])
def test_every_column_of_the_todo_list_is_documented(table):
    statements = (ROOT / "photometry/io/todo.sql").read_text()
    (body,) = re.findall(rf"CREATE TABLE (?:IF NOT EXISTS )?{table} \((.*?)^\);", statements,
                         re.MULTILINE | re.DOTALL)
    columns = re.findall(r"^ +([a-z_]+) [A-Z]", body, re.MULTILINE)
    ours = {"worker_wait_time"}                        # kept for programs that expect it
    assert set(columns) - ours - documented() == set()


def test_the_mask_of_good_cadences_is_documented():
    assert f"none of {int(DEFAULT_CADENCE_FLAGS)} is set" in prose(ROOT / "docs/data-model.md")


def test_every_exit_code_is_documented():
    codes = console.DONE, console.SOME_FAILED, console.UNUSABLE, console.INTERRUPTED
    told = re.findall(r"^\| (\d+) \|", (ROOT / "README.md").read_text(), re.MULTILINE)
    assert list(map(int, told)) == list(codes)


@pytest.fixture
def circle():
    """Return the how-to's example as a module."""
    (source,) = blocks(ROOT / "docs/howto-new-method.md", "python")
    module = types.ModuleType("circle")
    module.__dict__["__name__"] = "circle"
    sys.modules["circle"] = module                     # dataclasses look their module up
    exec(compile(source, "howto-new-method.md", "exec"), module.__dict__)
    yield module
    del sys.modules["circle"]


def test_the_example_method_measures_a_star(circle):
    stamp, truth = make_stamp(tmag=9.0, cadences=200, common=3.0, seed=7)
    outcome = circle.measure(stamp)
    assert isinstance(outcome, Measurement)
    whole = outcome.lightcurve.flux / outcome.flux_fraction
    assert np.mean(whole) == pytest.approx(np.mean(truth.flux), rel=2e-3)
    pulls = (whole - truth.flux) * outcome.flux_fraction / outcome.lightcurve.flux_err
    assert 0.85 < np.std(pulls) < 1.15


def test_the_example_method_asks_for_a_larger_stamp(circle):
    stamp, _ = make_stamp(shape=(4, 9))
    assert circle.measure(stamp) == Grow(down=2, up=3)


def test_the_example_method_obeys_the_style():
    (source,) = blocks(ROOT / "docs/howto-new-method.md", "python")
    done = subprocess.run([PROGRAMS / "ruff", "check", "--no-cache", "--stdin-filename",
                           "photometry/methods/circle.py", "-"], input=source, cwd=ROOT,
                          capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


@pytest.mark.slow
def test_the_example_method_does_what_is_asked_of_every_method(tmp_path):
    (source,) = blocks(ROOT / "docs/howto-new-method.md", "python")
    (tmp_path / "circle.py").write_text(source)
    program = ("import sys, pytest\nfrom photometry import cli, methods\n"
               "methods.__path__.append(sys.argv[1])\n"
               "code = cli.tessphot(['--starid=182092046', '--method', 'circle', '-q', '--output',"
               " sys.argv[1], '--prf', 'average'], beside=__import__('pathlib').Path.cwd())\n"
               "sys.exit(code or pytest.main(['-q', '-p', 'no:cacheprovider', '-m', '', '-k',"
               " 'circle', 'tests/methods/test_contract.py', 'tests/methods/test_bad_input.py']))")
    done = subprocess.run([sys.executable, "-c", program, tmp_path], cwd=ROOT, check=False,
                          capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]
    assert int(re.search(r"(\d+) passed", done.stdout)[1]) > 50
    ((_, path),) = layout.find_lightcurves(tmp_path)
    header = read_lightcurve(path).header
    assert header["PHOTMET"] == "circle" and header["CIRCLE RADIUS"] == 3.5


@pytest.mark.slow
def test_the_first_star_can_be_measured_and_opened_as_the_readme_says(tmp_path):
    command = next(line.values[0] for line in shell_lines() if "--starid=" in line.values[0])
    words = shlex.split(command)
    subprocess.run([sys.executable, ROOT / words[1], *words[2:]], cwd=tmp_path, check=True)
    (source,) = blocks(README, "python")
    check = ("\nimport numpy as np"
             "\ndef is_finite(column):"
             "\n    return np.isfinite(np.ma.filled(np.ma.asarray(column.value), np.nan))"
             "\nassert is_finite(lightcurve.flux).all() and is_finite(lightcurve.flux_err).all()"
             "\nassert not is_finite(lk.read(path).flux).any()")
    subprocess.run([sys.executable, "-c", source + check], cwd=tmp_path, check=True)
