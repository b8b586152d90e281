"""What pocket-emoji is made of: autoencoder, UNet, text encoder and noise schedule, in diffusers' classes."""

from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel

LATENT_CHANNELS = 8
LATENT_SIZE = 16
TOKENS = 32
TEXT_WIDTH = 192
PICTURE_SIZE = 128


def build_models(vocabulary=4096):
    """Give autoencoder, UNet and text encoder with fresh weights."""
    autoencoder = AutoencoderKL(
        in_channels=3,
        out_channels=3,
        latent_channels=LATENT_CHANNELS,
        sample_size=PICTURE_SIZE,
        block_out_channels=(32, 48, 64, 96),
        layers_per_block=1,
        down_block_types=["DownEncoderBlock2D"] * 4,
        up_block_types=["UpDecoderBlock2D"] * 4,
        norm_num_groups=8,
        mid_block_add_attention=False,
        scaling_factor=1.0,
    )
    unet = UNet2DConditionModel(
        sample_size=LATENT_SIZE,
        in_channels=LATENT_CHANNELS,
        out_channels=LATENT_CHANNELS,
        layers_per_block=1,
        block_out_channels=(128, 192),
        down_block_types=["CrossAttnDownBlock2D"] * 2,
        up_block_types=["CrossAttnUpBlock2D"] * 2,
        cross_attention_dim=TEXT_WIDTH,
        attention_head_dim=4,
        time_embedding_dim=256,
        norm_num_groups=32,
    )
    config = CLIPTextConfig(
        vocab_size=vocabulary,
        hidden_size=TEXT_WIDTH,
        intermediate_size=512,
        num_hidden_layers=3,
        num_attention_heads=4,
        max_position_embeddings=TOKENS,
        bos_token_id=vocabulary - 2,
        eos_token_id=vocabulary - 1,
        pad_token_id=vocabulary - 1,
        projection_dim=TEXT_WIDTH,
    )
    return autoencoder, unet, CLIPTextModel(config)


def build_scheduler():
    """Give the noise schedule: velocity prediction, no signal at the last step."""
    return DDIMScheduler(
        num_train_timesteps=1000,
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        prediction_type="v_prediction",
        rescale_betas_zero_snr=True,
        timestep_spacing="trailing",
        clip_sample=False,
        set_alpha_to_one=True,
        steps_offset=1,
    )


def build_pipeline(autoencoder, unet, text_encoder, tokenizer):
    """Put the parts into a pipeline."""
    return StableDiffusionPipeline(
        vae=autoencoder,
        unet=unet,
        text_encoder=text_encoder,
        tokenizer=tokenizer,
        scheduler=build_scheduler(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
