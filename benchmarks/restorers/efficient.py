"""Other efficient super-resolvers x4 of the NTIRE 2022 challenge: FMEN, MobileSR, SCET, LWFANet and NASNetBN.

Each takes and returns RGB in [0, 1]; results are not clamped. MobileSR, LWFANet and NASNetBN are described in
"NTIRE 2022 challenge on efficient super-resolution: methods and results" (Li et al., CVPR Workshops 2022).
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.restorers.blocks import ChannelNorm, Gate, Named, Residual, conv, depthwise, pointwise


def _enlarge(image: Tensor, scale: int, mode: str) -> Tensor:
    align = None if mode == "nearest" else False
    return functional.interpolate(image, scale_factor=scale, mode=mode, align_corners=align)


def _memory_block(channels: int) -> Named:
    """Two convolutions; the residual branches of training are folded in."""
    return Named(
        conv1=Named(rep_conv=conv(channels, channels)),
        activation=nn.LeakyReLU(0.1),
        conv2=Named(rep_conv=conv(channels, channels)),
    )


def _high_frequency_attention(width: int, depth: int) -> Gate:
    return Gate(
        squeeze=conv(50, width),
        before=nn.LeakyReLU(0.1),
        convs=nn.Sequential(*[_memory_block(width) for _ in range(depth)]),
        after=nn.LeakyReLU(0.1),
        excitate=conv(width, 50),
        weight=nn.Sigmoid(),
    )


class FMEN(nn.Module):
    """Du et al., "Fast and memory-efficient network", CVPR Workshops 2022. Computes in [0, 255]."""

    def __init__(self) -> None:
        super().__init__()
        self.head = conv(3, 50)
        self.warmup = nn.Sequential(conv(50, 50), _high_frequency_attention(12, 2))
        self.basic_blocks = nn.ModuleList(_memory_block(50) for _ in range(4))
        self.hfabs = nn.ModuleList(_high_frequency_attention(16, 1) for _ in range(4))
        self.lr_conv = conv(50, 50)
        self.tail = nn.Sequential(conv(50, 48), nn.PixelShuffle(4))

    def forward(self, image: Tensor) -> Tensor:
        shallow = self.head(255 * image)
        deep = self.warmup(shallow)
        for block, attention in zip(self.basic_blocks, self.hfabs, strict=True):
            deep = attention(block(deep))
        enlarged: Tensor = self.tail(self.lr_conv(deep) + shallow)
        return enlarged / 255


class _WindowAttention(nn.Module):
    """Self-attention of 8 heads within windows of 8 x 8 pixels of (N,H,W,40)."""

    def __init__(self) -> None:
        super().__init__()
        self.qkv = nn.Linear(40, 120, bias=False)
        self.proj_out = nn.Linear(40, 40)

    def forward(self, features: Tensor) -> Tensor:
        count, height, width, _ = features.shape
        padded = functional.pad(features, (0, 0, 0, -width % 8, 0, -height % 8))
        rows, columns = padded.shape[1] // 8, padded.shape[2] // 8
        windows = padded.view(count, rows, 8, columns, 8, 40).transpose(2, 3).reshape(-1, 64, 40)
        query, key, value = self.qkv(windows).view(-1, 64, 3, 8, 5).permute(2, 0, 3, 1, 4)
        attended = functional.scaled_dot_product_attention(query, key, value).transpose(1, 2).reshape(-1, 64, 40)
        merged = self.proj_out(attended).view(count, rows, columns, 8, 8, 40).transpose(2, 3)
        changed: Tensor = merged.reshape(padded.shape)[:, :height, :width]
        return changed


class _WindowTransformer(nn.Module):
    def __init__(self, expansion: int) -> None:
        super().__init__()
        self.pos_embed = depthwise(40)
        self.norm1 = nn.LayerNorm(40)
        self.attn = _WindowAttention()
        self.norm2 = nn.LayerNorm(40)
        self.mlp = Named(fc=nn.Sequential(nn.Linear(40, 40 * expansion), nn.GELU(), nn.Linear(40 * expansion, 40)))

    def forward(self, features: Tensor) -> Tensor:
        tokens: Tensor = (features + self.pos_embed(features)).movedim(1, -1)
        tokens = tokens + self.attn(self.norm1(tokens))
        tokens = tokens + self.mlp(self.norm2(tokens))
        return tokens.movedim(-1, 1)


def _inverted_bottleneck(expansion: int) -> Residual:
    width = 40 * expansion
    return Residual(
        net=nn.Sequential(
            pointwise(40, width), nn.LeakyReLU(0.2), depthwise(width), nn.LeakyReLU(0.2), pointwise(width, 40)
        )
    )


class MobileSR(nn.Module):
    """The entry "MobileSR" of the team NJUST_ESR."""

    def __init__(self) -> None:
        super().__init__()
        self.head = conv(3, 40)
        layers = [nn.Sequential(_WindowTransformer(m), _inverted_bottleneck(m)) for m in (4, 2, 2, 2, 4)]
        self.body = Named(layers=nn.Sequential(*layers))
        self.fuse = conv(80, 40)
        # spelt as in the state dict
        self.upsapling = nn.Sequential(
            pointwise(40, 160), nn.PixelShuffle(2), pointwise(40, 160), nn.PixelShuffle(2), nn.LeakyReLU(0.2)
        )
        self.tail = conv(40, 3)

    def forward(self, image: Tensor) -> Tensor:
        shallow = self.head(image)
        fused = self.fuse(torch.cat((shallow, self.body(shallow)), dim=1))
        details: Tensor = self.tail(self.upsapling(fused))
        return details + _enlarge(image, 4, "bilinear")


class _PixelAttentionConv(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.k2 = pointwise(32, 32)
        self.k3 = conv(32, 32, bias=False)
        self.k4 = conv(32, 32, bias=False)

    def forward(self, features: Tensor) -> Tensor:
        changed: Tensor = self.k4(self.k3(features) * torch.sigmoid(self.k2(features)))
        return changed


class _SelfCalibrated(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv1_a = conv(64, 32, 1, bias=False)
        self.conv1_b = conv(64, 32, 1, bias=False)
        self.k1 = nn.Sequential(conv(32, 32, bias=False))
        self.PAConv = _PixelAttentionConv()
        self.conv3 = conv(64, 64, 1, bias=False)

    def forward(self, features: Tensor) -> Tensor:
        halves = []
        for reduce, transform in ((self.conv1_a, self.k1), (self.conv1_b, self.PAConv)):
            reduced = functional.leaky_relu(reduce(features), 0.2)
            halves.append(functional.leaky_relu(transform(reduced), 0.2))
        joined: Tensor = self.conv3(torch.cat(halves, dim=1))
        return features + joined


class _TransposedAttention(nn.Module):
    """Self-attention of 8 heads between channels (Zamir et al., Restormer, CVPR 2022)."""

    def __init__(self) -> None:
        super().__init__()
        self.temperature = nn.Parameter(torch.ones(8, 1, 1))
        self.qkv = conv(64, 192, 1, bias=False)
        self.qkv_dwconv = depthwise(192, bias=False)
        self.project_out = conv(64, 64, 1, bias=False)

    def forward(self, features: Tensor) -> Tensor:
        heads = self.qkv_dwconv(self.qkv(features)).flatten(2).unflatten(1, (3, 8, 8))
        query, key, value = heads.unbind(1)
        query, key = functional.normalize(query, dim=-1), functional.normalize(key, dim=-1)
        weights = torch.softmax(query @ key.transpose(-2, -1) * self.temperature, dim=-1)
        changed: Tensor = self.project_out((weights @ value).view_as(features))
        return changed


class _GatedFeedForward(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.project_in = conv(64, 340, 1, bias=False)
        self.dwconv = depthwise(340, bias=False)
        self.project_out = conv(170, 64, 1, bias=False)

    def forward(self, features: Tensor) -> Tensor:
        gate, content = self.dwconv(self.project_in(features)).chunk(2, dim=1)
        changed: Tensor = self.project_out(functional.gelu(gate) * content)
        return changed


class _ChannelTransformer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm1 = Named(body=ChannelNorm(64))
        self.attn = _TransposedAttention()
        self.norm2 = Named(body=ChannelNorm(64))
        self.ffn = _GatedFeedForward()

    def forward(self, features: Tensor) -> Tensor:
        attended: Tensor = features + self.attn(self.norm1(features))
        changed: Tensor = self.ffn(self.norm2(attended))
        return attended + changed


class SCET(nn.Module):
    """Zou et al., "Self-calibrated efficient transformer for lightweight super-resolution", CVPR Workshops 2022."""

    def __init__(self) -> None:
        super().__init__()
        self.conv3 = conv(3, 64)
        self.path1 = nn.Sequential(
            Named(arr=nn.Sequential(*[_SelfCalibrated() for _ in range(16)])),
            Named(arr=nn.Sequential(_ChannelTransformer())),
            conv(64, 64),
            nn.PixelShuffle(4),
            conv(4, 3),
        )
        self.path2 = nn.Sequential(nn.PixelShuffle(4), conv(4, 3))

    def forward(self, image: Tensor) -> Tensor:
        shallow = self.conv3(image)
        enlarged: Tensor = self.path1(shallow) + self.path2(shallow)
        return enlarged


class _ChannelAttention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc1 = conv(96, 6, 1, bias=False)
        self.fc2 = conv(6, 96, 1, bias=False)

    def _mixed(self, pooled: Tensor) -> Tensor:
        mixed: Tensor = self.fc2(functional.relu(self.fc1(pooled)))
        return mixed

    def forward(self, features: Tensor) -> Tensor:
        mean, peak = features.mean((2, 3), keepdim=True), features.amax((2, 3), keepdim=True)
        return torch.sigmoid(self._mixed(mean) + self._mixed(peak))


class _WideFeatureAttention(nn.Module):
    """Four branches of one to four 3x3 convolutions under channel and spatial attention."""

    def __init__(self) -> None:
        super().__init__()
        for branch in range(1, 5):
            self.add_module(f"conv{branch}_1", pointwise(96, 24))
            for step in range(2, branch + 2):
                self.add_module(f"conv{branch}_{step}", conv(24, 24))
        self.ca = _ChannelAttention()
        self.sa1 = Named(sa_conv=pointwise(96, 1))
        self.sa2 = Named(sa_conv=pointwise(96, 1))

    def _branch(self, features: Tensor, branch: int) -> Tensor:
        for step in range(1, branch + 2):
            features = functional.leaky_relu(self.get_submodule(f"conv{branch}_{step}")(features), 0.2)
        return features

    def forward(self, features: Tensor) -> Tensor:
        wide = torch.cat([self._branch(features, branch) for branch in range(1, 5)], dim=1)
        spatial = torch.sigmoid(self.sa1(wide)) * wide + torch.sigmoid(self.sa2(features)) * features
        channel: Tensor = self.ca(wide) * wide
        return channel + spatial


class LWFANet(nn.Module):
    """The entry "LWFANet" of the team Just Try."""

    def __init__(self) -> None:
        super().__init__()
        self.conv_first = conv(3, 96)
        self.body = nn.Sequential(*[_WideFeatureAttention() for _ in range(10)])
        self.conv_body = conv(96, 96)
        self.conv_L = pointwise(96, 64)
        self.conv_up1, self.conv_up2, self.conv_hr = (conv(64, 64) for _ in range(3))
        self.conv_last = conv(64, 3)

    def forward(self, image: Tensor) -> Tensor:
        shallow = self.conv_first(image)
        deep = self.conv_L(self.conv_body(self.body(shallow)) + shallow)
        for layer in (self.conv_up1, self.conv_up2):
            deep = functional.leaky_relu(layer(_enlarge(deep, 2, "nearest")), 0.2)
        enlarged: Tensor = self.conv_last(functional.leaky_relu(self.conv_hr(deep), 0.2))
        return enlarged


def _searched_block(kind: int) -> Residual:
    """Kinds 0 and 1: inverted bottlenecks of expansion 3 and 6; 2 and 3: two 3x3 convolutions."""
    if kind >= 2:
        activation = nn.ReLU() if kind == 2 else nn.LeakyReLU(0.2)
        return Residual(
            conv1=conv(32, 32),
            bn1=nn.BatchNorm2d(32),
            activation=activation,
            conv2=conv(32, 32),
            bn2=nn.BatchNorm2d(32),
        )
    width = 32 * (3, 6)[kind]
    return Residual(
        conv=nn.Sequential(
            conv(32, width, 1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU6(),
            depthwise(width, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU6(),
            conv(width, 32, 1, bias=False),
            nn.BatchNorm2d(32),
        )
    )


class NASNetBN(nn.Module):
    """The entry "NASNetBN" of the team neptune: a trunk of 16 searched blocks."""

    def __init__(self) -> None:
        super().__init__()
        self.conv_first = conv(3, 32)
        kinds = (3, 1, 2, 3, 3, 0, 1, 2, 0, 0, 0, 0, 2, 3, 3, 1)
        self.recon_trunk = nn.Sequential(*[_searched_block(kind) for kind in kinds])
        self.upconv1, self.upconv2 = conv(32, 128), conv(32, 128)
        self.HRconv = conv(32, 32)
        self.conv_last = conv(32, 3)

    def forward(self, image: Tensor) -> Tensor:
        deep = self.recon_trunk(functional.leaky_relu(self.conv_first(image), 0.1))
        for layer in (self.upconv1, self.upconv2):
            deep = functional.leaky_relu(functional.pixel_shuffle(layer(deep), 2), 0.1)
        details: Tensor = self.conv_last(functional.leaky_relu(self.HRconv(deep), 0.1))
        return details + _enlarge(image, 4, "bilinear")
