"""Parameters of mixers counted by hand, and the tolerance of formulas retyped."""

CLOSE = {"atol": 1e-5, "rtol": 1e-4}


def count(module, *, trainable=False):
    return sum(p.numel() for p in module.parameters() if p.requires_grad or not trainable)


def linear(inputs, outputs):
    return inputs * outputs + outputs


def mixer(inputs, width, depth):
    """Embedding, blocks of two MLPs and two norms, norm; 49 tokens, hidden layers four times as wide."""
    mlps = linear(49, 196) + linear(196, 49) + linear(width, 4 * width) + linear(4 * width, width)
    return linear(inputs, width) + depth * (mlps + 4 * width) + 2 * width
