"""Training on synthetic shapes, `python -m camviz.train resnet18`: what it draws, how it goes on, what it writes."""
