"""The Transformer encoder as ViT uses it: an MLP and a pre-norm block.

Chapter 03 derives both. Legend: B batch, N tokens, D embedding dimension, H heads.
"""

from torch import nn

from course_lib.attention import MultiHeadSelfAttention


class MLP(nn.Module):
    """Two linear layers with a GELU between, applied to each token on its own.

    Parameters carry timm's names: `fc1` (D -> hidden) and `fc2` (hidden -> D). The GELU is the exact
    one, with the error function; the tanh approximation differs by up to 5e-4.

    Args:
        dim: embedding dimension D.
        hidden_dim: width between the two layers; 4 D in ViT.
        drop: dropout rate after each layer, between 0 and 1.

    Shapes: (..., D) -> (..., D).

    Source: Dosovitskiy et al. 2021, section 3.1; Hendrycks & Gimpel 2016 for GELU. Chapter 03.
    """

    def __init__(self, dim, hidden_dim, drop=0.0):
        super().__init__()
        self.fc1 = nn.Linear(dim, hidden_dim)
        self.act = nn.GELU()
        self.fc2 = nn.Linear(hidden_dim, dim)
        self.drop = nn.Dropout(drop)

    def forward(self, x):
        return self.drop(self.fc2(self.drop(self.act(self.fc1(x)))))


class EncoderBlock(nn.Module):
    """One pre-norm encoder block: x + attn(norm1(x)), then x + mlp(norm2(x)).

    Submodules carry timm's names: `norm1`, `attn`, `norm2`, `mlp`.

    Args:
        dim: embedding dimension D.
        num_heads: H, a divisor of D.
        mlp_ratio: hidden width of the MLP divided by D.
        qkv_bias: whether q, k and v get a bias.
        norm_eps: added to the variance in both LayerNorms; ViT uses 1e-6, PyTorch's default is 1e-5.
        attn_drop: dropout rate on the attention weights.
        proj_drop: dropout rate on the output of the attention and inside the MLP.

    Shapes: (B, N, D) -> (B, N, D).

    Raises:
        ValueError: `num_heads` does not divide `dim`, or the input is not (B, N, dim).

    Source: Dosovitskiy et al. 2021, equations 2 and 3. Chapter 03.
    """

    def __init__(self, dim, num_heads, *, mlp_ratio=4.0, qkv_bias=True, norm_eps=1e-6, attn_drop=0.0, proj_drop=0.0):
        super().__init__()
        self.norm1 = nn.LayerNorm(dim, eps=norm_eps)
        self.attn = MultiHeadSelfAttention(dim, num_heads, qkv_bias=qkv_bias, attn_drop=attn_drop, proj_drop=proj_drop)
        self.norm2 = nn.LayerNorm(dim, eps=norm_eps)
        self.mlp = MLP(dim, int(dim * mlp_ratio), drop=proj_drop)

    def forward(self, x):
        if x.ndim != 3 or x.shape[-1] != self.attn.dim:
            raise ValueError(
                f"input {tuple(x.shape)} must be (B, N, {self.attn.dim}): batch, tokens, embedding dimension."
            )
        x = x + self.attn(self.norm1(x))
        x = x + self.mlp(self.norm2(x))
        return x
