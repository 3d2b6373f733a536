"""The networks that are compared with diffusers' UNet2DModel, and weights that any language can recompute."""
import numpy as np
import torch

PLAIN = dict(in_channels=3, out_channels=3, block_out_channels=[8, 16], layers_per_block=1, norm_num_groups=4,
             down_block_types=["DownBlock2D", "AttnDownBlock2D"], up_block_types=["AttnUpBlock2D", "UpBlock2D"])
SKIP = dict(in_channels=3, out_channels=3, block_out_channels=[32, 32], layers_per_block=1, norm_num_groups=None,
            down_block_types=["SkipDownBlock2D", "AttnSkipDownBlock2D"],
            up_block_types=["AttnSkipUpBlock2D", "SkipUpBlock2D"])


def case(name, base=PLAIN, size=(2, 8, 8), t=(7, 940), classes=None, drop=(), **changes):
    config = {**base, **changes}
    for key in drop:
        del config[key]
    n, height, width = size
    return dict(name=name, config=config, input=[n, config["in_channels"], height, width], t=list(t), classes=classes)


CASES = [
    case("grey", in_channels=1, out_channels=1),
    case("rgb_not_square", size=(2, 8, 12)),
    case("like_ddpm_cifar10", size=(1, 16, 16), t=[531], block_out_channels=[8, 16, 16, 16], layers_per_block=2,
         down_block_types=["DownBlock2D", "AttnDownBlock2D", "DownBlock2D", "DownBlock2D"],
         up_block_types=["UpBlock2D", "UpBlock2D", "AttnUpBlock2D", "UpBlock2D"], downsample_padding=0,
         flip_sin_to_cos=False, freq_shift=1, norm_eps=1e-6, attention_head_dim=None),
    case("asymmetric_padding_not_square", size=(1, 12, 4), t=[0], downsample_padding=0),
    case("head_dim_null", attention_head_dim=None),
    case("head_dim_8", attention_head_dim=8, block_out_channels=[16, 32]),
    case("head_dim_missing", block_out_channels=[16, 32]),
    case("heads_narrower_than_the_block", attention_head_dim=8, block_out_channels=[12, 20]),
    case("freq_shift_1", freq_shift=1),
    case("freq_shift_0_unflipped", freq_shift=0, flip_sin_to_cos=False),
    case("odd_width", block_out_channels=[9, 18], norm_num_groups=3, attention_head_dim=6),
    case("scale_shift", resnet_time_scale_shift="scale_shift"),
    case("scale_shift_with_mid_norm", resnet_time_scale_shift="scale_shift", attn_norm_num_groups=2),
    case("resnet_resampling", downsample_type="resnet", upsample_type="resnet",
         down_block_types=["AttnDownBlock2D", "DownBlock2D"], up_block_types=["AttnUpBlock2D", "UpBlock2D"]),
    case("resnet_resampling_that_plain_blocks_ignore", downsample_type="resnet", upsample_type="resnet",
         down_block_types=["DownBlock2D", "DownBlock2D"], up_block_types=["UpBlock2D", "UpBlock2D"]),
    case("resnet_blocks", down_block_types=["ResnetDownsampleBlock2D", "ResnetDownsampleBlock2D"],
         up_block_types=["ResnetUpsampleBlock2D", "ResnetUpsampleBlock2D"]),
    case("resnet_blocks_scale_shift", resnet_time_scale_shift="scale_shift", layers_per_block=2,
         down_block_types=["ResnetDownsampleBlock2D", "AttnDownBlock2D"],
         up_block_types=["AttnUpBlock2D", "ResnetUpsampleBlock2D"]),
    case("class_table", num_class_embeds=11, classes=[10, 3]),
    case("class_timestep", class_embed_type="timestep", classes=[4, 31]),
    case("class_identity", class_embed_type="identity", classes="vectors"),
    case("learned_time", time_embedding_type="learned", num_train_timesteps=1000),
    case("fourier_time", time_embedding_type="fourier", t=[0.3, 17.5]),
    case("fractional_time", t=[3.7, 998.25]),
    case("time_embedding_dim", time_embedding_dim=20),
    case("no_mid_block", mid_block_type=None),
    case("no_mid_attention", add_attention=False),
    case("mid_scale", mid_block_scale_factor=1.5),
    case("centred", center_input_sample=True),
    case("swish", act_fn="swish"),
    case("mish", act_fn="mish"),
    case("gelu", act_fn="gelu"),
    case("relu", act_fn="relu"),
    case("four_in_six_out", in_channels=4, out_channels=6),
    case("one_block", size=(2, 5, 7), block_out_channels=[8], down_block_types=["AttnDownBlock2D"],
         up_block_types=["UpBlock2D"]),
    case("one_pixel_below", size=(2, 2, 2)),
    case("three_levels", size=(1, 8, 4), t=[250], block_out_channels=[8, 12, 16], layers_per_block=2,
         down_block_types=["AttnDownBlock2D", "DownBlock2D", "AttnDownBlock2D"],
         up_block_types=["UpBlock2D", "AttnUpBlock2D", "AttnUpBlock2D"]),
    case("skip", base=SKIP),
    case("skip_like_ncsnpp", base=SKIP, t=[0.02, 40.0], time_embedding_type="fourier", norm_eps=1e-6,
         mid_block_scale_factor=2**0.5, attn_norm_num_groups=8),
    case("skip_scale_shift_with_groups", base=SKIP, resnet_time_scale_shift="scale_shift", norm_num_groups=8,
         attention_head_dim=None),
    case("skip_three_levels", base=SKIP, size=(1, 4, 8), t=[77], block_out_channels=[32, 32, 64],
         down_block_types=["AttnSkipDownBlock2D", "SkipDownBlock2D", "AttnSkipDownBlock2D"],
         up_block_types=["SkipUpBlock2D", "AttnSkipUpBlock2D", "AttnSkipUpBlock2D"]),
    case("skip_down_plain_up", base=SKIP, norm_num_groups=4, up_block_types=["UpBlock2D", "AttnUpBlock2D"]),
    case("plain_down_skip_up", base=SKIP, norm_num_groups=4, down_block_types=["DownBlock2D", "AttnDownBlock2D"]),
]


def hashed(name, shape):
    """Uniform in [-1, 1): FNV-1a of the name, element number added, splitmix64's finaliser, 53 bits."""
    h = 0xCBF29CE484222325
    for byte in name.encode():
        h = ((h ^ byte) * 0x100000001B3) % 2**64
    with np.errstate(over="ignore"):
        x = np.uint64(h) + np.arange(int(np.prod(shape)), dtype=np.uint64)
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        x = x ^ (x >> np.uint64(31))
    return torch.from_numpy((x >> np.uint64(11)).astype(np.float64) * 2.0**-52 - 1).reshape(shape)


def hashed_weight(name, shape):
    """Of a size that keeps features near unit variance, with no weight at its neutral value."""
    u = hashed(name, shape)
    if name.endswith("bias"):
        return (0.2 * u).float()
    if len(shape) == 1:  # a normalisation's gain, or the Fourier frequencies
        return (16 * u if name.startswith("time_proj") else 1 + 0.2 * u).float()
    return (u * (3.0 / np.prod(shape[1:])) ** 0.5).float()


def inputs(case, temb_channels):
    """x, t and the class labels (or None) of a case."""
    x = (hashed("input", case["input"]) * 3.0**0.5).float()
    classes = case["classes"]
    if classes == "vectors":
        classes = hashed("classes", [case["input"][0], temb_channels]).float()
    elif classes is not None:
        classes = torch.tensor(classes)
    return x, torch.tensor(case["t"]), classes
