"""The exercises of chapter 12, attention maps, rollout and attention distance."""

import copy  # noqa: F401 (for the edits)
import dis
from contextlib import ExitStack
from unittest import mock

import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.modules import module as hooks_of_all

from course_lib.attention import MultiHeadSelfAttention
from course_lib.checks.edits import edits_of
from course_lib.checks.exercise import Exercise, normal
from course_lib.checks.staged import StagedExercise
from course_lib.vit import VisionTransformer, ViTConfig

# --- record_attention --------------------------------------------------------------------------------

# The models of the probes, in words, and how each differs from the first.
MODELS = {
    "of 2 blocks of 3 heads": {},
    "of 3 blocks of 2 heads": {"depth": 3, "num_heads": 2},
    "of 1 block of 4 heads, in training mode, with dropout on the weights": {
        "depth": 1,
        "num_heads": 4,
        "attn_drop_rate": 0.5,
    },
    "of 1 block of 1 head, without biases": {"depth": 1, "num_heads": 1, "qkv_bias": False},
    "of 13 blocks of 2 heads, without a class token": {"depth": 13, "num_heads": 2, "global_pool": "avg"},
    "of 1 block of 2 heads, with large scores": {"depth": 1, "num_heads": 2},
    "in training mode, whose head breaks": {"num_heads": 2},
    "that breaks before its first block": {"num_heads": 2},
    "in training mode, with a frozen part in evaluation mode": {"num_heads": 2},
    "without blocks": {},
    "whose blocks do not run": {},
}
SILENT = ("without blocks", "whose blocks do not run")


def _record_probes(generator):
    draw = normal(generator)
    sizes = (
        (2, 4, 6),
        (4, 6, 4),
        (3, 4, 4),
        (1, 4, 2),
        (2, 2, 4),
        (2, 4, 4),
        (2, 4, 4),
        (3, 4, 4),
        (2, 4, 2),
        (2, 6, 4),
        (2, 4, 6),
    )
    probes = [
        {"model": words, "images": draw(batch, 1, height, width)}
        for words, (batch, height, width) in zip(MODELS, sizes, strict=True)
    ]
    return [*probes, {name: draw(*x.shape) if name == "images" else x for name, x in probes[0].items()}]


class _Broken(Exception):
    """What a model raises that breaks in its forward pass."""


class _Breaks(nn.Module):
    def forward(self, x):
        raise _Broken("this model breaks")


def _hook_of_another(layer, args):
    """A hook that was in the model before."""


def _recorder_of_another(weights):
    """A recorder that was in the model before."""


def _net(words, images):
    """The model that these words describe, for such images; its weights are the same each time."""
    torch.manual_seed(len(words))
    settings = {"depth": 2, "num_heads": 3, "embed_dim": 12, "mlp_ratio": 2.0, "patch_size": 2, "in_chans": 1}
    settings |= {"img_size": tuple(images.shape[-2:]), "num_classes": 5, "weight_init": "xavier"}
    net = VisionTransformer(ViTConfig(**settings | MODELS[words])).double()
    for name, parameter in net.blocks.named_parameters():  # as after training: no bias is 0, attention differs by place
        if name.endswith(("norm1.bias", "qkv.bias")):
            nn.init.normal_(parameter)
        elif name.endswith("qkv.weight"):
            parameter.data.mul_(40 if "large" in words else 2)
    for block in net.blocks:
        block.attn.register_forward_pre_hook(_hook_of_another)  # pyright: ignore[reportAttributeAccessIssue] (a layer)
    if words == "without blocks":
        net.blocks = nn.Sequential()
    elif words == "whose blocks do not run":
        net.blocks.forward = nn.Identity().forward
        for block in net.blocks:
            block.attn.recorder = _recorder_of_another  # pyright: ignore[reportArgumentType, reportAttributeAccessIssue]
    elif "breaks" in words:
        setattr(net, "head" if "head" in words else "pos_drop", _Breaks())
    net.train("training" in words)
    if "frozen" in words:
        net.blocks[0].eval()
    return net


def _traces(net):
    """What a recording may change in a model, or outside of it: {what is said then: something that can be compared}."""
    parts = list(net.modules())
    hooks = [
        hook for part in parts for each in (part._forward_hooks, part._forward_pre_hooks) for hook in each.values()
    ]
    others = hooks.count(_hook_of_another)
    recorders = [getattr(part, "recorder", None) for part in parts]
    mode = "training" if net.training else "evaluation"
    for part in parts:
        if getattr(vars(part).get("forward"), "__func__", None) is type(part).forward:
            del part.forward  # somebody has put it back
    return {
        "hooks are left behind in the model": len(hooks) - others,
        "hooks that were in the model before are gone": others,
        "a global hook is left behind": len(
            hooks_of_all._global_forward_pre_hooks | hooks_of_all._global_forward_hooks
        ),
        "layer.recorder stays set": [None if recorder is _recorder_of_another else recorder for recorder in recorders],
        "a layer.recorder that was in the model before is gone": recorders.count(_recorder_of_another),
        f"the model was in {mode} mode, and now it is not": net.training,
        "a part of the model is in another mode than before": [part.training for part in parts],
        "gradients stay switched off": torch.is_grad_enabled(),
        "the parameters are not as they were": [
            (p.requires_grad, p.dtype, p.data_ptr(), p._version)
            for part in parts
            for p in part._parameters.values()
            if p is not None
        ],
        "something of yours is left in the model": [(*map(id, vars(part).values()), *part._modules) for part in parts],
        "a function of the library is still yours": (F.scaled_dot_product_attention, MultiHeadSelfAttention.forward),
    }


_nets = {}  # those that were left as they had been: making one takes longer than running it


def _recorded(answer):
    """`answer(model, images)` as a function of a model in words, which returns the maps under the names of their layers."""
    earlier = []

    def recorded(model, images):
        if isinstance(model, nn.Module):
            return answer(model, images)
        runs, forward, key = [], VisionTransformer.forward, (model, images.shape)

        def counted(self, images):
            if self is not net:  # a copy
                return forward(self, images)
            runs.append("begun")
            answer = forward(self, images)
            runs[-1] = "ended"
            return answer

        with ExitStack() as stack:  # whatever the answer changes outside of the model is as before afterwards
            for change in (
                mock.patch.object(VisionTransformer, "forward", counted),
                mock.patch.object(MultiHeadSelfAttention, "forward", MultiHeadSelfAttention.forward),
                mock.patch.object(F, "scaled_dot_product_attention", F.scaled_dot_product_attention),
                mock.patch.dict(hooks_of_all._global_forward_pre_hooks),
                mock.patch.dict(hooks_of_all._global_forward_hooks),
                torch.enable_grad(),
                torch.random.fork_rng(devices=[]),
            ):
                stack.enter_context(change)
            net = _nets.pop(key, None) or _net(model, images)
            torch.manual_seed(0)
            before = _traces(net)
            try:
                returned, raised = answer(net, images), False
            except Exception as error:
                returned, raised = error, True
            after = _traces(net).values()
        left = [words for (words, old), new in zip(before.items(), after, strict=True) if old != new]
        if not left:
            _nets[key] = net
        if isinstance(returned, dict) or (returned is None and model not in SILENT):
            return returned
        if isinstance(returned, NotImplementedError):
            raise returned
        if isinstance(returned, list) and any(returned is one for one in earlier):
            raise ValueError(
                "your list is that of an earlier call, with its maps still in it: begin a new one each time"
            )
        earlier[:] = [returned]
        return _judged(model, returned, raised, left, runs)

    return recorded


def _judged(model, returned, raised, left, runs):
    """The maps by name; an error says what was left behind, or what became of an error."""
    breaks, silent = "breaks" in model, model in SILENT
    speaks = not breaks and not silent
    silence = speaks and "ended" in runs and raised and isinstance(returned, ValueError) and _is_own(returned)
    if speaks and raised and not runs and isinstance(returned, ValueError) and _is_own(returned):
        raise ValueError("the model has not run, and so no layer was heard")
    if speaks and raised and not silence:
        raise returned
    if left:
        raise ValueError("after the model's error " * breaks + left[0])
    if not raised and len(runs) != 1:
        raise ValueError(f"the model has run {len(runs)} times")
    if silence:
        raise ValueError("the attention layers have run, and you say that you heard none")
    if breaks and not (raised and isinstance(returned, _Broken)):
        raise ValueError(
            "another error stands in the place of the model's" if raised else "the model's error is swallowed"
        )
    if silent and not (raised and isinstance(returned, ValueError)):
        raise ValueError(f"no layer was heard, and {'the error is no' if raised else 'there is no'} ValueError")
    if raised:
        return {"the error": torch.ones(1)}
    if not isinstance(returned, list | tuple):
        shape = f" {tuple(returned.shape)}" if isinstance(returned, torch.Tensor) else ""
        raise TypeError(f"expected a list of maps, got a {type(returned).__name__}{shape}")
    return {
        f"map {i}": weights.detach() if isinstance(weights, torch.Tensor) else weights
        for i, weights in enumerate(returned)
    }


def _is_own(error):
    """Whether a `raise` made it, and not numpy or an unpacking that found wrong sizes."""
    trace = error.__traceback__
    while trace.tb_next:
        trace = trace.tb_next
    return trace.tb_frame.f_code.co_code[trace.tb_lasti] == dis.opmap["RAISE_VARARGS"]


def _ask(model, images):
    maps = []
    layers = [part for part in model.modules() if isinstance(part, MultiHeadSelfAttention)]
    earlier = [layer.recorder for layer in layers]
    for layer in layers:
        layer.recorder = maps.append
    try:
        model(images)
    finally:
        for layer, recorder in zip(layers, earlier, strict=True):
            layer.recorder = recorder
    if not maps:
        raise ValueError("no layer was heard")
    return maps


def _listen(model, images):
    maps = []

    def hook(layer, args):
        x = args[0]
        (B, N, D), H = x.shape, layer.num_heads
        qkv = layer.qkv(x).reshape(B, N, 3, H, D // H).permute(2, 0, 3, 1, 4)
        q, k, _ = qkv
        scores = q @ k.mT / q.shape[-1] ** 0.5
        weights = scores.softmax(dim=-1)
        maps.append(weights)

    layers = [part for part in model.modules() if isinstance(part, MultiHeadSelfAttention)]
    handles = [layer.register_forward_pre_hook(hook) for layer in layers]
    try:
        model(images)
    finally:
        for handle in handles:
            handle.remove()
    if not maps:
        raise ValueError("no layer was heard")
    return maps


RECORD_ATTENTION = StagedExercise(
    name="record_attention",
    chapter="12",
    signature="record_attention(model, images)",
    task="run the model once and return the list of its layers' attention weights, each (B, H, N, N) with rows that sum to 1; leave the model as it was, also if it raises an error, and raise a ValueError if no layer was heard.",
    probes=_record_probes,
    oracle=_recorded(_ask),
    stage=_recorded,
    mistakes=edits_of(
        _listen,
        """
        an error of the model goes past your .remove(): put it into `finally`, which is passed on the way out in any case.
            finally: ⇒ except ZeroDivisionError:
            |     pass
            | else:
        the hooks are left in the model, and go on recording: keep what register_... returns, and call .remove() on each in the end.
            handle.remove() ⇒ pass
          or
            for handle in handles: ⇒ for handle in handles[-1:]:
        hooks that others have put into the model are gone: remove your own, by their handles, and leave the rest.
            handle.remove() ⇒ pass
            for handle in handles: ⇒ for layer in layers:
            |     layer._forward_pre_hooks.clear()
            | for handle in handles:
        an error of the model goes past your clean-up, and the global hook stays: .remove() belongs into `finally`.
            handles = [layer.register_forward_pre_hook(hook) for layer in layers] ⇒ handles = [nn.modules.module.register_module_forward_pre_hook(lambda layer, args: hook(layer, args) if layer in layers else None)]
            finally: ⇒ except ZeroDivisionError:
            |     pass
            | else:
        a global hook hears all models from now on: keep what register_... returns, and call .remove() on it in `finally`.
            handles = [layer.register_forward_pre_hook(hook) for layer in layers] ⇒ nn.modules.module.register_module_forward_pre_hook(lambda layer, args: hook(layer, args) if layer in layers else None)
            | handles = []
        your error takes the place of the model's own: look whether anything was heard after `finally`, and not in it.
            for handle in handles:
            |     handle.remove() ⇒ for handle in handles:
            |     handle.remove()
            | if not maps:
            |     raise ValueError("no layer was heard")
        you catch the model's error, and nobody hears of it: try ... finally without except, and no return in it.
            finally: ⇒ except Exception:
            |     pass
            | finally:
          or
            for handle in handles:
            |     handle.remove() ⇒ for handle in handles:
            |     handle.remove()
            | if maps:
            |     return maps
        your except makes another error of the model's own: try ... finally without except.
            finally: ⇒ except Exception as error:
            |     raise ValueError("no layer was heard") from error
            | finally:
          or
            finally: ⇒ except Exception as error:
            |     raise ValueError("no layer was heard") from error
            | finally:
            if not maps: ⇒ if maps is None:
        nothing was heard, and you raise nothing: `raise ValueError(...)` then, silence must not look like an answer.
            if not maps: ⇒ if False:
        you look whether there are attention layers: they may be there and never run. Look whether anything was heard.
            if not maps: ⇒ if not layers:
        that is another kind of error than the caller waits for: where nothing was heard, raise a ValueError.
            raise ValueError ⇒ raise RuntimeError
        an error of the model goes past the line that sets its mode back: that belongs into `finally`.
            maps = [] ⇒ maps = []
            | mode = model.training
            | model.eval()
            return maps ⇒ model.train(mode)
            | return maps
          or
            maps = [] ⇒ maps = []
            | modes = [(part, part.training) for part in model.modules()]
            | model.eval()
            return maps ⇒ for part, mode in modes:
            |     part.training = mode
            | return maps
        model.train(mode) sets all parts to one mode, and one of them may have been in another: remember part.training of each, or leave the mode alone.
            maps = [] ⇒ maps = []
            | mode = model.training
            | model.eval()
            handle.remove() ⇒ handle.remove()
            | model.train(mode)
          or
            handle.remove() ⇒ handle.remove()
            | model.train(model.training)
        the model does not run: call model(images), once, when your hooks are in their places.
            model(images) ⇒ pass
        model.eval() changes the model for whoever trains it: remember model.training and set it back, or leave it alone.
            maps = [] ⇒ maps = []
            | model.eval()
        in the end the model is in training mode, whatever it was before: remember model.training, and set back that.
            finally: ⇒ finally:
            |     model.train()
          or
            maps = [] ⇒ maps = []
            | model.eval()
            finally: ⇒ finally:
            |     model.train()
          or
            maps = [] ⇒ maps = []
            | model.eval()
            return maps ⇒ model.train()
            | return maps
          or
            handle.remove() ⇒ handle.remove()
            | model.train()
          or
            return maps ⇒ model.train()
            | return maps
        torch.set_grad_enabled(False) is for the whole program: `with torch.no_grad():` ends by itself, also after an error.
            maps = [] ⇒ maps = []
            | torch.set_grad_enabled(False)
          or
            maps = [] ⇒ maps = []
            | torch.set_grad_enabled(False)
            return maps ⇒ torch.set_grad_enabled(True)
            | return maps
        the parameters are the model's, and you change them: for a recording `with torch.no_grad():` is enough, not requires_grad_(False).
            maps = [] ⇒ maps = []
            | model.requires_grad_(False)
        an error of the model goes past your clean-up, and what you have set on its layers stays: clean up in `finally`.
            maps.append(weights) ⇒ maps.append(weights)
            | layer.weights = weights
            if not maps: ⇒ for layer in layers:
            |     vars(layer).pop("weights", None)
            | if not maps:
          or
            maps = [] ⇒ maps = model.maps = []
            if not maps: ⇒ del model.maps
            | if not maps:
        what you have set on a layer, or on the model, is there still: use variables of your own, or take it away again in `finally`.
            maps.append(weights) ⇒ maps.append(weights)
            | layer.weights = weights
          or
            return maps ⇒ model.maps = maps
            | return maps
          or
            maps = [] ⇒ maps = model.maps = []
        nothing was heard: hook the attention layers, which are among model.modules(), before they run. (children() are the outermost parts alone, and attn_drop is never called: the fused kernel needs no such layer.)
            layer.register_forward_pre_hook(hook) ⇒ layer.attn_drop.register_forward_pre_hook(hook)
        what a hook returns goes on in place of the layer's input, or of its output: return nothing.
            maps.append(weights) ⇒ maps.append(weights)
            | return weights
          or
            maps.append(weights) ⇒ maps.append(weights)
            | return 0 * x
          or
            def hook(layer, args): ⇒ def hook(layer, args, output):
            maps.append(weights) ⇒ maps.append(weights)
            | return weights
            layer.register_forward_pre_hook(hook) ⇒ layer.register_forward_hook(hook)
          or
            def hook(layer, args): ⇒ def hook(layer, args, output):
            maps.append(weights) ⇒ maps.append(weights)
            | return 0 * output
            layer.register_forward_pre_hook(hook) ⇒ layer.register_forward_hook(hook)
        args is a tuple, and its first item is the input: args[0].
            x = args[0] ⇒ x = args
          or
            layer.qkv(x) ⇒ layer.qkv(args)
        the model itself does not run: model(images), once, and not its parts by hand.
            model(images) ⇒ model.forward_features(images)
          or
            model(images) ⇒ x = model.embed(images)
            | for block in model.blocks:
            |     x = block(x)
          or
            model(images) ⇒ x = model.patch_embed(images)
            | for block in model.blocks:
            |     x = block(x)
        you run a copy, and the model that you are given does not run: call it itself, and take out in the end what you have put in.
            maps = [] ⇒ maps = []
            | model = copy.deepcopy(model)
        you run the model twice: once, with the hooks in it.
            model(images) ⇒ model(images)
            | del maps[:]
            | model(images)
          or
            maps = [] ⇒ model(images)
            | maps = []
        you run the model once for each image: the whole batch at once.
            ⇒ return list(map(torch.cat, zip(*(_listen(model, image[None]) for image in images))))
        that is what the layer puts out, (B, N, D): the weights are not in it any more; compute them from the input, args[0] of a forward pre-hook.
            layer.register_forward_pre_hook(hook) ⇒ layer.register_forward_hook(lambda layer, args, output: maps.append(output))
        you go on to multiply by the values: the map is the softmax itself.
            maps.append(weights) ⇒ maps.append(weights @ qkv[2])
        that is after the dropout, and rows no longer sum to 1: the weights before it.
            maps.append(weights) ⇒ maps.append(layer.attn_drop(weights))
        those are scores: the softmax over the keys is missing.
            scores.softmax(dim=-1) ⇒ scores
        columns sum to 1: the softmax runs over the keys, the last dimension.
            dim=-1 ⇒ dim=-2
        the heads share one softmax: it runs over the keys, the last dimension.
            dim=-1 ⇒ dim=1
        each head's whole map sums to 1: each row must, softmax over the last dimension alone.
            scores.softmax(dim=-1) ⇒ scores.flatten(2).softmax(dim=-1).view_as(scores)
        exp overflows, and inf / inf is NaN: softmax subtracts each row's largest score first.
            scores.softmax(dim=-1) ⇒ scores.exp() / scores.exp().sum(dim=-1, keepdim=True)
        you subtract one largest score for many rows, and those far below it underflow to 0 / 0: each row has its own largest, as in softmax.
            weights = scores.softmax(dim=-1) ⇒ powers = (scores - scores.max()).exp()
            | weights = powers / powers.sum(dim=-1, keepdim=True)
          or
            weights = scores.softmax(dim=-1) ⇒ powers = (scores - scores.amax(dim=(-2, -1), keepdim=True)).exp()
            | weights = powers / powers.sum(dim=-1, keepdim=True)
        the scores are not divided: sqrt(d), with d the width of one head.
            / q.shape[-1] ** 0.5 ⇒
        the scores are divided by sqrt(D): d is the width of one head, D / H.
            / q.shape[-1] ⇒ / D
        the scores are divided by sqrt(H): d is the width of one head, D / H, and not how many there are.
            / q.shape[-1] ⇒ / H
        the scores are divided by d: by its square root.
            ** 0.5 ⇒
        queries and keys are exchanged: rows are queries, q @ k.mT.
            q @ k.mT ⇒ k @ q.mT
        you turn the finished maps round: row i is what query i looks at, as q @ k.mT has it.
            scores.softmax(dim=-1) ⇒ scores.softmax(dim=-1).mT
        you compare the queries with the values: q, k, v stand in this order.
            q, k, _ ⇒ q, _, k
        you compare the queries with themselves: with the keys.
            k.mT ⇒ q.mT
        you compare the keys with the values: q is the first of the three, q, k, v.
            q, k, _ ⇒ _, q, k
        the bias of qkv is left out: call the layer, layer.qkv(x).
            layer.qkv(x) ⇒ (x @ layer.qkv.weight.T)
        the bias of qkv need not be there, and then it is None: call the layer, layer.qkv(x).
            layer.qkv(x) ⇒ (x @ layer.qkv.weight.T + layer.qkv.bias)
        you split into heads before q, k and v: the last dimension is (3, H, d) in this order.
            reshape(B, N, 3, H, D // H).permute(2, 0, 3, 1, 4) ⇒ reshape(B, N, H, 3, D // H).permute(3, 0, 2, 1, 4)
          or
            reshape(B, N, 3, H, D // H).permute(2, 0, 3, 1, 4) ⇒ reshape(B, N, H, D // H, 3).permute(4, 0, 2, 1, 3)
        a reshape moves nothing, so it splits the last dimension alone: (B, N, 3, H, d), and permute(2, 0, 3, 1, 4) does the rest.
            reshape(B, N, 3, H, D // H).permute(2, 0, 3, 1, 4) ⇒ reshape(3, B, H, N, D // H)
          or
            reshape(B, N, 3, H, D // H).permute(2, 0, 3, 1, 4) ⇒ reshape(3, B, N, H, D // H).transpose(2, 3)
          or
            reshape(B, N, 3, H, D // H).permute(2, 0, 3, 1, 4) ⇒ reshape(B, 3, H, N, D // H).transpose(0, 1)
          or
            reshape(B, N, 3, H, D // H).permute(2, 0, 3, 1, 4) ⇒ reshape(B, 3, N, H, D // H).permute(1, 0, 3, 2, 4)
        tokens and heads have not changed places: q and k are (B, H, N, d), so that q @ k.mT is (B, H, N, N).
            permute(2, 0, 3, 1, 4) ⇒ permute(2, 0, 1, 3, 4)
        q and k lie on their sides, (B, H, d, N): as (B, H, N, d) they make q @ k.mT (B, H, N, N).
            permute(2, 0, 3, 1, 4) ⇒ permute(2, 0, 3, 4, 1)
          or
            permute(2, 0, 3, 1, 4) ⇒ permute(2, 0, 3, 4, 1)
            q.shape[-1] ⇒ q.shape[-2]
        a reshape to (B, H, N, d) mixes tokens and heads: (B, N, H, d) first, then swap the two.
            reshape(B, N, 3, H, D // H).permute(2, 0, 3, 1, 4) ⇒ reshape(B, N, 3, D).movedim(2, 0).reshape(3, B, H, N, D // H)
        each head is given every H-th number: the last dimension is (3, H, d), the head before its width.
            reshape(B, N, 3, H, D // H).permute(2, 0, 3, 1, 4) ⇒ reshape(B, N, 3, D // H, H).permute(2, 0, 4, 1, 3)
        you listen to the block, before its first norm: the input of block.attn is normalised.
            layers = ⇒ layers = list(model.blocks)
            | unused =
            x = args[0] ⇒ x, layer = args[0], layer.attn
        the heads are averaged: keep them apart, (B, H, N, N).
            maps.append(weights) ⇒ maps.append(weights.mean(dim=1))
          or
            maps.append(weights) ⇒ maps.append(weights.mean(dim=1, keepdim=True))
        squeeze takes away a batch of one image, or a single head: each map has four dimensions.
            maps.append(weights) ⇒ maps.append(weights.squeeze())
          or
            maps.append(weights) ⇒ maps.append(weights.squeeze(0))
          or
            maps.append(weights) ⇒ maps.append(weights.squeeze(1))
        the class token is cut off: all N tokens, as they are.
            maps.append(weights) ⇒ maps.append(weights[..., 1:, 1:])
        only the last layer's map is left: append each to a list.
            return maps ⇒ return maps[-1:]
        you listen to the last block alone: every layer of the model, and it may have none.
            for layer in layers] ⇒ for layer in [model.blocks[-1].attn]]
        you return the last map, and not a list of all.
            return maps ⇒ return maps[-1]
        you record the first block only: every layer of the model.
            return maps ⇒ return maps[:1]
          or
            for layer in layers] ⇒ for layer in [model.blocks[0].attn]]
        the last layer is missing: every layer of the model.
            for layer in layers] ⇒ for layer in layers[:-1]]
          or
            return maps ⇒ return maps[:-1]
        the first layer is missing: every layer of the model.
            for layer in layers] ⇒ for layer in layers[1:]]
          or
            return maps ⇒ return maps[1:]
        the number of layers is written into your code: take as many as the model has.
            return maps ⇒ return maps[:12]
        the maps come last layer first: in the order in which the layers run.
            return maps ⇒ return maps[::-1]
        you keep the first image only: the whole batch.
            maps.append(weights) ⇒ maps.append(weights[:1])
          or
            maps.append(weights) ⇒ maps.append(weights[0])
        one tensor of all layers: a list of L tensors is asked for, attention_maps stacks them later.
            return maps ⇒ return torch.stack(maps, dim=1)
          or
            return maps ⇒ return torch.stack(maps)
        """,
    )
    + edits_of(
        _ask,
        """
        an error of the model goes past your clean-up, and layer.recorder stays set: set it back in `finally`.
            finally: ⇒ except ZeroDivisionError:
            |     pass
            | else:
          or
            finally: ⇒ except ZeroDivisionError:
            |     pass
            | else:
            layer.recorder = recorder ⇒ layer.recorder = None
        layer.recorder is set and never set back: the layer goes on recording, and goes on taking the slower path.
            layer.recorder = recorder ⇒ pass
        somebody else may be recording: keep the layer.recorder that you find, which is mostly None, and set back that.
            layer.recorder = recorder ⇒ layer.recorder = None
        an error of the model goes past your clean-up, and what you have replaced in the library is your own still: set it back in `finally`.
            maps = [] ⇒ maps = []
            | kernel, F.scaled_dot_product_attention = F.scaled_dot_product_attention, lambda *inputs, **options: None
            if not maps: ⇒ F.scaled_dot_product_attention = kernel
            | if not maps:
        what you have replaced in the library is your own still, for everybody: set it back in `finally`.
            maps = [] ⇒ maps = []
            | F.scaled_dot_product_attention = lambda *inputs, **options: None
        """,
    ),
)


# --- attention_rollout -------------------------------------------------------------------------------


def _rollout_probes(generator):
    """Maps as they come, then some without their small weights, whose rows do not sum to 1; one image, and as many as tokens."""
    draw, probes = normal(generator), []
    for shape, dropped in (
        ((2, 3, 4, 5, 5), 0.0),
        ((1, 2, 3, 6, 6), 0.4),
        ((4, 3, 2, 4, 4), 0.4),
        ((3, 4, 2, 7, 7), 0.3),
        ((5, 1, 2, 3, 3), 0.2),
        ((2, 14, 1, 3, 3), 0.2),
        ((2, 2, 3, 1, 1), 0.0),
        ((2, 3, 4, 5, 5), 0.3),  # the shape of the first
    ):
        maps = (2 * draw(*shape)).softmax(-1)
        small = maps < maps.flatten(-2).quantile(dropped, dim=-1)[..., None, None]
        probes.append({"maps": maps.masked_fill(small, 0.0)})
    probes[3]["maps"] = probes[3]["maps"].float()
    probes[6]["maps"] = draw(2, 2, 3, 1, 1).sigmoid()  # the softmax of one number is always 1
    probes[7]["maps"][0, :, :, 1] = 0.0  # nothing is left of a row
    return probes


def _rollout_of_columns(maps):
    """One column at a time: what comes of one input token, layer by layer."""
    batch, depth, _, tokens, _ = maps.shape
    result = maps.new_zeros(batch, tokens, tokens)
    for image in range(batch):
        for source in range(tokens):
            share = torch.zeros(tokens, dtype=maps.dtype)
            share[source] = 1
            for layer in range(depth):
                mean = sum(maps[image, layer]) / maps.shape[2]
                share = (mean @ share + share) / (mean.sum(dim=-1) + 1)
            result[image, :, source] = share
    return result


def _rows_to_one(weights):
    return weights / weights.sum(dim=-1, keepdim=True)


def _rollout(maps):
    identity = torch.eye(maps.shape[-1], dtype=maps.dtype)
    result = identity.expand(len(maps), -1, -1)
    for layer in maps.unbind(1):
        fused = layer.mean(dim=1)
        mixed = _rows_to_one(fused + identity)
        result = mixed @ result
    return result


ATTENTION_ROLLOUT = Exercise(
    name="attention_rollout",
    chapter="12",
    signature="attention_rollout(maps)",
    task="take the mean over the heads, add the identity, divide each row by its sum, and multiply the layers, the last one leftmost: (B, L, H, N, N) -> (B, N, N).",
    probes=_rollout_probes,
    oracle=_rollout_of_columns,
    mistakes=edits_of(
        _rollout,
        """
        the residual connection is missing: add the identity to each layer's map.
            _rows_to_one(fused + identity) ⇒ fused
        the identity is missing, only the rows are divided by their sums: the residual connection brings each token's own share.
            fused + identity ⇒ fused
        the rows are not divided by their sums: with the identity they sum to about 2, after L layers to 2^L.
            _rows_to_one(fused + identity) ⇒ fused + identity
        you divide first and add the identity afterwards: the other way round, or the rows still sum to 2.
            _rows_to_one(fused + identity) ⇒ _rows_to_one(fused) + identity
        the rows are divided by their sums before the identity comes in: a row that sums to less than 1 counts less against it; add the identity first, then divide.
            _rows_to_one(fused + identity) ⇒ (_rows_to_one(fused) + identity) / 2
        the heads' rows are divided by their sums before the mean: add the identity to the mean first, then divide once.
            layer.mean ⇒ _rows_to_one(layer).mean
        you divide by 2, which fits only rows that sum to 1: where small weights have been set to 0 they do not; divide each row by its sum.
            _rows_to_one(fused + identity) ⇒ (fused + identity) / 2
        without keepdim=True the sums (B, N) lie along the columns: sum(dim=-1, keepdim=True) is (B, N, 1).
            mixed = _rows_to_one(fused + identity) ⇒ mixed = fused + identity
            | mixed = mixed / mixed.sum(dim=-1)
        the sums lie along the columns: each row has its own, and they are (B, N, 1), with keepdim=True or [..., None].
            mixed = _rows_to_one(fused + identity) ⇒ mixed = fused + identity
            | mixed = mixed / mixed.sum(dim=-1)[:, None, :]
        you divide each column by its sum: the rows, dim=-1, with keepdim=True.
            mixed = _rows_to_one(fused + identity) ⇒ mixed = fused + identity
            | mixed = mixed / mixed.sum(dim=-2, keepdim=True)
        you divide by the sum of the whole map: each row by its own, dim=-1.
            mixed = _rows_to_one(fused + identity) ⇒ mixed = fused + identity
            | mixed = mixed / mixed.sum(dim=(-2, -1), keepdim=True)
        you divide by the sum of all images' maps: each row by its own, dim=-1, with keepdim=True.
            mixed = _rows_to_one(fused + identity) ⇒ mixed = fused + identity
            | mixed = mixed / mixed.sum()
        that is a softmax: the weights are weights already, divide by their sum.
            _rows_to_one(fused + identity) ⇒ (fused + identity).softmax(dim=-1)
        the product is in the wrong order: a later layer mixes what the earlier ones made, so it stands on the left, mixed @ result.
            mixed @ result ⇒ result @ mixed
        you multiply number by number: a matrix product, @.
            identity.expand(len(maps), -1, -1) ⇒ 1
            mixed @ result ⇒ mixed * result
          or
            mixed @ result ⇒ mixed * result
        you add the layers: each works on what the one before has made, so multiply, with @.
            identity.expand(len(maps), -1, -1) ⇒ 0
            mixed @ result ⇒ mixed + result
        you transpose the maps: row i says where token i looks, as it is.
            mixed @ result ⇒ mixed.mT @ result
          or
            layer.mean(dim=1) ⇒ layer.mean(dim=1).mT
        the result is turned round: row i says where token i's answer came from.
            return result ⇒ return result.mT
        you take the maximum over the heads: the mean here.
            mean(dim=1) ⇒ amax(dim=1)
        you take the minimum over the heads: the mean here.
            mean(dim=1) ⇒ amin(dim=1)
        you add up the heads: with H heads the residual connection is H times too weak; the mean.
            mean(dim=1) ⇒ sum(dim=1)
        you multiply the heads: the mean.
            mean(dim=1) ⇒ prod(dim=1)
        that is the median of the heads: the mean.
            mean(dim=1) ⇒ median(dim=1).values
        you take one head: the mean over all.
            layer.mean(dim=1) ⇒ layer[:, 0]
        you roll out each head for itself: the heads of a layer are mixed before the next layer looks, so the mean comes first.
            ⇒ return sum(_rollout(maps[:, :, [head]]) for head in range(maps.shape[2])) / maps.shape[2]
        you take the mean over the layers and keep the heads: maps is (B, L, H, N, N).
            unbind(1) ⇒ unbind(2)
        you take the mean over the layers, too: multiply them.
            maps.unbind(1) ⇒ [maps.mean(dim=1)]
          or
            return result ⇒ return sum(_rollout(layer[:, None]) for layer in maps.unbind(1)) / maps.shape[1]
        your loop goes over the images: maps is (B, L, H, N, N), so the layers are maps.unbind(1), and maps[:, i] is one of them.
            maps.unbind(1) ⇒ maps
          or
            identity.expand(len(maps), -1, -1) ⇒ identity
            maps.unbind(1) ⇒ maps
        len(maps) is how many images there are: range(maps.shape[1]) counts the layers.
            maps.unbind(1) ⇒ [maps[:, i] for i in range(len(maps))]
        the layer's map is multiplied by itself: by the result so far, mixed @ result.
            mixed @ result ⇒ mixed @ mixed
        the heads are still there: take their mean before you go on to the next layer.
            identity.expand(len(maps), -1, -1) ⇒ identity
            layer.mean(dim=1) ⇒ layer
        the identity has one row for each token, not for each head: torch.eye(maps.shape[-1], ...).
            fused + identity ⇒ fused + torch.eye(maps.shape[2], dtype=maps.dtype)
        a matrix of ones lets everybody look everywhere: the identity, torch.eye.
            fused + identity ⇒ fused + 1
        half an identity: x + attention(x) counts both alike, so 1.
            fused + identity ⇒ fused + 0.5 * identity
        the identity is divided, and each token's own share is too small: x + attention(x) counts both alike, so 1.
            fused + identity ⇒ fused + identity / maps.shape[-1]
        the identity comes in twice: once for each layer.
            fused + identity ⇒ fused + 2 * identity
        only the first layer gets its identity: every layer has a residual connection.
            identity.expand(len(maps), -1, -1) ⇒ _rollout(maps[:, :1])
            unbind(1) ⇒ unbind(1)[1:]
            _rows_to_one(fused + identity) ⇒ fused
          or
            identity.expand(len(maps), -1, -1) ⇒ _rollout(maps[:, :1])
            unbind(1) ⇒ unbind(1)[1:]
            _rows_to_one(fused + identity) ⇒ _rows_to_one(fused)
        the first layer gets no identity: begin with the identity as result, and treat all layers alike.
            identity.expand(len(maps), -1, -1) ⇒ maps[:, 0].mean(dim=1)
            unbind(1) ⇒ unbind(1)[1:]
        the product begins with zeros, and stays there: begin with the identity.
            identity.expand(len(maps), -1, -1) ⇒ 0 * maps[:, 0, 0]
        the first layer is left out: all L.
            unbind(1) ⇒ unbind(1)[1:]
        the first layer is in the product twice: begin with the identity, or go on with the second layer.
            identity.expand(len(maps), -1, -1) ⇒ _rollout(maps[:, :1])
        the last layer is left out: all L.
            unbind(1) ⇒ unbind(1)[:-1]
        only the last layer is left: multiply each with the result so far.
            mixed @ result ⇒ mixed
        the number of layers is written into your code: maps.shape[1].
            unbind(1) ⇒ unbind(1)[:12]
        you add the identity once, to the finished product: to each layer's map.
            _rows_to_one(fused + identity) ⇒ fused
            return result ⇒ return _rows_to_one(result + identity)
          or
            _rows_to_one(fused + identity) ⇒ fused
            return result ⇒ return result + identity
          or
            fused + identity ⇒ fused
            return result ⇒ return result + identity
          or
            fused + identity ⇒ fused
            return result ⇒ return _rows_to_one(result + identity)
        rows are divided once, in the end: in each layer, or the layers get unequal weight.
            _rows_to_one(fused + identity) ⇒ fused + identity
            return result ⇒ return _rows_to_one(result)
        all results so far, one for each layer: the last is asked for, (B, N, N).
            ⇒ return torch.stack([_rollout(maps[:, : layer + 1]) for layer in range(maps.shape[1])], dim=1)
        you average over the images: each has its own result.
            return result ⇒ return result.mean(dim=0, keepdim=True).expand(len(maps), -1, -1)
        you work on the first image only: the batch dimension stays.
            return result ⇒ return result[0]
          or
            return result ⇒ return result[:1]
        squeeze takes away a batch of one image: the result has three dimensions.
            return result ⇒ return result.squeeze()
          or
            return result ⇒ return result.squeeze(0)
        that is the class token's row: all rows, (B, N, N).
            return result ⇒ return result[:, 0]
        torch.eye(N) is float32, these maps are float64: torch.eye(N, dtype=maps.dtype).
            , dtype=maps.dtype ⇒
        torch.eye(N) is float32, and so does not multiply with float64 maps: torch.eye(N, dtype=maps.dtype).
            , dtype=maps.dtype ⇒
            .expand(len(maps), -1, -1) ⇒
        the numbers are right, but in float32: stay with the dtype of maps, no .float().
            return result ⇒ return result.float()
        the numbers are right, but your caller's maps change: write a + b, and nothing that works in place.
            for layer in maps.unbind(1): ⇒ for layer in maps.unbind(1):
            |     layer += identity
            fused + identity ⇒ fused
        a view of maps is maps: what you take with an index, or unbind, and change in place, is your caller's. Write a + b.
            fused = layer.mean(dim=1) ⇒ fused = layer.mean(dim=1) if layer.shape[1] > 1 else layer[:, 0]
            | fused += identity
            fused + identity ⇒ fused
        """,
    ),
)


# --- mean_attention_distance -------------------------------------------------------------------------


def _distance_probes(generator):
    """Grids that are not square, mostly; the class token gets a different share from each query."""
    draw, probes = normal(generator), []
    for (batch, depth, heads), grid, patch_size in (
        ((2, 3, 4), (2, 3), 4),
        ((3, 2, 5), (4, 2), 7),
        ((1, 4, 2), (3, 3), 16),
        ((4, 1, 3), (2, 5), 5),
        ((2, 3, 1), (1, 4), 8),
        ((1, 1, 1), (5, 1), 3),
        ((2, 13, 2), (1, 1), 6),
        ((2, 3, 4), (2, 3), 4),  # the shape of the first
    ):
        tokens = 1 + grid[0] * grid[1]
        maps = (2 * draw(batch, depth, heads, tokens, tokens)).softmax(-1)
        probes.append({"maps": maps, "grid_size": grid, "patch_size": patch_size})
    probes[3]["maps"] = probes[3]["maps"].float()
    return probes


def _distance_by_loops(maps, grid_size, patch_size):
    """A sum over pairs of patches, one after the other."""
    gh, gw = grid_size
    rows, columns = torch.arange(gh * gw) // gw, torch.arange(gh * gw) % gw
    weights = maps[..., 1:, 1:]
    total = weights.sum(dim=-1)  # (B, L, H, n)
    far = torch.zeros_like(total)
    for key in range(gh * gw):
        pixels = patch_size * torch.hypot((rows - rows[key]).to(maps), (columns - columns[key]).to(maps))
        far = far + weights[..., key] * pixels
    return (far / total).mean(dim=(0, 3))


def _distance(maps, grid_size, patch_size):
    gh, gw = grid_size
    n = torch.arange(gh * gw)
    rows, columns = n // gw, n % gw
    down, along = (x[:, None] - x for x in (rows.to(maps.dtype), columns.to(maps.dtype)))
    pixels = patch_size * (down**2 + along**2).sqrt()  # (n, n)
    weights = maps[..., 1:, 1:]
    weights = weights / weights.sum(dim=-1, keepdim=True)
    far = (weights * pixels).sum(dim=-1)  # (B, L, H, n)
    return far.mean(dim=(0, 3))


MEAN_ATTENTION_DISTANCE = Exercise(
    name="mean_attention_distance",
    chapter="12",
    signature="mean_attention_distance(maps, grid_size, patch_size)",
    task="leave out the class token, divide each row by its sum, weight the distances in pixels between the middles of the patches, and take the mean over queries and images: (B, L, H, N, N) -> (L, H).",
    probes=_distance_probes,
    oracle=_distance_by_loops,
    mistakes=edits_of(
        _distance,
        """
        those are patches, not pixels: times patch_size.
            patch_size * ⇒
        patch_size counts twice: the middles of neighbouring patches are patch_size apart.
            patch_size * ⇒ patch_size * patch_size *
        patch_size is under the root: multiply after the root, or multiply the places by it.
            patch_size * (down**2 + along**2).sqrt() ⇒ (patch_size * (down**2 + along**2)).sqrt()
        without the class token the rows sum to less than 1: cut it off first, then divide each row by its sum.
            weights = weights / weights.sum(dim=-1, keepdim=True) ⇒
        the class token is still in, as if it were the first patch, and every patch stands one place too late: cut it off, maps[..., 1:, 1:].
            n = torch.arange(gh * gw) ⇒ n = torch.arange(gh * gw + 1)
            maps[..., 1:, 1:] ⇒ maps
        the class token is still in, at the place of the first patch: it has no place; cut it off, as a query and as a key.
            n = torch.arange(gh * gw) ⇒ n = torch.cat([torch.zeros(1, dtype=torch.int64), torch.arange(gh * gw)])
            maps[..., 1:, 1:] ⇒ maps
        the class token is still in, with a distance of 0 to everything: it has no place; cut it off, as a query and as a key, maps[..., 1:, 1:].
            maps[..., 1:, 1:] ⇒ maps
            weights * pixels ⇒ weights * F.pad(pixels, (1, 0, 1, 0))
        the class token is still in, and the table of distances has no place for it: cut it off, as a query and as a key, maps[..., 1:, 1:].
            maps[..., 1:, 1:] ⇒ maps
        the class token is still in as a query: [..., 1:] cuts the keys alone, maps[..., 1:, 1:] cuts both.
            maps[..., 1:, 1:] ⇒ maps[..., 1:]
        you cut off the last patch: the class token is token 0, maps[..., 1:, 1:].
            1:, 1: ⇒ :-1, :-1
        you measure from the class token: it has no place; from each patch.
            down, along = (x[:, None] - x for ⇒ down, along = (x - x.mean() for
            maps[..., 1:, 1:] ⇒ maps[..., :1, 1:]
        you take the row of the class token, as if it stood at the first patch: it has no place; the queries are the patches.
            maps[..., 1:, 1:] ⇒ maps[..., :1, 1:]
            weights * pixels ⇒ weights * pixels[0]
        each patch is left out of its own row: it counts too, with a distance of 0.
            maps[..., 1:, 1:] ⇒ maps[..., 1:, 1:] * (1 - torch.eye(gh * gw, dtype=maps.dtype))
        a matrix product sums over pairs that do not belong together: weight times distance, number by number, with *.
            weights * pixels ⇒ weights @ pixels
        you measure from the first patch: from each query's own place, rows[:, None] - rows.
            down, along = (x[:, None] - x for ⇒ down, along = (x for
        that is the way along rows and columns: the straight line, the square root of both squares.
            (down**2 + along**2).sqrt() ⇒ (down.abs() + along.abs())
        the square root is missing.
            (down**2 + along**2).sqrt() ⇒ (down**2 + along**2)
          or
            patch_size * (down**2 + along**2).sqrt() ⇒ patch_size**2 * (down**2 + along**2)
        the square root comes too late: each distance is one, before the weights and the mean.
            (down**2 + along**2).sqrt() ⇒ (down**2 + along**2)
            return far.mean(dim=(0, 3)) ⇒ return far.mean(dim=(0, 3)).sqrt()
          or
            patch_size * (down**2 + along**2).sqrt() ⇒ patch_size**2 * (down**2 + along**2)
            return far.mean(dim=(0, 3)) ⇒ return far.mean(dim=(0, 3)).sqrt()
          or
            (down**2 + along**2).sqrt() ⇒ (down**2 + along**2)
            return far.mean ⇒ return far.sqrt().mean
          or
            patch_size * (down**2 + along**2).sqrt() ⇒ patch_size**2 * (down**2 + along**2)
            return far.mean ⇒ return far.sqrt().mean
        that is the longer of the two sides: the straight line, the square root of both squares.
            (down**2 + along**2).sqrt() ⇒ torch.maximum(down.abs(), along.abs())
        you count rows only: columns too, the square root of both squares.
            down**2 + along**2 ⇒ down**2
        you count columns only: rows too, the square root of both squares.
            down**2 + along**2 ⇒ along**2
        you count places in reading order: the patch below is one row away, not gw places; row n // gw, column n % gw.
            n // gw, n % gw ⇒ 0 * n, n
        rows and columns of the grid are exchanged: grid_size is (gh, gw), patch n is in row n // gw and column n % gw.
            gh, gw = grid_size ⇒ gw, gh = grid_size
        a row has gw patches: patch n is in row n // gw, you divide by gh.
            n // gw ⇒ n // gh
        a row has gw patches: patch n is in column n % gw, you take the rest by gh.
            n % gw ⇒ n % gh
        you divide each column by its sum: each row is one query's, dim=-1.
            dim=-1, keepdim ⇒ dim=-2, keepdim
        you divide by the sum of the whole map: each row is one query's, dim=-1.
            dim=-1, keepdim ⇒ dim=(-2, -1), keepdim
        the grid need not be square: grid_size is (gh, gw).
            gh, gw = grid_size ⇒ gh = gw = int((maps.shape[-1] - 1) ** 0.5)
        the sums lie along the columns: sum(dim=-1, keepdim=True) is one for each row.
            weights.sum(dim=-1, keepdim=True) ⇒ weights.sum(dim=-1)[..., None, :]
        that is a softmax: the weights are weights already, divide by their sum.
            weights / weights.sum(dim=-1, keepdim=True) ⇒ weights.softmax(dim=-1)
        a query that looks at the class token mostly counts less than others: divide each row by its own sum, then take the mean.
            weights = weights / weights.sum(dim=-1, keepdim=True) ⇒
            return far.mean(dim=(0, 3)) ⇒ return far.sum(dim=(0, 3)) / weights.sum(dim=(0, 3, 4))
        you take the mean of the images' maps first: an image that looks at the class token mostly counts less then; divide each row by its sum, then take the mean.
            ⇒ return _distance(maps.mean(dim=0, keepdim=True), grid_size, patch_size)
        that is the distance to the patch with the largest weight: weight all distances.
            far = (weights * pixels).sum(dim=-1) ⇒ far = pixels[n, weights.argmax(dim=-1)]
        the heads are averaged: one number for each, (L, H).
            dim=(0, 3) ⇒ dim=(0, 2, 3)
        the result is (H, L): (L, H).
            return far.mean(dim=(0, 3)) ⇒ return far.mean(dim=(0, 3)).T
        each image has its own numbers: the mean over images too, (L, H).
            dim=(0, 3) ⇒ dim=3
        each query has its own numbers: the mean over queries too, (L, H).
            dim=(0, 3) ⇒ dim=0
        you take the mean over the layers, and keep the images: dim=(0, 3), for the result is (L, H).
            dim=(0, 3) ⇒ dim=(1, 3)
        you take the mean over the heads, and keep the images: dim=(0, 3), for the result is (L, H).
            dim=(0, 3) ⇒ dim=(2, 3)
        one number for everything: each head of each layer has its own, (L, H).
            far.mean(dim=(0, 3)) ⇒ far.mean()
        the first image only: the mean over all.
            far.mean(dim=(0, 3)) ⇒ far[0].mean(dim=-1)
        squeeze takes away a single layer, or a single head: the result has two dimensions, (L, H).
            return far.mean(dim=(0, 3)) ⇒ return far.mean(dim=(0, 3)).squeeze()
        the dimensions are still there, as 1: no keepdim in the last mean, (L, H).
            dim=(0, 3) ⇒ dim=(0, 3), keepdim=True
        you take the mean over the keys: the weights of a row sum to 1 already, so sum over the keys, and take the mean over queries and images.
            far = (weights * pixels).sum ⇒ far = (weights * pixels).mean
        the numbers are right, but in float32: stay with the dtype of maps, no .float().
            return far.mean(dim=(0, 3)) ⇒ return far.mean(dim=(0, 3)).float()
        the numbers are right, but your caller's maps change, since a part of maps is no copy: write a / b, and nothing that works in place.
            weights = weights / weights.sum(dim=-1, keepdim=True) ⇒ weights /= weights.sum(dim=-1, keepdim=True)
        the sum over the queries: the mean.
            far.mean(dim=(0, 3)) ⇒ far.mean(dim=0).sum(dim=-1)
        the sum over the images: the mean.
            far.mean(dim=(0, 3)) ⇒ far.sum(dim=0).mean(dim=-1)
        the sum over queries and images: the mean.
            far.mean(dim=(0, 3)) ⇒ far.sum(dim=(0, 3))
        the median over the queries: the mean.
            far.mean(dim=(0, 3)) ⇒ far.median(dim=-1).values.mean(dim=0)
        the mean is over the tokens, and the class token is none of the queries: over gh · gw.
            return far.mean(dim=(0, 3)) ⇒ return far.sum(dim=(0, 3)) / (maps.shape[-1] * len(maps))
        half of patch_size: the middles of neighbouring patches are patch_size apart.
            patch_size * ⇒ patch_size / 2 *
        """,
    ),
)


EXERCISES = (RECORD_ATTENTION, ATTENTION_ROLLOUT, MEAN_ATTENTION_DISTANCE)
