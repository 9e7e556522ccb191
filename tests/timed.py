"""What a benchmark of an attack says beside its seconds."""

TIMED = {
    "format": "adcorda-harness/timing/1",
    "attack": "paper/bim",
    "distribution": "adcorda-harness",
    "version": "0.1.0",
    "library": None,
    "options": {},
    "purpose": "correct",
    "objective": "toward-true",
    "select": "first-hit",
    "norm": "linf",
    "batch": 64,
    "device": "cpu",
    "threads": 1,
    "success": 0.75,
    "forward": 12.0,
    "backward": 10.5,
    "median_norm": 0.0157,
    "cut": False,
}
