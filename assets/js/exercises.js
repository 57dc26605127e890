// Written by tools/exercises_page.py: {page of a chapter: its exercises}.
export default {
  "01_attention": ["softmax", "attention_weights", "scaled_dot_product_attention", "masked_attention"],
  "02_multi_head_attention": ["split_heads", "merge_heads", "multi_head_self_attention"],
  "03_encoder": ["layer_norm", "mlp", "encoder_block"],
  "04_patches": ["patchify", "unpatchify", "linear_to_conv", "patch_embedding"],
  "05_positions": ["prepend_class_token", "sincos_pos_embed_2d", "resample_pos_embed"],
  "06_vit": ["vit_forward", "count_parameters", "convert_torchvision_state_dict", "my_vit"],
  "07_training": ["train_step", "warmup_cosine_lr", "param_groups", "evaluate"],
  "08_small_data": ["random_crop_flip", "soft_cross_entropy", "mixup", "ema_update", "newton_schulz", "paired_gain"],
  "09_finetuning": ["replace_head", "macro_f1", "freeze_except", "lora_linear", "layerwise_lr"],
  "10_comparison": ["paired_difference"],
  "11_filters": ["patch_filters", "pos_embed_similarity", "row_column_share"],
  "12_attention_maps": ["record_attention", "attention_rollout", "mean_attention_distance"],
  "13_explain": ["pointing_game", "deletion_curve", "randomise_from_top"],
  "bug_gallery": ["test_attention", "test_patchify", "test_block", "test_train_step", "test_random_flip", "test_evaluate"],
};
