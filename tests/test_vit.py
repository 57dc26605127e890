"""The encoder parts agree with PyTorch's own encoder layer, and carry timm's names."""

import pytest
import torch
from torch import nn

from course_lib.vit import MLP, EncoderBlock

TOLERANCE = {torch.float64: 1e-12, torch.float32: 1e-5}


def pytorch_twin(block, mlp_hidden):
    """nn.TransformerEncoderLayer, pre-norm and with the exact GELU, with the weights of one of ours."""
    twin = nn.TransformerEncoderLayer(
        block.attn.dim,
        block.attn.num_heads,
        mlp_hidden,
        dropout=0.0,
        activation="gelu",
        layer_norm_eps=block.norm1.eps,
        batch_first=True,
        norm_first=True,
    ).to(block.norm1.weight.dtype)
    moved = {
        "norm1": "norm1",
        "self_attn.out_proj": "attn.proj",
        "norm2": "norm2",
        "linear1": "mlp.fc1",
        "linear2": "mlp.fc2",
    }
    ours = block.state_dict()
    theirs = {f"{to}.{kind}": ours[f"{name}.{kind}"] for to, name in moved.items() for kind in ("weight", "bias")}
    theirs |= {f"self_attn.in_proj_{kind}": ours[f"attn.qkv.{kind}"] for kind in ("weight", "bias")}
    twin.load_state_dict(theirs, strict=True)
    return twin


def random_block(dtype, dim=20, num_heads=4, **options):
    torch.manual_seed(1)
    block = EncoderBlock(dim, num_heads, **options).to(dtype)
    for parameter in block.parameters():  # norms and biases too: ones and zeros would hide their absence
        nn.init.normal_(parameter, std=0.3)
    return block


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("size", [1.0, 1e-3], ids=["large", "small"])  # small activations show a wrong epsilon
@pytest.mark.parametrize("mlp_ratio", [4.0, 2.5])
def test_block_equals_pytorch(dtype, size, mlp_ratio):
    block = random_block(dtype, mlp_ratio=mlp_ratio)
    x = size * torch.randn(3, 7, 20, dtype=dtype)
    theirs = pytorch_twin(block, int(20 * mlp_ratio))(x)
    assert (block(x) - theirs).abs().max() <= TOLERANCE[dtype]


def test_gradients_equal_pytorch():
    block = random_block(torch.float64)
    twin = pytorch_twin(block, 80)
    x, y = (torch.randn(3, 7, 20, dtype=torch.float64, generator=torch.manual_seed(2)).requires_grad_() for _ in "12")
    block(x).sin().sum().backward()
    twin(y).sin().sum().backward()
    pairs = [(x.grad, y.grad), (block.attn.qkv.weight.grad, twin.self_attn.in_proj_weight.grad)]
    for ours, theirs in pairs:
        assert ((ours - theirs).abs() / theirs.abs().max()).max() <= 1e-12


def test_block_gradcheck():
    block = random_block(torch.float64, dim=6, num_heads=2)
    x = torch.randn(2, 3, 6, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(block, x, atol=1e-8, rtol=1e-6)


def test_names_are_those_of_timm():
    names = [name for name, _ in EncoderBlock(8, 2).named_parameters()]
    parts = ("norm1", "attn.qkv", "attn.proj", "norm2", "mlp.fc1", "mlp.fc2")
    assert names == [f"{part}.{kind}" for part in parts for kind in ("weight", "bias")]


def test_parameter_count_of_a_vit_base_block():
    """12 D² + 13 D: qkv 3D² + 3D, proj D² + D, MLP 8D² + 5D, two norms 4D."""
    assert sum(p.numel() for p in EncoderBlock(768, 12).parameters()) == 12 * 768**2 + 13 * 768 == 7_087_872


def test_without_qkv_bias():
    assert EncoderBlock(8, 2, qkv_bias=False).attn.qkv.bias is None


def test_dropout_rates_reach_their_layers():
    block = EncoderBlock(8, 2, attn_drop=0.25, proj_drop=0.5)
    assert (block.attn.attn_drop.p, block.attn.proj_drop.p, block.mlp.drop.p) == (0.25, 0.5, 0.5)


def test_epsilon_is_vits_and_not_pytorchs():
    block = EncoderBlock(8, 2)
    assert block.norm1.eps == block.norm2.eps == 1e-6


def test_mlp_dropout():
    assert (MLP(5, 11, drop=1.0)(torch.randn(2, 3, 5)) == 0).all()


def test_equivariance():
    block = random_block(torch.float64)
    x = torch.randn(2, 7, 20, dtype=torch.float64)
    order = torch.randperm(7)
    assert (block(x[:, order]) - block(x)[:, order]).abs().max() <= 1e-12


def test_mlp_works_token_by_token():
    mlp = MLP(5, 11).double()
    x = torch.randn(2, 3, 5, dtype=torch.float64)
    alone = torch.stack([torch.stack([mlp(token) for token in image]) for image in x])
    assert (mlp(x) - alone).abs().max() <= 1e-12
    assert [tuple(p.shape) for p in mlp.parameters()] == [(11, 5), (11,), (5, 11), (5,)]


def test_errors_name_both_shapes():
    with pytest.raises(ValueError, match=r"\(2, 3, 9\) must be \(B, N, 8\)"):
        EncoderBlock(8, 2)(torch.ones(2, 3, 9))
    with pytest.raises(ValueError, match="dim 8 .* 3 heads"):
        EncoderBlock(8, 3)
