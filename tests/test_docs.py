"""The documentation says what is: pages follow from the code, links and commands exist, the README's examples run."""

import inspect
import math
import re
import runpy
import sys
import tomllib
from pathlib import Path

import click
import numpy as np
import pytest
import torch
from PIL import Image
from record_factory import make_record
from ruamel.yaml import YAML
from toys import conv_classifier, random_images

from harness import hookspecs
from harness.catalogue import Catalogue
from harness.cli import COMMANDS, cli
from harness.data import describe_data
from harness.engine.attacking import Corrector
from harness.errors import HarnessError
from harness.manager import Manager
from harness.records import write_record
from harness.resolve import resolve
from harness.spec import load_specs
from harness.store import Store

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]
GENERATED = runpy.run_path(str(ROOT / "docs" / "generate.py"), run_name="generate")
MARKED = "# Ours\n\n<!-- leaderboard: digits-demo -->\nwas here\n<!-- /leaderboard -->\n\nMore.\n"


def code_block(first_line):
    """Return the README's code block that begins with a comment."""
    blocks = re.findall(r"^```\w*\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
    (found,) = [block for block in blocks if block.startswith(f"# {first_line}\n")]
    return found


def snippets(text):
    """Return every inline code and every line of a shell block, comments left out."""
    blocks = re.findall(r"^```sh\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    lines = [re.sub(r"\s+#.*", "", line) for block in blocks for line in block.splitlines()]
    prose = re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)
    return [*re.findall(r"`([^`\n]+)`", prose), *lines]


# -- pages made from the code ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", GENERATED["PAGES"])
def test_generated_page_is_up_to_date(name, monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")  # nor does it depend on the terminal
    written = (ROOT / "docs" / name).read_text(encoding="utf-8")
    assert written == GENERATED["PAGES"][name](), 'run "make docs"'


def test_every_hook_is_documented_with_its_parameters():
    page = (ROOT / "docs" / "hooks.md").read_text(encoding="utf-8")
    hooks = [hook for name, hook in vars(hookspecs).items() if name.startswith("harness_")]
    assert len(hooks) == page.count("\n## ")
    for hook in hooks:
        given = re.search(rf"^def {hook.__name__}\((.*)\) -> ", page, re.MULTILINE)[1]
        assert re.findall(r"(\w+):", given) == list(inspect.signature(hook).parameters)


def test_defaults_in_the_page_of_keys_are_what_a_spec_would_have_to_say():
    page = (ROOT / "docs" / "spec.md").read_text(encoding="utf-8")
    sections = dict(re.findall(r"^## (.+?)\n(.*?)(?=^## |\Z)", page, re.MULTILINE | re.DOTALL))
    assert list(sections) == [*GENERATED["SECTIONS"], "`variants`"]
    for title, model in GENERATED["SECTIONS"].items():
        rows = re.findall(r"^\| `(\w+)` \| (.+?) \|", sections[title], re.MULTILINE)
        assert [name for name, _ in rows] == list(model.model_fields)
        for name, default in rows:
            field = model.model_fields[name]
            assert (default == "required") == field.is_required()
            if default.startswith("`"):
                assert YAML(typ="safe").load(default.strip("`")) == field.default


def test_keys_with_a_choice_list_it():
    page = (ROOT / "docs" / "spec.md").read_text(encoding="utf-8")
    assert "The optimizer. One of sgd, adam, adamw. |" in page
    assert "One of default, all, none, a list of some of default, none, recalibrate-bn," in page
    assert "imagenet, dataset, or mean and std per channel. |" in page  # a mapping too: no closed choice


# -- the README's leaderboard ----------------------------------------------------------------------------------------------


@pytest.fixture
def results(tmp_path):
    """Records of one corrector and of fine-tuning, two seeds each."""
    for seed, ours, theirs in ((1, 0.60, 0.51), (2, 0.62, 0.52)):
        write_record(tmp_path / "records", make_record(test=ours, corrector="vbi", corrected=3, seed=seed))
        write_record(tmp_path / "records", make_record(test=theirs, control="finetune-target", seed=seed, source=None))
    return tmp_path


def test_readme_gets_the_tables_of_the_records_between_its_markers_alone(results):
    filled = GENERATED["with_leaderboard"](MARKED, results)
    before, block, after = re.split("(?:<!-- leaderboard: digits-demo -->|<!-- /leaderboard -->)\n", filled)
    assert (before, after) == ("# Ours\n\n", "\nMore.\n")
    assert "was here" not in block
    # 60 and 62; differences 9 and 10: std 1/sqrt(2), margin t(0.975; 1) / 2 = 12.7062 / 2
    assert "**61.00 ± 1.41**" in block
    assert "**+9.50 [+3.15, +15.85]**" in block
    assert [line for line in block.splitlines() if line.startswith("- ")] == [
        "- correction helps: shown in 0 of 1 row, a control is missing in 1",
        "- alignment helps: shown in 0 of 1 row, a control is missing in 1",
        "- the method helps: shown in 1 of 1 row (1 after Holm)",
        (
            "- power: with 2 seeds a difference of 12.1 points would be seen 4 times in 5 (t-test); by Wilcoxon "
            r"2 seeds cannot reach p \< 0.05, 6 can"
        ),
    ]
    assert GENERATED["with_leaderboard"](filled, results) == filled


def test_readme_stays_as_it_is_where_there_are_no_results(tmp_path):
    assert GENERATED["with_leaderboard"](MARKED, tmp_path / "none") == MARKED


def test_readme_without_markers_is_an_error_that_shows_them(results):
    with pytest.raises(
        ValueError, match='expected "<!-- leaderboard: digits-demo -->" and "<!-- /leaderboard -->" once'
    ):
        GENERATED["with_leaderboard"]("# Ours\n", results)


def test_readme_has_the_markers():
    assert re.search(r"<!-- leaderboard: digits-demo -->\n.*?<!-- /leaderboard -->\n", README, re.DOTALL)


# -- links, commands, targets ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_relative_link_exists(page):
    links = re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8"))
    relative = [link.partition("#")[0] for link in links if "://" not in link]
    assert [link for link in relative if link and not (page.parent / link).exists()] == []
    assert relative or page.name != "README.md"


def commands_named():
    """Yield the README's commands with what is said of each: its own words, and for a table's row the options there."""
    for row in re.findall(r"^\| (`harness .*) \|$", README, re.MULTILINE):
        named, _, does = row.partition(" | ")
        options = [code.replace(" ", "=") for code in re.findall(r"`(--[^`]+)`", does)]
        for words in re.findall(r"`([^`]+)`", named):
            yield f"{words.removeprefix('harness ')} {' '.join(options)}".strip()
    for snippet in snippets(README):
        if found := re.match(r"(?:\.venv/bin/)?harness ([^>|]+)", snippet):
            yield found[1].strip()


def fault_of(words):
    """Return what is wrong with a command line as it stands in a text, None where nothing is."""
    command, context = cli, click.Context(cli)
    positional = []
    given = iter(words.split())
    for word in given:
        if word.startswith("-"):
            name, _, value = word.partition("=")
            known = {option: parameter for parameter in command.params for option in parameter.opts}
            if name not in {*known, "--help"}:
                return f'"{name}" is no option of {command.name}'
            value = value or ("" if name == "--help" or known[name].is_flag else next(given, ""))
            if value and value not in getattr(known[name].type, "choices", [value]):
                return f'"{name}" takes no "{value}"'
        elif isinstance(command, click.Group):
            command = command.get_command(context, word)
            if command is None:
                return f'no command "{word}"'
        else:
            positional.append(word)
    takes = [parameter for parameter in command.params if isinstance(parameter, click.Argument)]
    needs = sum(parameter.required for parameter in takes)
    most = math.inf if any(parameter.nargs == -1 for parameter in takes) else len(takes)
    return None if needs <= len(positional) <= most else f"takes {len(takes)} arguments, has {len(positional)}"


@pytest.mark.parametrize("words", sorted(set(commands_named())))
def test_every_command_of_the_readme_exists_with_its_options_and_arguments(words):
    assert fault_of(words) is None


@pytest.mark.parametrize(
    ("words", "fault"),
    [
        ("runn SPEC", 'no command "runn"'),
        ("run SPEC --dry", '"--dry" is no option of run'),
        ("leaderboard DIR --format=tabel", '"--format" takes no "tabel"'),
        ("bench", "takes 1 arguments, has 0"),
        ("report A B", "takes 1 arguments, has 2"),
        ("plugins list --norm l3", '"--norm" takes no "l3"'),
        ("plugins shew NAME", 'no command "shew"'),
    ],
)
def test_a_command_that_does_not_exist_would_be_found(words, fault):
    assert fault_of(words) == fault


def test_the_readme_names_every_command():
    assert {words.split()[0] for words in commands_named()} == set(COMMANDS)


@pytest.mark.parametrize("text", [README, CONTRIBUTING], ids=["README", "CONTRIBUTING"])
def test_every_make_target_named_exists(text):
    named = {found[1] for snippet in snippets(text) if (found := re.fullmatch(r"make (\w+)", snippet.strip()))}
    targets = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    assert named
    assert named - targets == set()


def test_every_path_of_the_repository_that_contributing_names_exists():
    named = [snippet for snippet in snippets(CONTRIBUTING) if re.fullmatch(r"[\w./-]+(/|\.py|\.md|\.toml)", snippet)]
    assert len(named) > 5
    assert [name for name in named if "my_attack" not in name and not (ROOT / name).exists()] == []


# -- the README's examples -------------------------------------------------------------------------------------------------


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """The README's plugin, written to files and laid out as pip installs it."""
    for name in ("my_package/__init__.py", "my_package/pgd.py"):
        file = tmp_path / name
        file.parent.mkdir(exist_ok=True)
        file.write_text(code_block(name), encoding="utf-8")
    about = tmp_path / "my_package-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: my-package\nVersion: 1.0\n", encoding="utf-8")
    groups = tomllib.loads(code_block("pyproject.toml"))["project"]["entry-points"]
    lines = []
    for group, points in groups.items():
        lines += [f"[{group}]", *(f"{name} = {target}" for name, target in points.items())]
    (about / "entry_points.txt").write_text("\n".join(lines), encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    yield Manager.discover()
    for name in [name for name in sys.modules if name.partition(".")[0] == "my_package"]:
        del sys.modules[name]


def test_the_readmes_plugin_is_discovered_and_corrects(installed):
    assert installed.problems == []
    plugin = installed.find("attack", "linf-pgd")
    assert (plugin.package, plugin.distribution) == ("mine", "my-package")
    kind = installed.load(plugin)
    network = conv_classifier(classes=3)
    images = random_images(24)
    with torch.no_grad():
        labels = network(images).topk(2).indices[:, 1]  # what it takes for second best: all are wrong
    attack = kind(kind.options_type())
    corrector = Corrector(attack, network, name="linf-pgd", objective="toward-true", select="first-hit", seed=1)
    made = corrector.correct(images, labels, torch.arange(len(images)))
    with torch.no_grad():
        right = network(made.images).argmax(1) == labels
    assert right.any()
    assert torch.equal(made.corrected, right)
    assert float((made.images - images).abs().max()) <= 8 / 255 + 1e-6


def test_the_readmes_plugin_is_a_corrector_in_a_spec(installed, tmp_path):
    spec = tmp_path / "spec.yaml"
    entry = re.search(r"`(\{attack: linf-pgd[^`]*\})` is a corrector", README)[1]
    spec.write_text(
        f"name: mine\ndataset: digits\nmodels: [small-cnn]\ncorrectors: [{entry}]\nadapters: [deep-coral]\n",
        encoding="utf-8",
    )
    (corrector,) = resolve(load_specs(spec)[0], installed, Catalogue(installed.catalogues())).correctors
    assert (corrector.attack.plugin.name, corrector.objective) == ("linf-pgd", "toward-true")
    assert corrector.attack.options.eps == 8 / 255


@pytest.fixture
def mine(tmp_path):
    """The README's spec, with the files that it names: images of several sizes, weights that nobody reads here."""
    random = np.random.default_rng(0)
    for number, part in enumerate(["train/owl", "train/wren", "test/owl", "test/wren"]):
        folder = tmp_path / "data" / "birds" / part
        folder.mkdir(parents=True)
        for image in range(2):
            pixels = random.integers(0, 256, (40 + image, 50 + number, 3)).astype(np.uint8)
            Image.fromarray(pixels).save(folder / f"{image}.jpg")
    for name in ("resnet20.th", "net.pt"):
        (tmp_path / name).write_bytes(b"")
    spec = tmp_path / "mine.yaml"
    spec.write_text(code_block("mine.yaml"), encoding="utf-8")
    return spec


def resolved(spec):
    manager = Manager.discover()
    return resolve(load_specs(spec)[0], manager, Catalogue(manager.catalogues()))


def test_the_readmes_spec_is_valid_and_its_images_are_read(mine, tmp_path):
    experiment = resolved(mine)
    assert [model.name for model in experiment.models] == ["r20", "make_net"]
    assert [corrector.name for corrector in experiment.correctors] == ["none", "vbi", "ddn", "gentle-bih"]
    assert experiment.correctors[3].attack.options.eps == 4 / 255
    assert [adapter.name for adapter in experiment.adapters] == ["deep-coral", "strong-coral"]
    assert experiment.adapters[1].adapter.options.weight == 1 / 25
    data = describe_data(experiment.dataset, Manager.discover(), Store(tmp_path / "store"))
    assert (data.classes, data.height, data.width) == (("owl", "wren"), 32, 32)


def test_the_readmes_error_is_what_a_wrong_corrector_says(mine, monkeypatch):
    said = re.search(r"^harness: (mine\.yaml:.*)$", README, re.MULTILINE)[1]
    mine.write_text(mine.read_text(encoding="utf-8").replace("vbi", "vbj"), encoding="utf-8")
    monkeypatch.chdir(mine.parent)
    with pytest.raises(HarnessError) as error:
        resolved(Path("mine.yaml"))
    assert str(error.value) == said


def test_the_example_of_variants_is_what_the_page_says_of_it(tmp_path):
    page = (ROOT / "docs" / "spec.md").read_text(encoding="utf-8")
    example = re.search(r"## `variants`.*?```yaml\n(.*?)```", page, re.DOTALL)[1]
    path = tmp_path / "spec.yaml"
    path.write_text(f"name: example\ncorrectors: [none]\n{example}")
    first, second, third = (loaded.experiment for loaded in load_specs(path))
    assert [model.card for model in first.models] == [model.card for model in third.models] == ["resnet18", "resnet34"]
    assert [model.card for model in second.models] == ["efficientnet_v2_m"]
    assert (second.dataset.card, third.dataset.card) == ("cifar10", "cifar100")
    assert (second.baseline.epochs, second.baseline.batch_size, third.baseline.batch_size) == (100, 64, 128)
    assert third.adapters[0].inline_options == {"weight": "1/25"}
