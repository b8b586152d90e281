"""Trains UNet and text encoder on the autoencoder's latents."""

import time

import numpy as np
import torch
from network import TEXT_WIDTH, build_scheduler
from torch.nn import functional
from training_run import BEGIN, average_into, copy_back, log

CAPTION_DROPOUT = 0.1
"""Share of captions that become empty, so that guidance has something to compare with."""
IDENTITY_LOSS = 0.02
"""Weight of the cross-entropy of the emoji's number, read from the text encoder's last token. Not shipped."""


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
