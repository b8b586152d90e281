#!/usr/bin/env python3
"""Trains pocket-emoji: first the autoencoder, then text encoder and UNet on its latents (README.md says how).

Limits of time are wall clock from the start of the process. ``<out>/checkpoint.pt`` holds averaged (EMA) weights.
"""

import argparse
import io
import json
import math
import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from PIL import Image
from torch.nn import functional
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

BEGIN = time.time()
LATENT_CHANNELS = 8
LATENT_SIZE = 16
TOKENS = 32
TEXT_WIDTH = 192
PICTURE_SIZE = 128
CAPTION_DROPOUT = 0.1
"""Share of captions that become empty, so that guidance has something to compare with."""
IDENTITY_LOSS = 0.02
"""Weight of the cross-entropy of the emoji's number, read from the text encoder's last token. Not shipped."""
GRID_PROMPTS = [
    "red heart",
    "cat face",
    "pizza",
    "rocket",
    "smiling face with sunglasses",
    "green apple",
    "banana, 3d",
    "banana, flat",
    "banana, noto style",
    "hamburger on a blue background",
    "a cute octopus",
    "red car",
    "tree",
    "robot",
    "a photo of a strawberry",
    "money bag on a pink background",
]


def log(*values):
    """Print with the seconds since the start."""
    print(f"[{time.time() - BEGIN:6.1f}s]", *values, flush=True)


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


def decode_pictures(data, limit):
    """Give the training pictures as (pictures, 4, 128, 128) uint8 RGBA."""
    offsets = data["offsets"]
    blob = data["blob"]
    count = len(offsets) - 1
    count = min(limit, count) if limit else count

    def decode(index):
        picture = Image.open(io.BytesIO(blob[offsets[index] : offsets[index + 1]].tobytes()))
        return np.asarray(picture.convert("RGBA"))

    with ThreadPoolExecutor(16) as threads:
        pictures = np.stack(list(threads.map(decode, range(count))))
    return torch.from_numpy(pictures).permute(0, 3, 1, 2).contiguous()


def on_background(pictures, colours):
    """Lay (n, 4, h, w) uint8 pictures on (n, 3) uint8 colours; gives (n, 3, h, w) from -1 to 1."""
    values = pictures.float() / 255
    alpha = values[:, 3:]
    return (values[:, :3] * alpha + (colours.float() / 255)[:, :, None, None] * (1 - alpha)) * 2 - 1


def pyramid_loss(drawn, wanted):
    """Give the mean absolute difference of values and of gradients at four scales."""
    loss = 0.0
    weight = 1.0
    for level in range(4):
        difference = drawn - wanted
        loss = loss + weight * difference.abs().mean()
        if level < 2:
            loss = loss + weight * (difference[..., 1:] - difference[..., :-1]).abs().mean()
            loss = loss + weight * (difference[..., 1:, :] - difference[..., :-1, :]).abs().mean()
        drawn = functional.avg_pool2d(drawn, 2)
        wanted = functional.avg_pool2d(wanted, 2)
        weight *= 0.5
    return loss


def average_into(average, parameters, step, longest):
    """Move the running average of the parameters on."""
    torch._foreach_lerp_(average, parameters, 1 - min(longest, (1 + step) / (10 + step)))


def copy_back(average, parameters):
    """Let the parameters be their average."""
    with torch.no_grad():
        for parameter, value in zip(parameters, average, strict=True):
            parameter.copy_(value)


def draw_backgrounds(palette, count, device):
    """Draw background colours: 50 % white, 40 % of the palette, 10 % any."""
    drawn = palette[torch.randint(len(palette), (count,), device=device)]
    drawn = torch.where(torch.rand(count, 1, device=device) < 0.55, palette[:1], drawn)
    anything = torch.randint(256, (count, 3), device=device, dtype=torch.uint8)
    return torch.where(torch.rand(count, 1, device=device) < 0.1, anything, drawn)


def train_autoencoder(autoencoder, pictures, palette, options):
    """Train until ``options.vae_seconds``, on a cosine schedule that follows the clock."""
    device = options.device
    autoencoder.train()
    parameters = list(autoencoder.parameters())
    optimizer = torch.optim.AdamW(parameters, lr=1e-3, betas=(0.9, 0.99), weight_decay=1e-3, fused=device == "cuda")
    average = [parameter.detach().clone() for parameter in parameters]

    def forward(wanted, noise, more_noise):
        posterior = autoencoder.encode(wanted).latent_dist
        latents = posterior.mean + posterior.std * noise
        # A little more noise than the posterior's makes the decoder forgive what diffusion gets slightly wrong.
        latents = latents + 0.05 * latents.detach().float().std().to(latents.dtype) * more_noise
        drawn = autoencoder.decode(latents, return_dict=False)[0]
        return drawn.float(), posterior.mean.float(), posterior.logvar.float()

    run = torch.compile(forward) if options.compile else forward
    step = 0
    first_fast_step = None
    while True:
        now = time.time() - BEGIN
        if first_fast_step is None and step == 3:  # compiling is over
            first_fast_step = now
        if step > 3 and now > options.vae_seconds:
            break
        done = 0.0
        if first_fast_step is not None:
            done = min(1, (now - first_fast_step) / max(1e-3, options.vae_seconds - first_fast_step))
        warm_up = min(1, (step + 1) / 100)
        for group in optimizer.param_groups:
            group["lr"] = 1.2e-3 * warm_up * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * done)))
        chosen = torch.randint(len(pictures), (options.vae_batch,), device=device)
        wanted = on_background(pictures[chosen], draw_backgrounds(palette, options.vae_batch, device))
        if step % 4 == 1:
            wanted = wanted.flip(3)
        if step % 4 == 3:
            shift = (int(torch.randint(-7, 8, (1,))), int(torch.randint(-7, 8, (1,))))
            wanted = torch.roll(wanted, shift, (2, 3))
        wanted = wanted.contiguous(memory_format=torch.channels_last)
        noise = torch.randn(options.vae_batch, LATENT_CHANNELS, LATENT_SIZE, LATENT_SIZE, device=device)
        with torch.autocast(device, torch.bfloat16, enabled=device == "cuda"):
            drawn, mean, log_variance = run(wanted, noise, torch.randn_like(noise))
        reconstruction = pyramid_loss(drawn, wanted)
        divergence = 0.5 * (mean**2 + log_variance.exp() - 1 - log_variance).mean()
        loss = reconstruction + 1e-4 * divergence
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        average_into(average, parameters, step, 0.998)
        step += 1
        if step % 500 == 0 or step <= 2:
            log(f"autoencoder step {step} loss {reconstruction.item():.4f} divergence {divergence.item():.2f}")
    copy_back(average, parameters)
    autoencoder.eval()
    log("autoencoder steps", step)


@torch.no_grad()
def encode_all(autoencoder, pictures, palette, device):
    """Give the latents of every picture on every background: (pictures, colours, 8, 16, 16)."""
    kind = torch.bfloat16 if device == "cuda" else torch.float32
    shape = (len(pictures), len(palette), LATENT_CHANNELS, LATENT_SIZE, LATENT_SIZE)
    latents = torch.empty(shape, device=device, dtype=kind)
    for colour in range(len(palette)):
        for start in range(0, len(pictures), 512):
            batch = pictures[start : start + 512]
            wanted = on_background(batch, palette[colour : colour + 1].expand(len(batch), 3))
            latents[start : start + 512, colour] = autoencoder.encode(wanted).latent_dist.mean.to(kind)
    return latents


@torch.no_grad()
def normalise(autoencoder, latents):
    """Give each latent channel mean 0 and variance 1, by the 1x1 quant convolutions; scaling_factor stays 1."""
    values = latents.float()
    mean = values[:, 0].mean((0, 2, 3)) * 0.75 + values[:, 1:].mean((0, 1, 3, 4)) * 0.25
    deviation = ((values[:, 0] - mean[None, :, None, None]) ** 2).mean((0, 2, 3)).sqrt()
    before = autoencoder.quant_conv
    before.weight[:LATENT_CHANNELS] /= deviation[:, None, None, None]
    before.bias[:LATENT_CHANNELS] = (before.bias[:LATENT_CHANNELS] - mean) / deviation
    before.bias[LATENT_CHANNELS:] -= 2 * deviation.log()
    after = autoencoder.post_quant_conv
    after.bias += (after.weight[:, :, 0, 0] * mean[None]).sum(1)
    after.weight *= deviation[None, :, None, None]
    latents.copy_(((values - mean[None, None, :, None, None]) / deviation[None, None, :, None, None]).to(latents.dtype))


@torch.no_grad()
def report_autoencoder(autoencoder, latents, pictures, palette):
    """Log the peak signal-to-noise ratio on up to 64 training pictures."""
    count = min(64, len(pictures))
    wanted = on_background(pictures[:count], palette[:1].expand(count, 3))
    drawn = autoencoder.decode(latents[:count, 0].float()).sample
    ratio = 10 * math.log10(4 / functional.mse_loss(drawn, wanted).item())
    log(f"autoencoder: {ratio:.2f} dB on {count} training pictures")


def train_diffusion(unet, text_encoder, latents, data, options):
    """Train UNet and text encoder until ``options.seconds``; gives the number of steps and the last loss."""
    device = options.device
    count = len(latents)
    tokens = torch.from_numpy(data["tokens"][:count].astype(np.int16)).to(device)
    backgrounds = torch.from_numpy(data["backgrounds"][:count]).to(device).long()
    emoji_ids = torch.from_numpy(data["emoji_ids"][:count]).to(device).long()
    weights = torch.from_numpy(data["weights"][:count]).to(device)
    empty = torch.from_numpy(data["empty"].astype(np.int16)).to(device).long()
    end_token = int(empty[-1])
    identity = torch.nn.Linear(TEXT_WIDTH, int(data["emoji_ids"].max()) + 1).to(device)
    unet.train()
    text_encoder.train()
    parameters = [*unet.parameters(), *text_encoder.parameters()]
    groups = [
        {"params": parameters, "weight_decay": 0.01},
        {"params": identity.parameters(), "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=options.learning_rate, betas=(0.9, 0.99), fused=device == "cuda")
    average = [parameter.detach().clone() for parameter in parameters]
    signal_squared = build_scheduler().alphas_cumprod.to(device)
    signals = signal_squared.sqrt()
    noises = (1 - signal_squared).sqrt()

    def forward(noisy, moments, states):
        return unet(noisy, moments, states, return_dict=False)[0]

    run = torch.compile(forward) if options.compile else forward
    batch = options.batch
    rows = torch.arange(batch, device=device)
    step = 0
    loss_value = None
    first_fast_step = None
    last_report = time.time()
    while True:
        now = time.time() - BEGIN
        if now > options.seconds and step >= options.min_steps:
            break
        if step == 5:  # compiling is over
            first_fast_step = now
        rate = options.learning_rate * min(1, (step + 1) / 300)
        if options.decay and first_fast_step is not None:
            done = min(1, (now - first_fast_step) / max(1e-3, options.seconds - first_fast_step))
            rate *= 0.01 + 0.99 * (1 - done)
        for group in optimizer.param_groups:
            group["lr"] = rate
        chosen = torch.multinomial(weights, batch, replacement=True)
        caption = torch.randint(tokens.shape[1], (batch,), device=device)
        clean = latents[chosen, backgrounds[chosen, caption]].float()
        clean = clean.contiguous(memory_format=torch.channels_last)
        dropped = torch.rand(batch, device=device) < CAPTION_DROPOUT
        read = torch.where(dropped[:, None], empty[None], tokens[chosen, caption].long())
        moments = torch.randint(1000, (batch,), device=device)
        noise = torch.randn_like(clean)
        signal = signals[moments][:, None, None, None]
        amount = noises[moments][:, None, None, None]
        with torch.autocast(device, torch.bfloat16, enabled=device == "cuda"):
            states = text_encoder(read)[0]
            noisy = (signal * clean + amount * noise).contiguous(memory_format=torch.channels_last)
            velocity = run(noisy, moments, states)
            last_state = states[rows, (read == end_token).float().argmax(1)]
            guesses = identity(last_state)
        error = functional.mse_loss(velocity.float(), signal * noise - amount * clean)
        confusion = functional.cross_entropy(guesses.float(), emoji_ids[chosen], reduction="none")
        loss = error + IDENTITY_LOSS * (confusion * ~dropped).mean()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        average_into(average, parameters, step, 0.9992)
        step += 1
        if step % 250 == 0 or step <= 2:
            loss_value = error.item()
            speed = batch * 250 / (time.time() - last_report)
            last_report = time.time()
            log(f"diffusion step {step} error {loss_value:.4f} rate {rate:.2e} pictures/s {speed:.0f}")
    copy_back(average, parameters)
    unet.eval()
    text_encoder.eval()
    return step, loss_value


def save_checkpoint(path, models, history):
    """Write weights in fp16 and what has been done to them."""
    saved = {"history": history}
    for name, model in models.items():
        saved[name] = {
            key: value.detach().to("cpu", torch.float16) if value.is_floating_point() else value.cpu()
            for key, value in model.state_dict().items()
        }
    torch.save(saved, path)


def export(models, tokenizer, options):
    """Write the pipeline as fp16 safetensors in diffusers layout."""
    for model in models.values():
        model.eval().half()
    pipeline = build_pipeline(models["autoencoder"], models["unet"], models["text_encoder"], tokenizer)
    pipeline.save_pretrained(options.export, safe_serialization=True, max_shard_size="12MB")
    # The weights are stored in fp16, but a plain from_pretrained must load every part in fp32.
    config_path = options.export / "text_encoder" / "config.json"
    config = json.loads(config_path.read_text())
    config.pop("torch_dtype", None)
    config["dtype"] = "float32"
    config_path.write_text(json.dumps(config, indent=2))
    for name in ("vocab.json", "merges.txt", "special_tokens_map.json"):  # transformers 4 reads these
        target = options.export / "tokenizer" / name
        if not target.exists():
            shutil.copy(options.data / "tokenizer" / name, target)


def draw_grid(pipeline, path, steps):
    """Draw the grid of prompts, eight in a row."""
    pipeline.set_progress_bar_config(disable=True)
    generators = [torch.Generator("cpu").manual_seed(7 + index) for index in range(len(GRID_PROMPTS))]
    pictures = pipeline(GRID_PROMPTS, num_inference_steps=steps, guidance_scale=3.0, generator=generators).images
    grid = Image.new("RGB", (8 * 130, math.ceil(len(pictures) / 8) * 130), (200, 200, 200))
    for index, picture in enumerate(pictures):
        grid.paste(picture, (index % 8 * 130 + 1, index // 8 * 130 + 1))
    grid.save(path)


def read_options():
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder that prepare_data.py wrote")
    parser.add_argument("--out", type=Path, default=Path("run"), help="folder for checkpoint and grid")
    parser.add_argument("--resume", type=Path, help="checkpoint to go on from")
    parser.add_argument("--export", type=Path, help="only write the pipeline of --resume to this folder")
    parser.add_argument("--seconds", type=float, default=560, help="when to end, from the start")
    parser.add_argument("--vae-seconds", type=float, default=110, help="when to end the autoencoder's part")
    parser.add_argument("--continue-vae", action="store_true", help="with --resume: train the autoencoder on as well")
    parser.add_argument("--batch", type=int, default=1024, help="latents in a diffusion step")
    parser.add_argument("--vae-batch", type=int, default=128, help="pictures in an autoencoder step")
    parser.add_argument("--learning-rate", type=float, default=1e-3, help="of the diffusion part")
    parser.add_argument("--decay", action="store_true", help="let the learning rate fall to 1 %% at the end")
    parser.add_argument("--device", default="cuda", help="cuda, or cpu to try things out")
    parser.add_argument("--no-compile", dest="compile", action="store_false", help="do not use torch.compile")
    parser.add_argument("--min-steps", type=int, default=0, help="diffusion steps to take whatever the time")
    parser.add_argument("--limit", type=int, default=0, help="take only the first pictures, to try things out")
    return parser.parse_args()


def main():
    """Train one chunk, or export."""
    options = read_options()
    torch.manual_seed(int(time.time()) if options.resume else 0)
    torch.set_float32_matmul_precision("high")
    torch.backends.cudnn.benchmark = True
    data = np.load(options.data / "data.npz")
    tokenizer = CLIPTokenizer.from_pretrained(str(options.data / "tokenizer"))
    autoencoder, unet, text_encoder = build_models(len(tokenizer))
    models = {"autoencoder": autoencoder, "unet": unet, "text_encoder": text_encoder}
    history = {"steps": 0, "samples": 0, "seconds": 0.0}
    if options.resume:
        checkpoint = torch.load(options.resume, map_location="cpu", weights_only=True)
        for name, model in models.items():
            model.load_state_dict(checkpoint[name])
        history = checkpoint["history"]
    if options.export:
        export(models, tokenizer, options)
        return

    options.out.mkdir(parents=True, exist_ok=True)
    device = options.device
    pictures = decode_pictures(data, options.limit).to(device)
    palette = torch.from_numpy(data["palette"]).to(device)
    log("pictures", tuple(pictures.shape), "torch", torch.__version__, "on", device)
    autoencoder.to(device, memory_format=torch.channels_last)
    unet.to(device, memory_format=torch.channels_last)
    text_encoder.to(device)
    trains_autoencoder = options.continue_vae or not options.resume
    if trains_autoencoder:
        train_autoencoder(autoencoder, pictures, palette, options)
    autoencoder.eval().requires_grad_(False)
    latents = encode_all(autoencoder, pictures, palette, device)
    if trains_autoencoder:
        normalise(autoencoder, latents)
    report_autoencoder(autoencoder, latents, pictures, palette)
    steps, error = train_diffusion(unet, text_encoder, latents, data, options)
    history = {
        "steps": history["steps"] + steps,
        "samples": history["samples"] + steps * options.batch,
        "seconds": history["seconds"] + time.time() - BEGIN,
        "error": error,
    }
    save_checkpoint(options.out / "checkpoint.pt", models, history)
    log("saved", history)
    pipeline = build_pipeline(autoencoder, unet, text_encoder, tokenizer)
    draw_grid(pipeline, options.out / "grid.png", 20 if device == "cuda" else 2)


if __name__ == "__main__":
    main()
