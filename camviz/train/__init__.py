"""Training on synthetic shapes, `python -m camviz.train resnet18`: its samples, its steps, and its checkpoints."""
