"""MLP-Mixer blocks: two-layer perceptrons, in turn over the tokens and over the channels.

Tolstikhin et al., "MLP-Mixer: An all-MLP Architecture for Vision", NeurIPS 2021, arXiv:2105.01601.
"""

from torch import Tensor, nn

__all__ = ["Mixer", "MixerBlock"]


class MixerBlock(nn.Module):
    """Token MLP and channel MLP, each with a norm before it and a skip beside it: (...,T,C) to (...,T,C)."""

    def __init__(self, tokens: int, width: int, expansion: int = 4) -> None:
        super().__init__()
        self.token_norm = nn.LayerNorm(width)
        self.token_mlp = _mlp(tokens, expansion)
        self.channel_norm = nn.LayerNorm(width)
        self.channel_mlp = _mlp(width, expansion)

    def forward(self, features: Tensor) -> Tensor:
        mixed: Tensor = self.token_mlp(self.token_norm(features).transpose(-1, -2))
        features = features + mixed.transpose(-1, -2)
        changed: Tensor = self.channel_mlp(self.channel_norm(features))
        return features + changed


def _mlp(width: int, expansion: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(width, expansion * width), nn.GELU(), nn.Linear(expansion * width, width))


class Mixer(nn.Module):
    """A linear embedding, `depth` blocks and a norm.

    Args:
        inputs: channels of each token.
        width: channels inside.
        tokens: how many there are.
        depth: blocks.
        expansion: of the hidden layers of both MLPs.
    """

    def __init__(self, inputs: int, width: int, tokens: int, depth: int, expansion: int = 4) -> None:
        super().__init__()
        self.embedding = nn.Linear(inputs, width)
        self.blocks = nn.ModuleList(MixerBlock(tokens, width, expansion) for _ in range(depth))
        self.norm = nn.LayerNorm(width)

    def forward(self, features: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Tokens (...,T,inputs) to the norm of the last block, (...,T,width), and the output of every block."""
        features = self.embedding(features)
        outputs = []
        for block in self.blocks:
            features = block(features)
            outputs.append(features)
        return self.norm(features), outputs
