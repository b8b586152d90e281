"""Trains the autoencoder, and makes the latents on which the rest is trained."""

import math
import time

import torch
from network import LATENT_CHANNELS, LATENT_SIZE
from pictures import draw_backgrounds, on_background
from torch.nn import functional
from training_run import BEGIN, average_into, copy_back, log


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
