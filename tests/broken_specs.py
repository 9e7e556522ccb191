"""Specs that are wrong in one way each, and what is said of them: keys, types, ranges, names, plugins, files."""

# ruff: noqa: E501  (a message stands whole, so that a search finds it)

from __future__ import annotations

from broken_yaml import BROKEN_YAML, spec

KEYS = [
    spec(
        "an unknown key",
        '7:1: unknown key "widgets"; expected adaptation, adapters, attack_batch_size, attack_compile, attack_passes, attack_precision, baseline, controls, correctors, dataset, description, evaluate, figures, models, name, quantization, search, seeds, validation or variants',
        widgets="widgets: 3",
    ),
    spec("a misspelt key", '7:1: unknown key "contrls"; did you mean "controls"?', controls="contrls: none"),
    spec(
        "a misspelt key that is required",
        '3:1: unknown key "modles"; did you mean "models"?',
        models="modles: [small-cnn]",
    ),
    spec(
        "a required key missing",
        '1:1: the key "adapters" is missing; expected a list of adapters: names, or mappings; an empty one where figures alone are wanted',
        adapters="",
    ),
    spec(
        "two required keys missing",
        '1:1: the key "dataset" is missing; expected a card\'s name, or a mapping',
        '1:1: the key "models" is missing; expected a list of classifiers: cards\' names, or mappings',
        dataset="",
        models="",
    ),
    spec(
        "only a name",
        '1:1: the key "dataset" is missing; expected a card\'s name, or a mapping',
        '1:1: the key "models" is missing; expected a list of classifiers: cards\' names, or mappings',
        '1:1: the key "correctors" is missing; expected a list of correctors: presets\' names, or mappings',
        '1:1: the key "adapters" is missing; expected a list of adapters: names, or mappings; an empty one where figures alone are wanted',
        dataset="",
        models="",
        seeds="",
        correctors="",
        adapters="",
    ),
    spec(
        "a misspelt key in baseline",
        '7:12: baseline: unknown key "epoch"; did you mean "epochs"?',
        baseline="baseline: {epoch: 3}",
    ),
    spec(
        "an unknown key in baseline",
        '7:12: baseline: unknown key "colour"; expected augmentation, backbone_lr_factor, batch_size, clip_norm, compile, epochs, lr, momentum, optimizer, precision, schedule or weight_decay',
        baseline="baseline: {colour: red}",
    ),
    spec(
        "steps in baseline",
        '7:12: baseline: unknown key "steps"; expected augmentation, backbone_lr_factor, batch_size, clip_norm, compile, epochs, lr, momentum, optimizer, precision, schedule or weight_decay',
        baseline="baseline: {steps: 100}",
    ),
    spec(
        "a misspelt key in adaptation",
        '7:14: adaptation: unknown key "step"; did you mean "steps"?',
        adaptation="adaptation: {step: 3}",
    ),
    spec(
        "a misspelt key in a normalization",
        '2:54: dataset.normalization: unknown key "sdt"; did you mean "std"?',
        dataset="dataset: {card: digits, normalization: {mean: [0.5], sdt: [0.5]}}",
    ),
    spec(
        "std missing",
        '2:40: dataset.normalization: the key "std" is missing; expected the standard deviation of each channel',
        dataset="dataset: {card: digits, normalization: {mean: [0.5]}}",
    ),
    spec(
        "a misspelt card key",
        '2:10: dataset: the key card, provider or image_folder is missing; did you mean "card"?',
        dataset="dataset: {crad: digits}",
    ),
    spec(
        "an empty mapping as model",
        "3:10: models[0]: the key card, architecture or factory is missing",
        models="models: [{}]",
    ),
    spec(
        "a misspelt architecture key",
        '3:10: models[0]: the key card, architecture or factory is missing; did you mean "architecture"?',
        models="models: [{architectur: small-cnn}]",
    ),
    spec(
        "a misspelt attack key",
        '5:14: correctors[0]: the key preset or attack is missing; did you mean "attack"?',
        correctors="correctors: [{atack: bim}]",
    ),
    spec(
        "an adapter mapping without adapter",
        "6:12: adapters[0]: the key adapter is missing",
        adapters="adapters: [{weight: 1}]",
    ),
    spec(
        "card and provider",
        '2:35: dataset.provider: stands beside "card"; keep one of them',
        dataset="dataset: {card: digits, provider: digits}",
    ),
    spec(
        "card and image_folder",
        '2:25: dataset.image_folder: stands beside "card"; keep one of them',
        dataset="dataset: {image_folder: photos, card: digits}",
    ),
    spec(
        "card and architecture",
        '3:42: models[0].architecture: stands beside "card"; keep one of them',
        models="models: [{card: small-cnn, architecture: small-cnn}]",
    ),
    spec(
        "architecture and factory",
        '3:45: models[0].factory: stands beside "architecture"; keep one of them',
        models="models: [{architecture: small-cnn, factory: 'nets:make'}]",
    ),
    spec(
        "preset and attack",
        '5:36: correctors[0].attack: stands beside "preset"; keep one of them',
        correctors="correctors: [{preset: vbi, attack: bim}]",
    ),
    spec(
        "steps and epochs",
        '7:34: adaptation.epochs: stands beside "steps"; keep one of them',
        adaptation="adaptation: {steps: 100, epochs: 3}",
    ),
    spec(
        "trained without weights",
        "3:37: models[0].trained: true needs weights; name their file, or leave trained out",
        models="models: [{card: small-cnn, trained: true}]",
    ),
]

TYPES = [
    spec("a number as name", "1:7: name: got 2026, expected text", name="name: 2026"),
    spec("a truth value as name", "1:7: name: got true, expected text", name="name: true"),
    spec("a list as name", "1:7: name: got a list, expected text", name="name: [a]"),
    spec("no name", "1:1: name: got nothing, expected text", name="name:"),
    spec("a list as description", "7:14: description: got a list, expected text", description="description: [a, b]"),
    spec("no dataset", "2:1: dataset: got nothing, expected a name or a mapping", dataset="dataset:"),
    spec("a list of data sets", "2:10: dataset: got a list, expected a name or a mapping", dataset="dataset: [digits]"),
    spec("a number as dataset", "2:10: dataset: got 10, expected a name or a mapping", dataset="dataset: 10"),
    spec("a number as card", "2:17: dataset.card: got 10, expected text", dataset="dataset: {card: 10}"),
    spec(
        "a text where models are listed",
        '3:9: models: got "small-cnn", expected a list; write [small-cnn]',
        models="models: small-cnn",
    ),
    spec(
        "a mapping where models are listed",
        "3:9: models: got a mapping, expected a list",
        models="models: {card: small-cnn}",
    ),
    spec("nothing where models are listed", "3:1: models: got nothing, expected a list", models="models:"),
    spec(
        "a number among models",
        "3:21: models[1]: got 18, expected a name or a mapping",
        models="models: [small-cnn, 18]",
    ),
    spec(
        "nothing among models",
        "3:21: models[1]: got nothing, expected a name or a mapping",
        models="models: [small-cnn, null]",
    ),
    spec(
        "a list among models",
        "3:10: models[0]: got a list, expected a name or a mapping",
        models="models: [[small-cnn]]",
    ),
    spec(
        "a number among correctors",
        "5:14: correctors[0]: got 0.5, expected a name or a mapping",
        correctors="correctors: [0.5]",
    ),
    spec(
        "a truth value among adapters",
        "6:12: adapters[0]: got true, expected a name or a mapping",
        adapters="adapters: [true]",
    ),
    spec(
        "a text where adapters are listed",
        '6:11: adapters: got "deep-coral", expected a list; write [deep-coral]',
        adapters="adapters: deep-coral",
    ),
    spec(
        "a text as a name's number",
        "3:34: models[0].name: got 5, expected text",
        models="models: [{card: small-cnn, name: 5}]",
    ),
    spec(
        "a text as trained",
        '3:37: models[0].trained: got "yes", expected true or false',
        models="models: [{card: small-cnn, trained: 'yes'}]",
    ),
    spec(
        "one as trained",
        "3:37: models[0].trained: got 1, expected true or false",
        models="models: [{card: small-cnn, trained: 1}]",
    ),
    spec(
        "a number as weights",
        "3:37: models[0].weights: got 5, expected text",
        models="models: [{card: small-cnn, weights: 5}]",
    ),
    spec(
        "a text as image_size",
        '3:40: models[0].image_size: got "32px", expected a whole number',
        models="models: [{card: small-cnn, image_size: 32px}]",
    ),
    spec(
        "a fraction of a pixel as image_size",
        "3:40: models[0].image_size: got 31.5, expected a whole number",
        models="models: [{card: small-cnn, image_size: 31.5}]",
    ),
    spec(
        "an unknown normalization",
        '3:43: models[0].normalization: got "imagnet", expected imagenet, dataset or a mapping; did you mean "imagenet"?',
        models="models: [{card: small-cnn, normalization: imagnet}]",
    ),
    spec(
        "a number as normalization",
        "3:43: models[0].normalization: got 0.5, expected imagenet, dataset or a mapping",
        models="models: [{card: small-cnn, normalization: 0.5}]",
    ),
    spec(
        "a number as mean",
        "2:47: dataset.normalization.mean: got 0.5, expected a list; write [0.5]",
        dataset="dataset: {card: digits, normalization: {mean: 0.5, std: [0.5]}}",
    ),
    spec(
        "a text among stds",
        '2:60: dataset.normalization.std[0]: got "half", expected a number',
        dataset="dataset: {card: digits, normalization: {mean: [0.5], std: [half]}}",
    ),
    spec("one seed not in a list", "4:8: seeds: got 5, expected a list; write [5]", seeds="seeds: 5"),
    spec("a text among seeds", '4:12: seeds[1]: got "two", expected a whole number', seeds="seeds: [1, two]"),
    spec("a quoted number among seeds", '4:9: seeds[0]: got "1", expected a whole number', seeds="seeds: ['1']"),
    spec("a truth value among seeds", "4:9: seeds[0]: got true, expected a whole number", seeds="seeds: [true]"),
    spec("a broken number among seeds", "4:9: seeds[0]: got 1.5, expected a whole number", seeds="seeds: [1.5]"),
    spec("a text as validation", '7:13: validation: got "some", expected a number', validation="validation: some"),
    spec("a truth value as validation", "7:13: validation: got true, expected a number", validation="validation: true"),
    spec("nothing as baseline", "7:1: baseline: got nothing, expected a mapping", baseline="baseline:"),
    spec("a list as baseline", "7:11: baseline: got a list, expected a mapping", baseline="baseline: [epochs]"),
    spec("a number as adaptation", "7:13: adaptation: got 2000, expected a mapping", adaptation="adaptation: 2000"),
    spec(
        "a text as epochs",
        '7:20: baseline.epochs: got "ten", expected a whole number',
        baseline="baseline: {epochs: ten}",
    ),
    spec(
        "a broken number as epochs",
        "7:20: baseline.epochs: got 2.5, expected a whole number",
        baseline="baseline: {epochs: 2.5}",
    ),
    spec(
        "a truth value as steps",
        "7:21: adaptation.steps: got true, expected a whole number",
        adaptation="adaptation: {steps: true}",
    ),
    spec(
        "a quoted number as batch_size",
        '7:26: adaptation.batch_size: got "16", expected a whole number',
        adaptation="adaptation: {batch_size: '16'}",
    ),
    spec(
        "nothing as learning rate",
        "7:12: baseline.lr: got nothing, expected a number or a fraction such as 8/255",
        baseline="baseline: {lr: }",
    ),
    spec(
        "a text as learning rate",
        '7:16: baseline.lr: got "fast", expected a number or a fraction such as 8/255',
        baseline="baseline: {lr: fast}",
    ),
    spec(
        "a truth value as momentum",
        "7:22: baseline.momentum: got false, expected a number or a fraction such as 8/255",
        baseline="baseline: {momentum: false}",
    ),
    spec(
        "a list as optimizer",
        "7:23: baseline.optimizer: got a list, expected sgd, adam or adamw",
        baseline="baseline: {optimizer: [sgd]}",
    ),
    spec(
        "a mapping as controls",
        "7:11: controls: got a mapping, expected default, all, none or a list",
        controls="controls: {sham: true}",
    ),
    spec(
        "a number among controls",
        "7:12: controls[0]: got 5, expected default, none, recalibrate-bn, finetune-target, finetune-source, curriculum, target-to-target, sham, random-subset, label-smoothing, logit-variance, ema, swa, adversarial-training, upweight-errors or transferred",
        controls="controls: [5]",
    ),
    spec(
        "a text as attack_batch_size",
        '7:20: attack_batch_size: got "many", expected a whole number',
        attack_batch_size="attack_batch_size: many",
    ),
    spec(
        "a broken number as attack_batch_size",
        "7:20: attack_batch_size: got 1000.0, expected a whole number",
        attack_batch_size="attack_batch_size: 1e3",
    ),
]

RANGES = [
    spec(
        "an empty name",
        '1:7: name: got "", expected at most 80 letters, digits, dots, dashes and underscores, the first a letter or digit',
        name="name: ''",
    ),
    spec(
        "a name with a slash",
        '1:7: name: got "a/b", expected at most 80 letters, digits, dots, dashes and underscores, the first a letter or digit',
        name="name: a/b",
    ),
    spec(
        "a name that goes up",
        '1:7: name: got "..", expected at most 80 letters, digits, dots, dashes and underscores, the first a letter or digit',
        name="name: ..",
    ),
    spec(
        "a name with a space",
        '1:7: name: got "my run", expected at most 80 letters, digits, dots, dashes and underscores, the first a letter or digit',
        name="name: my run",
    ),
    spec(
        "a name that is too long",
        '1:7: name: got "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa…, expected at most 80 letters, digits, dots, dashes and underscores, the first a letter or digit',
        name="name: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    ),
    spec(
        "an empty name of a model",
        '3:34: models[0].name: got "", expected 1 to 80 characters on one line',
        models="models: [{card: small-cnn, name: ''}]",
    ),
    spec(
        "a name of two lines",
        '3:34: models[0].name: got "a\\nb", expected 1 to 80 characters on one line',
        models='models: [{card: small-cnn, name: "a\\nb"}]',
    ),
    spec("no models", "3:9: models: got an empty list, expected at least 1 entry", models="models: []"),
    spec(
        "no correctors", "5:13: correctors: got an empty list, expected at least 1 entry", correctors="correctors: []"
    ),
    spec(
        "no adapters",
        "6:11: adapters: got an empty list, expected at least 1 entry, or figures to draw",
        adapters="adapters: []",
    ),
    spec("no seeds", "4:8: seeds: got an empty list, expected at least 1 entry", seeds="seeds: []"),
    spec("a seed twice", "4:8: seeds: 3 stands twice; keep one of them", seeds="seeds: [3, 1, 3]"),
    spec("a negative seed", "4:12: seeds[1]: got -1, expected a number of at least 0", seeds="seeds: [1, -1]"),
    spec(
        "a seed that is too large",
        "4:9: seeds[0]: got 4294967296, expected a number of at most 4294967295",
        seeds="seeds: [4294967296]",
    ),
    spec(
        "no controls without saying so",
        '7:11: controls: is empty; write "controls: none" to go without',
        controls="controls: []",
    ),
    spec(
        "a control twice",
        "7:11: controls: sham stands twice; keep one of them",
        controls="controls: [sham, none, sham]",
    ),
    spec(
        "no validation",
        "7:13: validation: got 0, expected a share between 0 and 1, or a whole number of samples",
        validation="validation: 0",
    ),
    spec(
        "all as validation",
        "7:13: validation: got 1.0, expected a share between 0 and 1, or a whole number of samples",
        validation="validation: 1.0",
    ),
    spec(
        "more than all as validation",
        "7:13: validation: got 1.5, expected a share between 0 and 1, or a whole number of samples",
        validation="validation: 1.5",
    ),
    spec(
        "a negative validation",
        "7:13: validation: got -0.1, expected a share between 0 and 1, or a whole number of samples",
        validation="validation: -0.1",
    ),
    spec(
        "no epochs", "7:20: baseline.epochs: got 0, expected a number of at least 1", baseline="baseline: {epochs: 0}"
    ),
    spec(
        "a batch of one",
        "7:24: baseline.batch_size: got 1, expected a number of at least 2",
        baseline="baseline: {batch_size: 1}",
    ),
    spec(
        "a learning rate of zero",
        "7:16: baseline.lr: got 0, expected a number greater than 0",
        baseline="baseline: {lr: 0}",
    ),
    spec(
        "an infinite learning rate",
        "7:16: baseline.lr: got inf, expected a finite number",
        baseline="baseline: {lr: .inf}",
    ),
    spec(
        "a learning rate that is no number",
        "7:18: adaptation.lr: got nan, expected a number greater than 0",
        adaptation="adaptation: {lr: .nan}",
    ),
    spec(
        "a negative weight decay",
        "7:26: baseline.weight_decay: got -0.0001, expected a number of at least 0",
        baseline="baseline: {weight_decay: -1e-4}",
    ),
    spec(
        "a momentum of one",
        "7:22: baseline.momentum: got 1, expected a number less than 1",
        baseline="baseline: {momentum: 1}",
    ),
    spec(
        "negative steps",
        "7:21: adaptation.steps: got -5, expected a number of at least 1",
        adaptation="adaptation: {steps: -5}",
    ),
    spec(
        "no validations",
        "7:27: adaptation.validations: got 0, expected a number of at least 1",
        adaptation="adaptation: {validations: 0}",
    ),
    spec(
        "an image_size of zero",
        "3:40: models[0].image_size: got 0, expected a number of at least 1",
        models="models: [{card: small-cnn, image_size: 0}]",
    ),
    spec(
        "an attack_batch_size of zero",
        "7:20: attack_batch_size: got 0, expected a number of at least 1",
        attack_batch_size="attack_batch_size: 0",
    ),
    spec(
        "a std of zero",
        "2:60: dataset.normalization.std[0]: got 0, expected a number greater than 0",
        dataset="dataset: {card: digits, normalization: {mean: [0.5], std: [0]}}",
    ),
    spec(
        "no means",
        "2:47: dataset.normalization.mean: got an empty list, expected at least 1 entry",
        "2:56: dataset.normalization.std: got an empty list, expected at least 1 entry",
        dataset="dataset: {card: digits, normalization: {mean: [], std: []}}",
    ),
    spec(
        "fewer stds than means",
        "2:64: dataset.normalization.std: has 1 and mean 2 entries; expected one each per channel",
        dataset="dataset: {card: digits, normalization: {mean: [0.5, 0.5], std: [0.5]}}",
    ),
    spec(
        "a normalization of three channels for one",
        "2:40: dataset.normalization: has 3 channels, the images 1; give mean and std one entry a channel",
        dataset="dataset: {card: digits, normalization: {mean: [0.5, 0.5, 0.5], std: [0.5, 0.5, 0.5]}}",
    ),
    spec(
        "ImageNet's normalization for gray images",
        "3:43: models[0].normalization: imagenet has 3 channels, the images 1; give mean and std one entry a channel",
        models="models: [{card: small-cnn, normalization: imagenet}]",
    ),
    spec(
        "a model's normalization of two channels",
        "3:43: models[0].normalization: has 2 channels, the images 1; give mean and std one entry a channel",
        models="models: [{card: small-cnn, normalization: {mean: [0.5, 0.5], std: [0.5, 0.5]}}]",
    ),
]

FRACTIONS = [
    spec(
        "a fraction of zero",
        '5:33: correctors[0].eps: got "8/0", expected a number or a fraction such as 8/255 (attack "bim")',
        correctors="correctors: [{attack: bim, eps: 8/0}]",
    ),
    spec(
        "a fraction of a fraction",
        '5:33: correctors[0].eps: got "8/255/2", expected a number or a fraction such as 8/255 (attack "bim")',
        correctors="correctors: [{attack: bim, eps: 8/255/2}]",
    ),
    spec(
        "a fraction of letters",
        '5:33: correctors[0].eps: got "a/b", expected a number or a fraction such as 8/255 (attack "bim")',
        correctors="correctors: [{attack: bim, eps: a/b}]",
    ),
    spec(
        "a fraction without a denominator",
        '5:33: correctors[0].eps: got "8/", expected a number or a fraction such as 8/255 (attack "bim")',
        correctors="correctors: [{attack: bim, eps: 8/}]",
    ),
    spec(
        "a fraction larger than one",
        '5:33: correctors[0].eps: got "255/8", expected a number of at most 1 (attack "bim")',
        correctors="correctors: [{attack: bim, eps: 255/8}]",
    ),
    spec(
        "a negative fraction",
        '5:33: correctors[0].eps: got "-8/255", expected a number greater than 0 (attack "bim")',
        correctors="correctors: [{attack: bim, eps: -8/255}]",
    ),
    spec(
        "a fraction as learning rate, of zero",
        '7:16: baseline.lr: got "1/0", expected a number or a fraction such as 8/255',
        baseline="baseline: {lr: 1/0}",
    ),
    spec(
        "a fraction as whole number",
        '5:35: correctors[0].steps: got "10/2", expected a whole number (attack "bim")',
        correctors="correctors: [{attack: bim, steps: 10/2}]",
    ),
    spec(
        "a percentage",
        '6:42: adapters[0].weight: got "5%", expected a number or a fraction such as 8/255 (adapter "deep-coral")',
        adapters="adapters: [{adapter: deep-coral, weight: 5%}]",
    ),
]

NAMES = [
    spec(
        "an unknown data set",
        '2:10: unknown data set "imagenet-22k". See "harness datasets".',
        dataset="dataset: imagenet-22k",
    ),
    spec(
        "a misspelt data set",
        '2:10: unknown data set "digts"; did you mean "digits"? See "harness datasets".',
        dataset="dataset: digts",
    ),
    spec(
        "a misspelt card",
        '3:3: unknown data set "cifar-10"; did you mean "cifar10"? See "harness datasets".',
        dataset="dataset:\n  card: cifar-10",
    ),
    spec(
        "a misspelt provider",
        '2:21: unknown data set plugin "digit"; did you mean "digits"? See "harness plugins list".',
        exit_code=3,
        dataset="dataset: {provider: digit}",
    ),
    spec(
        "a data set plugin without a card",
        '2:10: "image-folder" is a data set plugin without a card; write {provider: image-folder} and its options',
        dataset="dataset: image-folder",
    ),
    spec(
        "a model as data set",
        '2:10: "small-cnn" is a classifier, not a data set; name it under models',
        dataset="dataset: small-cnn",
    ),
    spec("an unknown model", '3:10: unknown model "vgg16". See "harness models".', models="models: [vgg16]"),
    spec(
        "a misspelt model",
        '5:5: unknown model "resnet19"; did you mean "resnet18"? See "harness models".',
        models="models:\n  - small-cnn\n  - resnet19",
    ),
    spec(
        "a misspelt architecture",
        '3:25: unknown classifier "cifar-resnet21"; did you mean "cifar-resnet32"? See "harness plugins list".',
        exit_code=3,
        models="models: [{architecture: cifar-resnet21}]",
    ),
    spec(
        "a data set as model",
        '3:10: "digits" is a data set, not a classifier; name it under dataset',
        models="models: [digits]",
    ),
    spec(
        "an attack as model",
        '3:10: unknown model "ddn2". See "harness models".',
        '3:16: "salt-and-pepper" is an attack, not a classifier; write {attack: salt-and-pepper, objective: toward-true} under correctors',
        models="models: [ddn2, salt-and-pepper]",
    ),
    spec(
        "an unknown corrector",
        '5:14: unknown corrector preset "fgsm"; expected bi, bih, ddn, ll, none, sp, vbi or vbi-iter1, or {attack: …}',
        correctors="correctors: [fgsm]",
    ),
    spec(
        "a misspelt preset",
        '5:14: unknown corrector preset "vbi-iter2"; did you mean "vbi-iter1"?',
        correctors="correctors: [vbi-iter2]",
    ),
    spec(
        "a misspelt preset, to be changed",
        '5:23: unknown corrector preset "vbii"; did you mean "vbi"?',
        correctors="correctors: [{preset: vbii, steps: 3}]",
    ),
    spec(
        "an attack where a preset is expected",
        '5:14: "bim" is an attack, not a corrector preset; write {attack: bim, objective: toward-true}',
        correctors="correctors: [bim]",
    ),
    spec(
        "an attack as preset",
        '5:23: "salt-and-pepper" is an attack, not a corrector preset; write {attack: salt-and-pepper, objective: toward-true}',
        correctors="correctors: [{preset: salt-and-pepper}]",
    ),
    spec(
        "a preset where an attack is expected",
        '5:23: "vbi" is a corrector preset, not an attack; write {preset: vbi}',
        correctors="correctors: [{attack: vbi}]",
    ),
    spec(
        "the preset none as attack",
        '5:23: "none" is a corrector preset, not an attack; write {preset: none}',
        correctors="correctors: [{attack: none}]",
    ),
    spec(
        "an adapter as corrector",
        '5:14: "deep-coral" is an adapter, not a corrector preset; name it under adapters',
        correctors="correctors: [deep-coral]",
    ),
    spec(
        "a control as corrector",
        '5:14: "sham" is a control, not a corrector preset; name it under controls',
        correctors="correctors: [sham]",
    ),
    spec(
        "a preset as adapter",
        '6:12: "vbi" is a corrector preset, not an adapter; name it under correctors',
        adapters="adapters: [vbi]",
    ),
    spec(
        "an attack as adapter",
        '6:12: "ddn" is a corrector preset, not an adapter; name it under correctors',
        '6:17: "bim" is an attack, not an adapter; write {attack: bim, objective: toward-true} under correctors',
        adapters="adapters: [ddn, bim]",
    ),
    spec(
        "a control as adapter",
        '6:12: "finetune-target" is a control, not an adapter; name it under controls',
        adapters="adapters: [finetune-target]",
    ),
    spec(
        "the control none as adapter",
        '6:12: "none" is a control, not an adapter; name it under controls',
        adapters="adapters: [none]",
    ),
    spec(
        "the fine-tuning controls' adapter",
        '6:12: "finetune" is a control; name finetune-target and finetune-source under controls, where every row is compared with it',
        adapters="adapters: [finetune]",
    ),
    spec(
        "the recalibration, qualified",
        '6:12: "adaptation/recalibrate-bn" is a control; name recalibrate-bn under controls, where every row is compared with it',
        adapters="adapters: [adaptation/recalibrate-bn]",
    ),
    spec(
        "an adapter as data set",
        '2:10: "deep-coral" is an adapter, not a data set; name it under adapters',
        dataset="dataset: deep-coral",
    ),
    spec(
        "a control as data set",
        '2:10: "curriculum" is a control, not a data set; name it under controls',
        dataset="dataset: curriculum",
    ),
    spec(
        "an unknown control",
        '7:12: controls[0]: got "shamm"; did you mean "sham"?',
        controls="controls: [shamm]",
    ),
    spec(
        "a control not in a list",
        '7:11: controls: got "sham", expected default, all, none or a list; write [sham]',
        controls="controls: sham",
    ),
    spec(
        "controls misspelt",
        '7:11: controls: got "defualt", expected default, all, none or a list; did you mean "default"?',
        controls="controls: defualt",
    ),
    spec(
        "an unknown objective",
        '5:39: correctors[0].objective: got "towards-true", expected toward-true, away-from-true, away-from-predicted or toward-least-likely; did you mean "toward-true"?',
        correctors="correctors: [{attack: bim, objective: towards-true}]",
    ),
    spec(
        "an unknown select",
        '5:36: correctors[0].select: got "first", expected first-hit, final or min-norm; did you mean "first-hit"?',
        correctors="correctors: [{attack: bim, select: first}]",
    ),
    spec(
        "an unknown keep",
        '5:34: correctors[0].keep: got "everything", expected corrected or all',
        correctors="correctors: [{attack: bim, keep: everything}]",
    ),
    spec(
        "an unknown batch_norm policy",
        '7:26: adaptation.batch_norm: got "seperate", expected joint, separate, frozen or target-only; did you mean "separate"?',
        adaptation="adaptation: {batch_norm: seperate}",
    ),
    spec(
        "an unknown optimizer",
        '7:23: baseline.optimizer: got "lion", expected sgd, adam or adamw',
        baseline="baseline: {optimizer: lion}",
    ),
    spec(
        "a misspelt optimizer",
        '7:25: adaptation.optimizer: got "adamv", expected sgd, adam or adamw; did you mean "adam"?',
        adaptation="adaptation: {optimizer: adamv}",
    ),
    spec(
        "an unknown schedule",
        '7:24: adaptation.schedule: got "cosin", expected constant or cosine; did you mean "cosine"?',
        adaptation="adaptation: {schedule: cosin}",
    ),
    spec(
        "an unknown augmentation",
        '7:26: baseline.augmentation: got "flip-crops", expected none, flip or flip-crop; did you mean "flip-crop"?',
        baseline="baseline: {augmentation: flip-crops}",
    ),
    spec(
        "two correctors of one name",
        '5:23: correctors has two entries called "vbi", the first in line 5; give one of them a name',
        correctors="correctors: [vbi, bi, vbi]",
    ),
    spec(
        "two models given one name",
        '3:38: models has two entries called "a", the first in line 3; give one of them a name',
        models="models: [{card: small-cnn, name: a}, {architecture: small-cnn, name: a}]",
    ),
    spec(
        "two adapters of one name",
        '8:5: adapters has two entries called "deep-coral", the first in line 7; give one of them a name',
        adapters="adapters:\n  - deep-coral\n  - {adapter: deep-coral, weight: 1, name: deep-coral}",
    ),
]

PLUGINS = [
    spec(
        "an unknown attack",
        '5:23: unknown attack "carlini". See "harness plugins list".',
        exit_code=3,
        correctors="correctors: [{attack: carlini}]",
    ),
    spec(
        "a misspelt attack",
        '6:14: unknown attack "bin"; did you mean "bim"? See "harness plugins list".',
        exit_code=3,
        correctors="correctors:\n  - {attack: bin}",
    ),
    spec(
        "a misspelt attack of a package",
        '5:23: unknown attack "paper/dnn"; did you mean "paper/ddn"? See "harness plugins list".',
        exit_code=3,
        correctors="correctors: [{attack: paper/dnn}]",
    ),
    spec(
        "an attack of a package that is not installed",
        '5:23: unknown attack "foolbox-extras/l2-deepfool". See "harness plugins list".',
        exit_code=3,
        correctors="correctors: [{attack: foolbox-extras/l2-deepfool}]",
    ),
    spec(
        "a misspelt adapter",
        '6:12: unknown adapter "deep-corral"; did you mean "deep-coral"? See "harness plugins list".',
        exit_code=3,
        adapters="adapters: [deep-corral]",
    ),
    spec(
        "an unknown adapter",
        '6:22: unknown adapter "sinkhorn". See "harness plugins list".',
        exit_code=3,
        adapters="adapters: [{adapter: sinkhorn, weight: 3}]",
    ),
    spec(
        "an unknown option of an attack",
        '5:28: correctors[0]: unknown key "confidence"; expected alpha, eps, keep, name, objective, select or steps (attack "bim")',
        correctors="correctors: [{attack: bim, confidence: 3}]",
    ),
    spec(
        "a misspelt option of an attack",
        '5:28: correctors[0]: unknown key "gama"; did you mean "gamma"? (attack "ddn")',
        correctors="correctors: [{attack: ddn, gama: 0.1}]",
    ),
    spec(
        "a misspelt key beside an attack's options",
        '5:28: correctors[0]: unknown key "objektive"; did you mean "objective"? (attack "bim")',
        correctors="correctors: [{attack: bim, objektive: toward-true}]",
    ),
    spec(
        "a wrong type of an attack's option",
        '5:35: correctors[0].steps: got "many", expected a whole number (attack "bim")',
        correctors="correctors: [{attack: bim, steps: many}]",
    ),
    spec(
        "a truth value as an attack's steps",
        '5:35: correctors[0].steps: got true, expected a whole number (attack "ddn")',
        correctors="correctors: [{attack: ddn, steps: true}]",
    ),
    spec(
        "an attack's option out of range",
        '5:35: correctors[0].gamma: got 1.5, expected a number less than 1 (attack "ddn")',
        correctors="correctors: [{attack: ddn, gamma: 1.5}]",
    ),
    spec(
        "a number as an attack's truth value",
        '5:57: correctors[0].across_channels: got 0, expected true or false (attack "salt-and-pepper")',
        correctors="correctors: [{attack: salt-and-pepper, across_channels: 0}]",
    ),
    spec(
        "a misspelt option of a preset",
        '5:28: correctors[0]: unknown key "setps"; did you mean "steps"? (attack "bim")',
        correctors="correctors: [{preset: vbi, setps: 3}]",
    ),
    spec(
        "an option of a preset out of range",
        '5:33: correctors[0].eps: got 2, expected a number of at most 1 (attack "bim")',
        correctors="correctors: [{preset: vbi, eps: 2}]",
    ),
    spec(
        "an option of the preset none",
        '5:29: correctors[0]: "steps" has no meaning for preset "none", which attacks nothing; remove it',
        correctors="correctors: [{preset: none, steps: 3}]",
    ),
    spec(
        "an objective of the preset none",
        '5:29: correctors[0]: "objective" has no meaning for preset "none", which attacks nothing; remove it',
        '5:53: correctors[0]: "select" has no meaning for preset "none", which attacks nothing; remove it',
        correctors="correctors: [{preset: none, objective: toward-true, select: final}]",
    ),
    spec(
        "an unknown option of an adapter",
        '6:34: adapters[0]: unknown key "temperature"; expected name, on, variant or weight (adapter "deep-coral")',
        adapters="adapters: [{adapter: deep-coral, temperature: 3}]",
    ),
    spec(
        "a misspelt option of an adapter",
        '6:34: adapters[0]: unknown key "wieght"; did you mean "weight"? (adapter "deep-coral")',
        adapters="adapters: [{adapter: deep-coral, wieght: 3}]",
    ),
    spec(
        "an adapter's option out of range",
        '6:42: adapters[0].weight: got -1, expected a number of at least 0 (adapter "deep-coral")',
        adapters="adapters: [{adapter: deep-coral, weight: -1}]",
    ),
    spec(
        "a wrong choice of an adapter's option",
        '6:38: adapters[0].on: got "logit", expected logits or features; did you mean "logits"? (adapter "deep-coral")',
        adapters="adapters: [{adapter: deep-coral, on: logit}]",
    ),
    spec(
        "an unknown option of a data set",
        '2:25: dataset: unknown key "year"; expected name, normalization, test_samples or train_samples (data set plugin "digits")',
        dataset="dataset: {card: digits, year: 1998}",
    ),
    spec(
        "a misspelt option of a data set",
        '2:26: dataset: unknown key "downlaod"; did you mean "download"? (data set plugin "cifar10")',
        dataset="dataset: {card: cifar10, downlaod: false}",
    ),
    spec(
        "a wrong type of a data set's option",
        '2:36: dataset.download: got "no", expected true or false (data set plugin "cifar10")',
        dataset="dataset: {card: cifar10, download: 'no'}",
    ),
    spec(
        "a provider without its option",
        '2:10: dataset: the key "root" is missing; expected folder that holds train/<class>/* and test/<class>/* (data set plugin "image-folder")',
        dataset="dataset: {provider: image-folder}",
    ),
    spec(
        "an unknown option of a classifier",
        '3:28: models[0]: unknown key "depth"; did you mean "width"? (classifier "small-cnn")',
        models="models: [{card: small-cnn, depth: 3}]",
    ),
    spec(
        "a misspelt option of a classifier",
        '3:28: models[0]: unknown key "widht"; did you mean "width"? (classifier "small-cnn")',
        models="models: [{card: small-cnn, widht: 3}]",
    ),
    spec(
        "a classifier's option out of range",
        '3:43: models[0].width: got 0, expected a number of at least 1 (classifier "small-cnn")',
        models="models: [{architecture: small-cnn, width: 0}]",
    ),
    spec(
        "a wrong choice of a classifier's option",
        '3:39: models[0].pretrained: got "cifar", expected imagenet or null (classifier "resnet18")',
        models="models: [{card: resnet18, pretrained: cifar}]",
    ),
    spec(
        "an option of a classifier without any",
        '3:41: models[0]: unknown key "depth"; expected image_size, name, normalization, trained or weights (classifier "cifar-resnet20")',
        models="models: [{architecture: cifar-resnet20, depth: 20}]",
    ),
    spec(
        "a factory without a colon",
        '3:20: models[0].factory: got "nets.make", expected package.module:function',
        models="models: [{factory: nets.make}]",
    ),
    spec(
        "a factory that is a file",
        '3:20: models[0].factory: got "nets.py:make", expected package.module:function, the module without .py',
        models="models: [{factory: 'nets.py:make'}]",
    ),
    spec(
        "a factory with two colons",
        '3:20: models[0].factory: got "nets:make:it", expected package.module:function',
        models="models: [{factory: 'nets:make:it'}]",
    ),
    spec(
        "a factory without a function",
        '3:20: models[0].factory: got "nets:", expected package.module:function',
        models="models: [{factory: 'nets:'}]",
    ),
    spec(
        "a factory of a path",
        '3:20: models[0].factory: got "my/nets:make", expected package.module:function',
        models="models: [{factory: 'my/nets:make'}]",
    ),
    spec(
        "an option of a factory",
        '3:33: models[0]: unknown key "depth"; a factory takes no options',
        models="models: [{factory: 'nets:make', depth: 20}]",
    ),
    spec(
        "a misspelt key beside a factory",
        '3:33: models[0]: unknown key "weigths"; did you mean "weights"?',
        models="models: [{factory: 'nets:make', weigths: a.pt}]",
    ),
]

FILES = [
    spec(
        "weights that are missing",
        '3:37: models[0].weights: no file "nets/a.safetensors"; paths are taken from the spec\'s folder, "."',
        exit_code=4,
        models="models: [{card: small-cnn, weights: nets/a.safetensors}]",
    ),
    spec(
        "weights that are a folder",
        '3:37: models[0].weights: no file "."; paths are taken from the spec\'s folder, "."',
        exit_code=4,
        models="models: [{card: small-cnn, weights: .}]",
    ),
    spec(
        "weights of a user without a home",
        '3:37: models[0].weights: "~nobody-of-this-name/a.pt" is no path',
        exit_code=4,
        models="models: [{card: small-cnn, weights: ~nobody-of-this-name/a.pt}]",
    ),
    spec(
        "weights with a name that is too long",
        '3:37: models[0].weights: no file "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa…; paths are taken from the spec\'s folder, "."',
        exit_code=4,
        models="models: [{card: small-cnn, weights: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa}]",
    ),
    spec(
        "weights of a factory that are missing",
        '3:42: models[0].weights: no file "a.pt"; paths are taken from the spec\'s folder, "."',
        exit_code=4,
        models="models: [{factory: 'nets:make', weights: a.pt}]",
    ),
    spec(
        "a folder of images that is missing",
        '2:25: dataset.image_folder: no folder "photos"; paths are taken from the spec\'s folder, "."',
        exit_code=4,
        dataset="dataset: {image_folder: photos}",
    ),
    spec(
        "a file as folder of images",
        '2:25: dataset.image_folder: no folder "spec.yaml"; paths are taken from the spec\'s folder, "."',
        exit_code=4,
        dataset="dataset: {image_folder: spec.yaml}",
    ),
    spec(
        "a folder of images and its root",
        '2:34: dataset.root: stands beside "image_folder"; keep one of them',
        dataset="dataset: {image_folder: ., root: photos}",
    ),
    spec(
        "an option of a folder of images",
        '2:38: dataset.channels: got 2, expected 1 or 3 (data set plugin "image-folder")',
        dataset="dataset: {image_folder: ., channels: 2}",
    ),
]

SEVERAL_AT_ONCE = [
    spec(
        "what is wrong in every section",
        '1:7: name: got "a b", expected at most 80 letters, digits, dots, dashes and underscores, the first a letter or digit',
        "2:10: dataset: got 5, expected a name or a mapping",
        '3:9: models: got "small-cnn", expected a list; write [small-cnn]',
        "4:9: seeds[0]: got -1, expected a number of at least 0",
        "5:14: correctors[0]: the key preset or attack is missing",
        "6:11: adapters: got an empty list, expected at least 1 entry, or figures to draw",
        "7:16: baseline.lr: got 0, expected a number greater than 0",
        '7:19: baseline: unknown key "epoch"; did you mean "epochs"?',
        '8:26: adaptation.batch_norm: got "on", expected joint, separate, frozen or target-only',
        name="name: a b",
        dataset="dataset: 5",
        models="models: small-cnn",
        seeds="seeds: [-1]",
        correctors="correctors: [{}]",
        adapters="adapters: []",
        baseline="baseline: {lr: 0, epoch: 3}",
        adaptation="adaptation: {batch_norm: on}",
    ),
    spec(
        "unknown names in every section",
        '2:10: unknown data set "digit"; did you mean "digits"? See "harness datasets".',
        '3:10: unknown model "small-cn"; did you mean "small-cnn"? See "harness models".',
        '5:14: unknown corrector preset "vb"; did you mean "vbi"?',
        '5:27: unknown attack "bimm"; did you mean "bim"? See "harness plugins list".',
        '6:12: unknown adapter "deep-korall"; did you mean "deep-coral"? See "harness plugins list".',
        dataset="dataset: digit",
        models="models: [small-cn]",
        correctors="correctors: [vb, {attack: bimm}]",
        adapters="adapters: [deep-korall]",
    ),
    spec(
        "sections in another order",
        '1:12: unknown adapter "deep-korall"; did you mean "deep-coral"? See "harness plugins list".',
        '3:10: unknown data set "digit"; did you mean "digits"? See "harness datasets".',
        exit_code=3,
        adapters="",
        name="adapters: [deep-korall]\nname: broken",
        dataset="dataset: digit",
    ),
]

BROKEN_SPECS = [*BROKEN_YAML, *KEYS, *TYPES, *RANGES, *FRACTIONS, *NAMES, *PLUGINS, *FILES, *SEVERAL_AT_ONCE]
