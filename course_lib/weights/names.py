"""How each library names the tensors of a Vision Transformer, as rules that lead to timm's names. Chapter 06.

A rule is (pattern, replacement) of a regular expression; all are applied in turn. What stands in the file as several
tensors, and as one in timm's names, leaves them as `attn.query`, `attn.key`, `attn.value`, `mlp.gate`, `mlp.up`,
`attn_pool.key` and so on: `convert` lays them together.
"""

Rules = tuple[tuple[str, str], ...]

# A tensor that only the files of that kind have, once in each model. Before it stands what the model was wrapped into.
MARKERS = {
    "timm": ("patch_embed.proj.weight",),
    "torchvision": ("conv_proj.weight",),
    "huggingface": ("embeddings.patch_embeddings.projection.weight", "embeddings.patch_embeddings.weight"),
    "huggingface/clip": ("embeddings.patch_embedding.weight",),
    "openai": ("ln_pre.weight",),
    "google": ("embedding/kernel",),
}

OWNERS = {
    "timm": "timm's",
    "meta": "Meta's",
    "torchvision": "torchvision's",
    "huggingface": "Hugging Face's",
    "huggingface/clip": "Hugging Face's",
    "openai": "OpenAI's",
    "google": "Google's",
}

# What wrappers put into the middle of names.
INNER_WRAPPERS = r"(?<=\.)(?:_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module)\."

# Of several models in one file, the one that is meant to be used: the averaged one, or the one that is trained on.
PREFERRED = ("state_dict_ema", "model_ema", "ema_model", "teacher", "base_encoder", "target_encoder")

# Parts that belong to the training and not to the model: named, and left out.
TRAINING_PARTS = r"decoder[._]|(?:embeddings\.)?mask_token$|embeddings\.position_ids$|rope_embed\.periods$|.*\.bias_mask$|local_cls_norm\."

# Of the models that are named as timm's are, those of Meta's code (MAE, DINOv2, DINOv3) have one of these.
META = r"mask_token$|register_tokens$|storage_tokens$|blocks\.\d+\.\d+\."

# Heads that stand beside the model they belong to, not in it.
HEADS_BESIDE = r"(?:classifier|cls_classifier|distillation_classifier|visual_projection)\."

# timm's own, older ones of timm, and Meta's code (DeiT, DINO, DINOv2, DINOv3), which timm follows but for these.
TIMM: Rules = (
    (r"^blocks\.\d+\.(\d+)\.", r"blocks.\1."),  # DINOv2's chunks
    (r"^(?:register|storage)_tokens$", "reg_token"),
    (r"\.gamma_([12])$", r".ls\1.gamma"),
    (r"\.mlp\.w12\.", ".mlp.fc1."),
    (r"\.mlp\.(?:w1|fc1_g)\.", ".mlp.gate."),
    (r"\.mlp\.(?:w2|fc1_x)\.", ".mlp.up."),
    (r"\.mlp\.w3\.", ".mlp.fc2."),
    (r"\.attn\.q(?:_bias$|_proj\.bias$)", ".attn.query.bias"),
    (r"\.attn\.v(?:_bias$|_proj\.bias$)", ".attn.value.bias"),
    (r"\.attn\.k_proj\.bias$", ".attn.key.bias"),
    (r"\.attn\.q_proj\.weight$", ".attn.query.weight"),
    (r"\.attn\.k_proj\.weight$", ".attn.key.weight"),
    (r"\.attn\.v_proj\.weight$", ".attn.value.weight"),
)

TORCHVISION: Rules = (
    (r"conv_proj\.", "patch_embed.proj."),
    (r"class_token", "cls_token"),
    (r"encoder\.pos_embedding", "pos_embed"),
    (r"encoder\.layers\.encoder_layer_(\d+)\.", r"blocks.\1."),
    (r"ln_1\.", "norm1."),
    (r"ln_2\.", "norm2."),
    (r"self_attention\.in_proj_", "attn.qkv."),
    (r"self_attention\.out_proj\.", "attn.proj."),
    (r"mlp\.(linear_1|0)\.", "mlp.fc1."),  # linear_1 in the published files, 0 in memory
    (r"mlp\.(linear_2|3)\.", "mlp.fc2."),
    (r"encoder\.ln\.", "norm."),
    (r"heads\.pre_logits\.", "pre_logits.fc."),
    (r"^heads\.(?:head\.)?", "head."),
)

# ViT, DeiT, MAE, DINO, DINOv2 (with registers), DINOv3: the names on the hub and those in memory since transformers 5.
HUGGINGFACE: Rules = (
    (r"^embeddings\.patch_embeddings\.(?:projection\.)?", "patch_embed.proj."),
    (r"^embeddings\.cls_token", "cls_token"),
    (r"^embeddings\.distillation_token", "dist_token"),
    (r"^embeddings\.register_tokens", "reg_token"),
    (r"^embeddings\.position_embeddings", "pos_embed"),
    (r"^(?:encoder\.layer|model\.layer|layers|layer)\.(\d+)\.", r"blocks.\1."),
    (r"attention\.attention\.(query|key|value)\.", r"attn.\1."),
    (r"attention\.q_proj\.", "attn.query."),
    (r"attention\.k_proj\.", "attn.key."),
    (r"attention\.v_proj\.", "attn.value."),
    (r"attention\.(?:output\.dense|o_proj)\.", "attn.proj."),
    (r"layer_scale([12])\.lambda1", r"ls\1.gamma"),
    (r"layernorm_before\.", "norm1."),
    (r"layernorm_after\.", "norm2."),
    (r"intermediate\.dense\.", "mlp.fc1."),
    (r"(?<=\d\.)output\.dense\.", "mlp.fc2."),
    (r"mlp\.weights_in\.", "mlp.fc1."),
    (r"mlp\.(?:weights_out|down_proj)\.", "mlp.fc2."),
    (r"mlp\.gate_proj\.", "mlp.gate."),
    (r"mlp\.up_proj\.", "mlp.up."),
    (r"^layernorm\.", "norm."),
    (r"^pooler\.dense\.", "pre_logits.fc."),
    (r"^(?:cls_)?classifier\.", "head."),
    (r"^distillation_classifier\.", "head_dist."),
)

# The vision towers of CLIP and SigLIP.
HUGGINGFACE_CLIP: Rules = (
    (r"^head\.probe$", "attn_pool.latent"),
    (r"^head\.attention\.in_proj_", "attn_pool.qkv."),
    (r"^head\.attention\.out_proj\.", "attn_pool.proj."),
    (r"^head\.layernorm\.", "attn_pool.norm."),
    (r"^head\.mlp\.", "attn_pool.mlp."),
    (r"^visual_projection\.", "head."),
    (r"^embeddings\.class_embedding$", "cls_token"),
    (r"^embeddings\.patch_embedding\.", "patch_embed.proj."),
    (r"^embeddings\.position_embedding\.weight$", "pos_embed"),
    (r"^pre_layrnorm\.", "norm_pre."),
    (r"^post_layernorm\.", "norm."),
    (r"^encoder\.layers\.(\d+)\.", r"blocks.\1."),
    (r"self_attn\.q_proj\.", "attn.query."),
    (r"self_attn\.k_proj\.", "attn.key."),
    (r"self_attn\.v_proj\.", "attn.value."),
    (r"self_attn\.out_proj\.", "attn.proj."),
    (r"layer_norm([12])\.", r"norm\1."),
)

# The vision tower of CLIP as OpenAI and OpenCLIP name it, below `visual.`.
OPENAI: Rules = (
    (r"^conv1\.", "patch_embed.proj."),
    (r"^class_embedding$", "cls_token"),
    (r"^positional_embedding$", "pos_embed"),
    (r"^ln_pre\.", "norm_pre."),
    (r"^ln_post\.", "norm."),
    (r"^proj$", "head.weight"),
    (r"^transformer\.resblocks\.(\d+)\.", r"blocks.\1."),
    (r"\.ln_([12])\.", r".norm\1."),
    (r"\.ls_([12])\.", r".ls\1."),
    (r"\.attn\.in_proj_", ".attn.qkv."),
    (r"\.attn\.out_proj\.", ".attn.proj."),
    (r"\.mlp\.c_fc\.", ".mlp.fc1."),
    (r"\.mlp\.c_proj\.", ".mlp.fc2."),
)

# The paper's code, and big_vision, which counts the parts of a block anew.
GOOGLE: Rules = (
    (r"^embedding/", "patch_embed.proj/"),
    (r"^cls$", "cls_token"),
    (r"^(?:Transformer/posembed_input/)?pos_embedding", "pos_embed"),
    (r"^Transformer/encoderblock_(\d+)/", r"blocks.\1."),
    (r"^MAPHead_0/probe$", "attn_pool.latent"),
    (r"^MAPHead_0/MultiHeadDotProductAttention_0/(query|key|value)/", r"attn_pool.\1/"),
    (r"^MAPHead_0/MultiHeadDotProductAttention_0/out/", "attn_pool.proj/"),
    (r"^MAPHead_0/LayerNorm_0/", "attn_pool.norm/"),
    (r"^MAPHead_0/MlpBlock_0/Dense_0/", "attn_pool.mlp.fc1/"),
    (r"^MAPHead_0/MlpBlock_0/Dense_1/", "attn_pool.mlp.fc2/"),
    (r"LayerNorm_0/", "norm1/"),
    (r"LayerNorm_[12]/", "norm2/"),
    (r"MultiHeadDotProductAttention_[01]/(query|key|value)/", r"attn.\1/"),
    (r"MultiHeadDotProductAttention_[01]/out/", "attn.proj/"),
    (r"MlpBlock_[03]/Dense_0/", "mlp.fc1/"),
    (r"MlpBlock_[03]/Dense_1/", "mlp.fc2/"),
    (r"^Transformer/encoder_norm/", "norm/"),
    (r"^pre_logits/", "pre_logits.fc/"),
    (r"/(?:kernel|scale)$", ".weight"),
    (r"/bias$", ".bias"),
)

RULES = {
    "timm": TIMM,
    "torchvision": TORCHVISION,
    "huggingface": HUGGINGFACE,
    "huggingface/clip": HUGGINGFACE_CLIP,
    "openai": OPENAI,
    "google": GOOGLE,
}
