"""The machinery that every plugin is run with: classifiers, gradients, random streams, attacks, training."""
