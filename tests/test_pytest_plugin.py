"""The pytest plugin: cheap to import, classifiers to attack, and a benchmark that a no-op cannot win."""

from __future__ import annotations

import json
import subprocess
import sys
from types import SimpleNamespace

import pytest
import sklearn.datasets
import torch
from toys import pixel_classifier, threshold_classifier

from harness.api import Attack, Capabilities, Library, NoOptions, Options
from harness.engine.networks import PixelClassifier
from harness.errors import ContractError, PluginError, UsageError
from harness.hookspecs import hookimpl
from harness.manager import Manager
from harness.testing.benchmarking import AttackBenchmark, NoSuccessError, _select, synchronize
from harness.timings import read_timings

# A pytest run inside a test forgets what it imported: torch and scikit-learn, which cannot be imported twice, are imported above.
pytest_plugins = ["pytester"]

PIXELS = 4
EVENTS: list[str] = []


class BrightenOptions(Options):
    by: float = 0.2


class Brighten(Attack[BrightenOptions]):
    """Add one number to every pixel, and ask once."""

    capabilities = Capabilities(norm="l2", targeted=True, untargeted=True, gradients=False)

    def run(self, classifier, images, criterion):
        EVENTS.append("attack")
        perturbed = (images + self.options.by).clamp(0, 1)
        classifier(perturbed)
        return perturbed


class Nothing(Attack[NoOptions]):
    """Do nothing, at once."""

    capabilities = Capabilities(norm="linf", targeted=False, untargeted=True, gradients=False)

    def run(self, classifier, images, criterion):
        return images.clone()


class Tired(Attack[NoOptions]):
    """Brighten the first time, do nothing from then on."""

    capabilities = Capabilities(norm="linf", targeted=True, untargeted=True, gradients=False)
    runs = 0

    def run(self, classifier, images, criterion):
        self.runs += 1
        return images + 0.2 if self.runs == 1 else images.clone()


class Overshooting(Attack[NoOptions]):
    """Leave the pixels' bounds."""

    capabilities = Capabilities(norm="linf", targeted=True, untargeted=False, gradients=False)

    def run(self, classifier, images, criterion):
        return images + 2


class Absent(Nothing):
    """Need a library that is not installed."""

    library = Library(distribution="no-such-library", install="pip install no-such-library")


def toy_manager():
    """Return a manager of the attacks above, as distribution "toys" 1.0."""
    attacks = {
        kind.__name__.lower(): f"{__name__}:{kind.__name__}"
        for kind in (Brighten, Nothing, Tired, Overshooting, Absent)
    }
    manager = Manager()
    hooks = SimpleNamespace(harness_attacks=hookimpl(lambda: attacks))
    hooks.harness_attacks.__name__ = "harness_attacks"
    manager.register(hooks, package="toys", distribution="toys", version="1.0")
    return manager


class Witness:
    """Stands in for pytest-benchmark's fixture: calls what it is given, and remembers when."""

    def __init__(self):
        self.group = None
        self.extra_info = {}

    def pedantic(self, target, *, setup, rounds, warmup_rounds):
        for _ in range(warmup_rounds + rounds):
            setup()
            EVENTS.append("start")
            result = target()
            EVENTS.append("stop")
        return result


def dark(*means):
    """Return gray images (N, 1, 2, 2) of these means; the threshold classifier labels them 0 up to one half."""
    return torch.tensor(means).reshape(-1, 1, 1, 1).expand(-1, 1, 2, 2).clone()


BRIGHT = torch.ones(2, dtype=torch.int64)


@pytest.fixture
def timed():
    """Time a toy attack with a witness: returns it, the attacks without a timing, and the call."""
    witness, untimed = Witness(), []
    bench = AttackBenchmark(witness, toy_manager(), untimed)

    def call(attack, *means, **how):
        how = {"labels": torch.ones(len(means), dtype=torch.int64), "classifier": threshold_classifier(), **how}
        return bench(attack, images=dark(*means), **how)

    EVENTS.clear()
    return SimpleNamespace(witness=witness, untimed=untimed, call=call)


# -- the plugin ------------------------------------------------------------------------------------------------------------


def test_loading_the_plugin_imports_neither_torch_nor_more_of_ours():
    """What is imported before coverage starts would count as never run."""
    code = (
        "import sys, harness.testing.pytest_plugin\n"
        "ours = sorted(name for name in sys.modules if name.partition('.')[0].startswith('harness'))\n"
        "print(','.join(ours), 'torch' in sys.modules, 'numpy' in sys.modules, 'pydantic' in sys.modules)"
    )
    ran = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.split() == ["harness,harness.testing,harness.testing.pytest_plugin", "False", "False", "False"]


def test_a_run_that_uses_no_fixture_warns_of_nothing_and_needs_no_benchmark_plugin(pytester):
    pytester.makepyfile(
        "import sys\ndef test_light(): assert 'torch' not in sys.modules and 'harness.api' not in sys.modules"
    )
    ran = pytester.runpytest_subprocess("-W", "error", "-p", "no:benchmark", "-p", "no:timeout")
    ran.assert_outcomes(passed=1)
    assert "warning" not in ran.stdout.str().lower() + ran.stderr.str().lower()


def test_fixtures_are_listed_with_what_they_are(pytester):
    listed = pytester.runpytest("--fixtures", "-q").stdout.str()
    for name in (
        "toy_classifier",
        "wrong_toys",
        "digits_classifier",
        "wrong_digits",
        "attack_benchmark",
        "harness_manager",
    ):
        assert f"{name}" in listed
        assert f"{name} -- no docstring" not in listed
    assert "_digits_case" not in listed


# -- classifiers -----------------------------------------------------------------------------------------------------------


def is_frozen(classifier):
    modules, parameters = list(classifier.modules()), list(classifier.parameters())
    return not any(module.training for module in modules) and not any(one.requires_grad for one in parameters)


def test_toys_are_labelled_other_than_their_labels_say(toy_classifier, wrong_toys):
    images, labels = wrong_toys
    assert isinstance(toy_classifier, PixelClassifier)
    assert is_frozen(toy_classifier)
    assert len(set(toy_classifier(images).argmax(1).tolist())) > 1
    assert not (toy_classifier(images).argmax(1) == labels).any()


def test_digits_classifier_is_right_on_held_out_digits(digits_classifier, wrong_digits, request):
    """Counted anew on scikit-learn's own pixels, without our image sets."""
    digits = sklearn.datasets.load_digits()
    pixels = torch.tensor(digits.images, dtype=torch.float32).unsqueeze(1) / 16
    predicted = digits_classifier(pixels).argmax(1)
    accuracy = float((predicted == torch.tensor(digits.target)).float().mean())
    assert is_frozen(digits_classifier)
    assert 0.93 < request.getfixturevalue("_digits_case").held_out_accuracy < 0.99
    assert accuracy >= 0.93
    wrong = len(wrong_digits[0])
    assert accuracy == pytest.approx(1 - wrong / 1797, abs=0.003)  # 16ths are not exact in 255ths


def test_wrong_digits_are_wrong_and_examples_are_right(digits_classifier, wrong_digits, digits_examples):
    images, labels = wrong_digits
    assert images.shape[1:] == (1, 8, 8)
    assert len(images) >= 20
    assert (images.min(), images.max()) == (0, 1)
    assert not (digits_classifier(images).argmax(1) == labels).any()
    right, true = digits_examples.right.gather(digits_examples.right.rows)
    assert (digits_classifier(right).argmax(1) == true).all()
    assert set(true.tolist()) == set(range(10))


def test_training_the_digits_classifier_leaves_threads_and_generators_alone():
    from harness.testing.digits import train_digits

    threads = torch.get_num_threads()
    torch.manual_seed(7)
    first = train_digits()
    drawn = torch.rand(3)
    torch.manual_seed(7)
    assert torch.equal(drawn, torch.rand(3))
    assert torch.get_num_threads() == threads
    again = train_digits()
    assert torch.equal(first.right, again.right)
    for left, right in zip(first.classifier.parameters(), again.classifier.parameters(), strict=True):
        assert torch.equal(left, right)


# -- timing ----------------------------------------------------------------------------------------------------------------


def test_what_is_saved_of_a_timed_attack_is_what_it_did(timed):
    """Two of three images cross one half; each moves by 0.2 in all of its four pixels, so by 0.4 in L2."""
    result = timed.call("brighten", 0.4, 0.35, 0.2)
    assert result.met.tolist() == [True, True, False]
    assert timed.witness.group == "l2, batch 3"
    info = timed.witness.extra_info
    assert info["success"] == pytest.approx(2 / 3)
    assert info["median_norm"] == pytest.approx(0.4)
    assert (info["forward"], info["backward"]) == (1.0, 0.0)
    assert (info["attack"], info["distribution"], info["version"], info["library"]) == (
        "toys/brighten",
        "toys",
        "1.0",
        None,
    )
    assert (info["objective"], info["purpose"], info["options"], info["cut"]) == ("toward-true", "correct", {}, False)
    assert (info["device"], info["threads"]) == ("cpu", torch.get_num_threads())
    assert timed.untimed == []
    json.dumps(info)


def test_options_that_are_given_are_saved_and_defaults_are_not(timed):
    timed.call("brighten", 0.4, options={"by": 0.125})
    assert timed.witness.extra_info["options"] == {"by": 0.125}
    assert timed.witness.extra_info["median_norm"] == pytest.approx(0.25)


def test_an_attack_that_cannot_approach_labels_flees_the_predicted(timed):
    with pytest.raises(NoSuccessError):
        timed.call("nothing", 0.4)
    timed.call("brighten", 0.4, objective="away-from-predicted")
    assert timed.witness.extra_info["objective"] == "away-from-predicted"


def test_each_round_starts_and_ends_with_the_device_synchronized(timed, monkeypatch):
    monkeypatch.setattr("harness.testing.benchmarking.synchronize", lambda device: EVENTS.append("synchronize"))
    timed.call("brighten", 0.4, rounds=3)
    # one more round than are timed
    assert EVENTS == 4 * ["synchronize", "start", "attack", "synchronize", "stop"]


def test_a_gpu_is_waited_for_and_a_cpu_is_not(monkeypatch):
    waited = []
    monkeypatch.setattr(torch.cuda, "synchronize", waited.append)
    synchronize(torch.device("cpu"))
    assert waited == []
    synchronize(torch.device("cuda:1"))
    assert waited == [torch.device("cuda:1")]


def test_an_attack_that_does_nothing_is_not_timed(timed):
    with pytest.raises(NoSuccessError) as refused:
        timed.call("nothing", 0.4, 0.2)
    assert str(refused.value) == (
        'attack "nothing" corrects 0 of 2 images (0%), expected more than 0%: an attack that does nothing cannot be timed; '
        "give it other options or more passes"
    )
    assert timed.witness.extra_info == {}
    assert [(one.attack, one.reason) for one in timed.untimed] == [
        ("toys/nothing", "no success, corrects 0 of 2 images (0%)")
    ]


def test_every_timed_round_must_succeed(timed):
    with pytest.raises(NoSuccessError):
        timed.call("tired", 0.4)
    assert timed.witness.extra_info == {}


def test_the_share_asked_for_must_be_exceeded(timed):
    timed.call("brighten", 0.4, 0.2, min_success=0.49)
    with pytest.raises(NoSuccessError, match=r"corrects 1 of 2 images \(50%\), expected more than 50%"):
        timed.call("brighten", 0.4, 0.2, min_success=0.5)
    with pytest.raises(NoSuccessError):
        timed.call("nothing", 0.4, min_success=-1.0)


def test_images_that_are_right_already_are_refused(timed):
    """Doing nothing would correct them."""
    with pytest.raises(UsageError) as refused:
        timed.call("nothing", 0.4, 0.9)
    assert str(refused.value) == (
        "1 of 2 images are labelled right before the attack, so that doing nothing would count; "
        'expected only images that are labelled wrong with purpose="correct"'
    )


def test_attacking_starts_from_right_images_and_fools_the_classifier(timed):
    """0.4 is labelled 0, truly; brightened it is labelled 1."""
    truly_dark = torch.zeros(2, dtype=torch.int64)
    result = timed.call("brighten", 0.4, 0.2, labels=truly_dark, purpose="attack")
    assert result.met.tolist() == [True, False]
    assert timed.witness.extra_info["forward"] == 1.0
    assert timed.witness.extra_info["objective"] is None
    with pytest.raises(UsageError, match="2 of 2 images are labelled wrong before the attack"):
        timed.call("brighten", 0.4, 0.2, labels=BRIGHT, purpose="attack")


def test_the_median_norm_is_that_of_the_successes(timed):
    """0.9 is moved by 0.1 alone, where its pixels end, and stays bright; 0.4 by 0.2 in four pixels."""
    result = timed.call("brighten", 0.4, 0.9, labels=torch.tensor([0, 1]), purpose="attack")
    assert result.met.tolist() == [True, False]
    assert timed.witness.extra_info["median_norm"] == pytest.approx(0.4)


@pytest.mark.parametrize(
    ("attack", "how", "said"),
    [
        ("overshooting", {"objective": "away-from-true"}, 'cannot flee labels, as objective="away-from-true" asks'),
        ("nothing", {"objective": "toward-true"}, 'cannot approach labels, as objective="toward-true" asks'),
        ("overshooting", {"purpose": "attack"}, 'attack "overshooting" cannot flee labels; expected purpose="correct"'),
        ("brighten", {"purpose": "attack", "objective": "toward-true"}, "is a correction's; leave it out"),
        (
            "brighten",
            {"options": {"bi": 1}},
            'attack "brighten": unknown option "bi"; expected by',
        ),
    ],
)
def test_what_an_attack_cannot_do_is_said(timed, attack, how, said):
    with pytest.raises(UsageError) as refused:
        timed.call(attack, 0.4, **how)
    assert said in str(refused.value)
    assert timed.untimed[0].reason == str(refused.value)


def test_an_empty_batch_is_refused(timed):
    with pytest.raises(UsageError, match="got a batch of 0"):
        timed.call("brighten")


def test_broken_and_missing_attacks_raise_what_they_raise_in_experiments(timed):
    with pytest.raises(ContractError, match=r"returned pixels in \[2.4, 2.4\]"):
        timed.call("overshooting", 0.4)
    with pytest.raises(PluginError, match="needs no-such-library, which is not installed"):
        timed.call("absent", 0.4)
    with pytest.raises(PluginError, match='unknown attack "brigthen"; did you mean "brighten"'):
        timed.call("brigthen", 0.4)
    assert [one.attack for one in timed.untimed] == ["toys/overshooting", "toys/absent"]


def test_passes_are_limited_as_in_experiments(timed):
    class Dim(torch.nn.Module):
        def forward(self, images):
            return torch.stack([images.flatten(1).mean(1) * 0 + 1, images.flatten(1).mean(1)], 1)

    with pytest.raises(NoSuccessError, match="0 of 1 images"):
        timed.call("brighten", 0.4, classifier=pixel_classifier(Dim(), classes=2, channels=1), max_passes=1)


# -- with pytest-benchmark -------------------------------------------------------------------------------------------------

CONFTEST = f"""
import pytest
import {__name__} as ours

@pytest.fixture(scope="session")
def harness_manager():
    return ours.toy_manager()

@pytest.fixture
def case():
    return {{"classifier": ours.threshold_classifier(), "images": ours.dark(0.4, 0.3), "labels": ours.BRIGHT}}
"""

BENCHES = """
def test_brighten(attack_benchmark, case):
    attack_benchmark("brighten", **case, rounds=4)

def test_nothing(attack_benchmark, case):
    attack_benchmark("nothing", **case)

def test_tired(attack_benchmark, case):
    attack_benchmark("tired", **case)

def test_another(benchmark):
    benchmark.pedantic(sorted, args=([],), rounds=1)
"""


def test_the_saved_file_holds_what_was_timed_and_why_the_others_were_not(pytester, monkeypatch):
    monkeypatch.delenv("PYTEST_XDIST_WORKER", raising=False)  # where tests run in parallel nothing would be timed
    pytester.makeconftest(CONFTEST)
    pytester.makepyfile(BENCHES)
    ran = pytester.runpytest("--benchmark-json=timing.json", "-p", "no:cacheprovider")
    ran.assert_outcomes(passed=2, failed=2)
    ran.stdout.fnmatch_lines(["*benchmark 'l2, batch 2'*"])
    timings = read_timings(pytester.path / "timing.json")
    [timing] = timings.timed
    assert (timing.measured.attack, timing.rounds, timings.others) == ("toys/brighten", 4, 1)
    saved = json.loads((pytester.path / "timing.json").read_text())["benchmarks"]
    [stats] = [one["stats"] for one in saved if one["group"] == "l2, batch 2"]
    assert timing.seconds_per_image == stats["median"] / 2
    assert [(one.attack, one.reason) for one in timings.untimed] == [
        ("toys/nothing", "no success, corrects 0 of 2 images (0%)"),
        ("toys/tired", "no success, corrects 0 of 2 images (0%)"),
    ]


def test_success_is_asserted_where_benchmarks_are_disabled_too(pytester):
    pytester.makeconftest(CONFTEST)
    pytester.makepyfile(BENCHES)
    ran = pytester.runpytest("--benchmark-disable", "-p", "no:cacheprovider")
    ran.assert_outcomes(passed=3, failed=1)  # each runs once, so that nobody tires


@pytest.mark.parametrize(("asked", "chosen"), [(None, "min-norm"), ("final", "final")])
def test_an_attack_that_starts_from_another_image_is_not_timed_by_that_image(asked, chosen):
    manager = Manager.discover()
    plugin = manager.find("attack", "foolbox/pointwise")
    capabilities = manager.load(plugin).capabilities
    assert _select(plugin, capabilities, asked) == chosen
    assert _select(plugin, manager.load(manager.find("attack", "paper/bim")).capabilities, None) == "first-hit"
    with pytest.raises(UsageError, match="which would be its first hit; expected select min-norm or final"):
        _select(plugin, capabilities, "first-hit")
