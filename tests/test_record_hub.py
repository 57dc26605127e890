"""The attention layers of Hugging Face's models are recorded as the course's own: same weights, nothing left behind."""

import copy

import pytest
import torch

from course_lib.interpret import attention_maps, attention_rollout, record_attention

transformers = pytest.importorskip("transformers")
pytestmark = pytest.mark.slow
SMALL = {"hidden_size": 12, "num_hidden_layers": 2, "num_attention_heads": 3, "intermediate_size": 20}
SMALL |= {"image_size": 8, "patch_size": 4}
KINDS = {  # config, model: prefix tokens
    ("ViTConfig", "ViTModel"): 1,
    ("DeiTConfig", "DeiTModel"): 2,
    ("Dinov2Config", "Dinov2Model"): 1,
    ("Dinov2WithRegistersConfig", "Dinov2WithRegistersModel"): 5,
    ("DINOv3ViTConfig", "DINOv3ViTModel"): 1,
    ("BeitConfig", "BeitModel"): 1,
    ("CLIPVisionConfig", "CLIPVisionModel"): 1,
    ("SiglipVisionConfig", "SiglipVisionModel"): 0,
}
IDS = [kind[1] for kind in KINDS]


def model_of(kind, implementation="sdpa"):
    config, model = kind
    torch.manual_seed(0)
    options = SMALL | ({"use_relative_position_bias": True} if config == "BeitConfig" else {})
    built = getattr(transformers, model)(getattr(transformers, config)(**options, attn_implementation=implementation))
    for parameter in built.parameters():
        torch.nn.init.normal_(parameter, std=0.4)
    return built.double().eval()


def images_of():
    return torch.randn(2, 3, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("kind", KINDS, ids=IDS)
@pytest.mark.parametrize("implementation", ["sdpa", "eager"])
def test_weights_are_those_that_the_model_gives_itself(kind, implementation):
    model, eager = model_of(kind, implementation), model_of(kind, "eager")
    with torch.no_grad():
        own = eager(images_of(), output_attentions=True)
        before = model(images_of())
        maps = attention_maps(model, images_of())
        after = model(images_of())
    # transformers takes the softmax in float32, whatever the model is
    torch.testing.assert_close(maps, torch.stack(own.attentions, 1).double(), rtol=0, atol=1e-6)
    assert maps.shape == (2, 2, 3, 4 + KINDS[kind], 4 + KINDS[kind])
    assert torch.equal(before.last_hidden_state, after.last_hidden_state)
    assert attention_rollout(maps).shape == (2, 4 + KINDS[kind], 4 + KINDS[kind])


@pytest.mark.parametrize("kind", KINDS, ids=IDS)
def test_the_answer_stays_and_gradients_reach_the_weights(kind):
    model = model_of(kind)
    plain = model(images_of()).last_hidden_state
    with record_attention(model) as maps:
        found = model(images_of()).last_hidden_state
    torch.testing.assert_close(found, plain, rtol=0, atol=1e-12)
    gradients = torch.autograd.grad(found.square().sum(), maps)
    assert all(gradient.abs().sum() > 0 for gradient in gradients[:1])


def test_nothing_is_left_behind_and_a_copy_is_not_recorded():
    model = model_of(("ViTConfig", "ViTModel"))
    layers = [part for part in model.modules() if hasattr(part, "q_proj") or hasattr(part, "query")]
    configs = [layer.config for layer in layers]
    with record_attention(model) as maps:
        twin = copy.deepcopy(model)
        twin(images_of())
        assert not maps
        model(images_of())
    assert len(maps) == 2 and all(map(lambda layer, config: layer.config is config, layers, configs))
    assert twin.config._attn_implementation == "sdpa"
    twins = [part for part in twin.modules() if hasattr(part, "q_proj") or hasattr(part, "query")]
    assert {type(part.config) for part in twins} == {transformers.ViTConfig}


def test_words_that_attend_to_earlier_words_are_refused():
    text = {"hidden_size": 12, "num_hidden_layers": 2, "num_attention_heads": 3, "intermediate_size": 20}
    config = transformers.CLIPTextConfig(**text, vocab_size=30, attn_implementation="sdpa")
    model = transformers.CLIPTextModel(config).eval()
    with pytest.raises(ValueError, match="only where all tokens attend to all.*vision_model"), record_attention(model):
        model(torch.randint(3, 29, (1, 5)))
