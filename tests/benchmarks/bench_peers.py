"""The harness against the libraries that it stands beside: same network, images and work, round by round in turn. `make bench`.

``performance_table.py`` makes a table of the saved file. ``HARNESS_BENCH_SMALL=1`` is for trying it out: its times mean nothing.
Which network and images: see ``contest_subject.py``.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from statistics import median

import contest_subject
import pytest
from contest import KEPT, OURS, PEER, Contest, Row, both, ours, theirs
from contest_sides import ENVIRONMENTS, Side, Work

SMALL = os.environ.get("HARNESS_BENCH_SMALL") == "1"
ROUNDS = 2 if SMALL else 5
EPS = 8 / 255
FEW = {"images": 8}
LOWERED = "bfloat16"
STORED = "the peer decodes its images at every step, the harness did so once, into its store"
FIRST_HIT = "an image is done with its first hit, the peer goes on to the last step"


def size(usual, small):
    return small if SMALL else usual


WRONG, RIGHT = size(512, 16), size(64, 8)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """The file of the subject, and what it is in words."""
    path = tmp_path_factory.mktemp("contest") / "subject.pt"
    subject = contest_subject.make(wrong=WRONG, right=RIGHT, steps=size(150, 60))
    subject.save(path)
    return path, subject.data


@pytest.fixture
def sides(data):
    """A process for each side, new for each contest: what a process allocated before decides how fast its memory is."""
    path, _ = data
    sides = {name: Side(name, path) for name in ENVIRONMENTS}
    yield sides
    for side in sides.values():
        side.close()


@pytest.fixture
def contest(benchmark, sides, data):
    return Contest(benchmark, sides, data[1], rounds=ROUNDS, small=SMALL)


def met(told):
    return sum(told["met"])


def at_least_as_many(found, *, our=OURS):
    """Return the check that our entrant reached as many images as the peer."""
    mine, peers = met(found[our]), met(found[PEER])
    return {f"{mine} of {len(found[our]['met'])} reached, the peer {peers}": mine >= peers > 0}


def median_norm(found, *, our=OURS, largest):
    """Return the check that our median L2 norm is at most ``largest`` times the peer's, of the images that both reached."""
    pairs = zip(*(zip(found[name]["met"], found[name]["norms"], strict=True) for name in (our, PEER)), strict=True)
    norms = [(mine, peers) for (ok, mine), (peer_ok, peers) in pairs if ok and peer_ok]
    if not norms:
        return {"no image is reached by both": False}
    ratio = median(mine for mine, _ in norms) / median(peers for _, peers in norms)
    each = median(mine / peers for mine, peers in norms)
    return {f"median norm {ratio:.4f} times the peer's, image by image {each:.4f}": ratio <= largest}


def test_vbi(contest):
    options = {"eps": EPS, "alpha": 1 / 255, "steps": 5}
    same = {"objective": "toward-true", "select": "first-hit", "images": WRONG, "warm": FEW}
    peer = theirs(
        "foolbox_attack",
        goal="toward-true",
        attack="LinfBasicIterativeAttack",
        options={"abs_stepsize": 1 / 255, "steps": 5, "random_start": False},
        epsilons=EPS,
        images=WRONG,
        warm=FEW,
    )
    mine = {"attack": "paper/bim", "options": options, **same}
    found = contest.race(
        {**both(peer), LOWERED: ours("correct", precision=LOWERED, **mine), OURS: ours("correct", **mine)}
    )
    what, against = f"VBI, 5 steps, {WRONG} images in one batch", "Foolbox LinfBasicIterativeAttack"
    contest.settle(
        Row(what, against, target=5, checks=at_least_as_many(found), remark=FIRST_HIT),
        Row(f"{what}, bfloat16", against, ours=LOWERED, checks=at_least_as_many(found, our=LOWERED), remark=FIRST_HIT),
    )


def test_ddn(contest):
    images, steps = size(256, 16), size(100, 20)
    given = {"options": {"steps": steps}, "images": images, "warm": FEW}
    peer = theirs("foolbox_attack", goal="toward-true", attack="DDNAttack", epsilons=None, **given)
    mine = {"attack": "paper/ddn", "objective": "toward-true", "select": "min-norm", **given}
    found = contest.race(
        {**both(peer), LOWERED: ours("correct", precision=LOWERED, **mine), OURS: ours("correct", **mine)},
        once=[KEPT],
    )
    what, against = f"DDN, {steps} steps, {images} images", "Foolbox DDNAttack"
    checks = at_least_as_many(found) | median_norm(found, largest=1.01)
    lowered = at_least_as_many(found, our=LOWERED) | median_norm(found, our=LOWERED, largest=1.05)
    contest.settle(
        Row(what, against, target=2.5, checks=checks), Row(f"{what}, bfloat16", against, ours=LOWERED, checks=lowered)
    )


def test_salt_and_pepper(contest):
    images = size(64, 8)
    given = {"options": size({}, {"steps": 200}), "images": images, "warm": {"images": 4, "options": {"steps": 10}}}
    nested = given | {"options": {"search": "nested"}, "warm": {"images": 4}}
    goal, own = {"goal": "leave-predicted"}, {"attack": "paper/salt-and-pepper"}
    peer = theirs("foolbox_attack", attack="SaltAndPepperNoiseAttack", epsilons=None, **goal, **given)
    found = contest.race(
        both(peer)
        | {
            "schedule": ours("attack", select="min-norm", **goal, **own, **given),
            "nested": ours("attack", select="min-norm", **goal, **own, **nested),
            "corrector": ours("correct", objective="away-from-predicted", select="first-hit", **own, **given),
            OURS: ours("attack", select="first-hit", **goal, **own, **given),
        },
        once=[KEPT],
    )
    what, against = f"salt and pepper, {images} images", "Foolbox SaltAndPepperNoiseAttack"
    smallest = at_least_as_many(found, our="nested") | median_norm(found, our="nested", largest=1)
    scheduled = at_least_as_many(found, our="schedule") | median_norm(found, our="schedule", largest=1.15)
    corrected = f"{met(found['corrector'])} are then labelled true; the peer has no such goal"
    contest.settle(
        Row(f"{what}, first hit", against, target=100, checks=at_least_as_many(found), remark=FIRST_HIT),
        Row(f"{what}, minimum norm, nested search", against, target=5, ours="nested", checks=smallest),
        Row(f"{what}, minimum norm, Foolbox's schedule", against, ours="schedule", checks=scheduled),
        Row(f"{what}, as a corrector, first hit", against, ours="corrector", remark=corrected),
    )


@dataclass(frozen=True)
class Bridged:
    """A library's attack and how it is called.

    ``parameters``: whether it computes their gradients too, by ``backward``. ``asked``: whether to time, beside it, a user who then
    asks the model whom it fooled, as the harness always does: of few passes that one more is a large share.
    """

    attack: str
    options: dict
    images: int
    parameters: bool
    eps: float | None = None
    asked: bool = False

    @property
    def target(self):
        return 1.5 if self.parameters else 1


CW = {"steps": 20, "binary_search_steps": 2, "initial_const": 1.0}
PGD = {"alpha": 2 / 255, "steps": 10}
FOOLBOX = {
    "linf-projected-gradient-descent": Bridged("LinfPGD", {"steps": 10, "abs_stepsize": 2 / 255}, 64, True, eps=EPS),
    "l2-projected-gradient-descent": Bridged("L2PGD", {"steps": 10, "abs_stepsize": 0.1}, 64, True, eps=0.5),
    "l2-carlini-wagner": Bridged("L2CarliniWagnerAttack", CW, 32, True),
    "l2-deepfool": Bridged("L2DeepFoolAttack", {"steps": 10}, 32, True),
    "gaussian-blur": Bridged("GaussianBlurAttack", {"steps": 20}, 64, False),
}
TORCHATTACKS = {
    "fgsm": Bridged("FGSM", {"eps": EPS}, 64, False, asked=True),
    "pgd": Bridged("PGD", {"eps": EPS, **PGD}, 64, False),
    "mifgsm": Bridged("MIFGSM", {"eps": EPS, **PGD}, 64, False),
    "pgdl2": Bridged("PGDL2", {"eps": 0.5, "alpha": 0.1, "steps": 10}, 64, False),
    "cw": Bridged("CW", {"c": 1.0, "steps": 20, "lr": 0.01}, 64, True),
    "deepfool": Bridged("DeepFool", {"steps": 10}, 16, True),
}


def bridge(library, name, case, images):
    """Return the entrant that runs a library's attack through its bridge, its last iterate alone: the library's own work."""
    options = case.options if case.eps is None else case.options | {"eps": case.eps}
    how = {"goal": "leave-true", "select": "final", "images": images, "warm": FEW}
    return ours("attack", attack=f"{library}/{name}", options=options, **how)


def alike(found, images):
    """Return the check that bridge and library reach about as many: random starts differ, and NaN are mended by one of them."""
    reached, peers = met(found[OURS]), met(found[PEER])
    holds = abs(reached - peers) <= max(2, images // 10) and reached > 0
    return {f"{reached} of {images} reached, the peer {peers}": holds or SMALL}


@pytest.mark.parametrize("name", FOOLBOX)
def test_bridge_to_foolbox(contest, name):
    case = FOOLBOX[name]
    images = min(case.images, RIGHT)
    given = {"attack": case.attack, "options": case.options, "epsilons": case.eps, "images": images, "warm": FEW}
    peer = theirs("foolbox_attack", goal="leave-true", **given)
    found = contest.race({**both(peer), OURS: bridge("foolbox", name, case, images)})
    remark = "computes parameter gradients" if case.parameters else "computes no gradients"
    what, against = f"bridge: foolbox/{name}, {images} images", f"Foolbox {case.attack}"
    contest.settle(Row(what, against, target=case.target, checks=alike(found, images), remark=remark))


@pytest.mark.parametrize("name", TORCHATTACKS)
def test_bridge_to_torchattacks(contest, name):
    pytest.importorskip("torchattacks")
    case = TORCHATTACKS[name]
    images = min(case.images, RIGHT)
    given = {"attack": case.attack, "options": case.options, "images": images, "warm": FEW}
    entrants = both(theirs("torchattack", asked=False, **given))
    if case.asked:
        entrants["asked"] = PEER, theirs("torchattack", asked=True, **given)
    found = contest.race({**entrants, OURS: bridge("torchattacks", name, case, images)})
    remark = "computes parameter gradients" if case.parameters else "computes no parameter gradients"
    what, against = f"bridge: torchattacks/{name}, {images} images", f"torchattacks {case.attack}"
    rows = [Row(what, against, target=case.target, checks=alike(found, images), remark=remark)]
    if case.asked:
        rows.append(Row(what, f"{against}, and the model asked whom it fooled", peer="asked", kept=None))
    contest.settle(*rows)


def test_autoattack(contest):
    if SMALL:
        pytest.skip("takes minutes however few images there are")
    same = {"eps": 5e-4, "images": 16, "warm": {"images": 1, "eps": 0.5}}  # what falls at once is attacked no more
    entrants = {**both(theirs("autoattack", **same)), OURS: ours("autoattack", **same)}
    found = contest.race(entrants, once=[KEPT])
    verdicts = found[OURS]["met"], found[PEER]["met"]
    alike = sum(mine == peers for mine, peers in zip(*verdicts, strict=True))
    what = f"AutoAttack standard, L-inf, eps 5e-4, {len(verdicts[0])} images"
    checks = {f"{alike} of {len(verdicts[0])} verdicts are the same": verdicts[0] == verdicts[1]}
    remark = f"{sum(verdicts[0])} images hold; without the checks at other temperatures, which the peer has not"
    contest.settle(Row(what, "pyautoattack AutoAttack", target=2, checks=checks, remark=remark))


@pytest.mark.parametrize(("batch_size", "steps"), [(16, size(40, 2)), (128, size(8, 2))])
def test_adaptation_step(contest, batch_size, steps):
    same = {"root": contest_subject.images_root(), "batch_size": batch_size}
    peer = theirs("adaptation_steps", steps=steps, warm={"steps": 1}, **same)
    contest.race(
        both(peer)
        | {
            precision: ours("adaptation_steps", precision=precision, steps=steps, warm={"steps": 1}, **same)
            for precision in (LOWERED, "float32")
        }
    )

    def losses(precision, *, allowed):
        apart = contest.ask(ours("loss_difference", steps=3, precision=precision, warm={"steps": 1}, **same))
        return {f"losses of 3 steps differ by at most {apart:.1e} of their sum": apart <= allowed}

    what, against = f"{steps} steps of Deep CORAL, batch {batch_size}", "a loop of DataLoader, two passes, torch's SGD"
    contest.settle(
        Row(
            f"{what}, float32",
            against,
            target=1.4,
            ours="float32",
            checks=losses("float32", allowed=1e-5),
            remark=STORED,
        ),
        Row(f"{what}, bfloat16", against, target=2, ours=LOWERED, checks=losses(LOWERED, allowed=0.05), remark=STORED),
    )


@pytest.mark.parametrize("images", [64, 256])
def test_attack_step(contest, images):
    images, steps = min(images, WRONG), 5
    same = {"images": images, "steps": steps, "warm": FEW}
    found = contest.race(
        {
            "network": ours("bare_passes", twin=False, **same),
            "twin": ours("bare_passes", twin=True, **same),
            "min-norm": ours("attack_steps", select="min-norm", **same),
            "final": ours("attack_steps", select="final", **same),
        }
    )
    rows = []
    for select in ("final", "min-norm"):
        what = f"{steps} attack steps (BIM), batch {images}, {select}"
        passes = found[select]["passes"]
        checks = {f"{passes} passes counted": passes == 2 * steps * images}
        bare = "the same passes of the attack-ready twin alone"
        rows.append(Row(what, bare, target=0.9, peer="twin", kept=None, ours=select, checks=checks))
        rows.append(Row(what, "the same passes of the unfolded frozen net", peer="network", kept=None, ours=select))
    contest.settle(*rows)


LARGE = {"architecture": "efficientnet_v2_m", "size": size(96, 32), "images": size(16, 2), "times": size(3, 1)}
COMPILED = {
    "EfficientNetV2-M": LARGE,
    "ResNet-18": {**LARGE, "architecture": "resnet18", "times": size(6, 1)},
    "ResNet-20": {"architecture": None, "size": 32, "images": size(64, 2), "times": size(20, 1)},
}


@pytest.mark.parametrize("work", ["attack_passes", "training_steps"])
@pytest.mark.parametrize("name", COMPILED)
def test_compiled(contest, name, work):
    if SMALL and name == "EfficientNetV2-M":
        pytest.skip("takes minutes to compile, however small the images")
    plain, compiled = (
        (OURS, Work(f"contest_compiled.{work}", {**COMPILED[name], "compiled": asked})) for asked in (False, True)
    )
    found = contest.race({"plain": plain, OURS: compiled})
    first, second = found[OURS]["first"], found["plain"]["second"]
    pixels, passes = COMPILED[name]["size"], f"{COMPILED[name]['times']} {work.replace('_', ' ')}"
    what = f"torch.compile: {passes}, {name}, {COMPILED[name]['images']} images of {pixels}x{pixels}"
    remark = f"the first takes {first:.1f} s, with nothing on the disk, not compiled {second:.2f} s"
    contest.settle(Row(what, "the same, not compiled", peer="plain", kept=None, remark=remark))
