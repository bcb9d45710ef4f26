"""Steps of training PyTorch's fast_neural_style net against VGG-16 with random weights, to be set against
train_step_bench: median seconds (with one thread of processor time) and peak memory. Needs torch.

    python3 tests/bench/pytorch_train_step.py --mode compiled
"""

import argparse
import contextlib
import json
import resource
import statistics
import time

import torch
from torch import nn
from torch.nn import functional

from pytorch_transform_net import transform_net

VGG16 = [64, 64, "pool", 128, 128, "pool", 256, 256, 256, "pool", 512, 512, 512]
STYLE_AT = [1, 3, 6, 9]  # convolutions whose ReLU is compared: relu1_2, relu2_2, relu3_3, relu4_3
CONTENT_AT = 3


class Features(nn.Module):
    def __init__(self):
        super().__init__()
        channels = [3] + [c for c in VGG16 if c != "pool"]
        self.convs = nn.ModuleList(nn.Conv2d(a, b, 3, padding=1) for a, b in zip(channels, channels[1:]))
        for conv in self.convs:
            nn.init.kaiming_normal_(conv.weight)
            nn.init.zeros_(conv.bias)
        self.requires_grad_(False)

    def forward(self, x, deepest):
        taps, index = [], 0
        for kind in VGG16:
            if kind == "pool":
                x = functional.max_pool2d(x, 2)
                continue
            x = torch.relu(self.convs[index](x))
            if index in STYLE_AT:
                taps.append(x)
            if index == deepest:
                return taps
            index += 1
        return taps


def gram(features):
    n, c, h, w = features.shape
    flat = features.reshape(n, c, h * w)
    return flat @ flat.transpose(1, 2) / (c * h * w)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--mode", default="plain", choices=["plain", "channels_last", "compiled", "bf16"])
    parser.add_argument("--width", type=int, default=32)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--tf32", action="store_true", help="let products of a GPU be computed in TF32")
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = options.tf32
    torch.backends.cudnn.benchmark = True
    wait = torch.cuda.synchronize if options.device == "cuda" else lambda: None
    torch.manual_seed(1)
    net, network = transform_net(options.width).to(options.device), Features().to(options.device)
    photos = (torch.rand(options.batch, 3, options.size, options.size) * 255).to(options.device)
    style = (torch.rand(1, 3, options.size, options.size) * 255).to(options.device)
    if options.mode != "plain":
        net, network = (x.to(memory_format=torch.channels_last) for x in (net, network))
        photos = photos.to(memory_format=torch.channels_last)
    with torch.no_grad():
        targets = [gram(f) for f in network(style, STYLE_AT[-1])]
    adam = torch.optim.Adam(net.parameters(), 1e-3)

    def loss_of(x):
        y = net(x)
        with torch.no_grad():
            content = network(x, CONTENT_AT)[-1]
        features = network(y, STYLE_AT[-1])
        loss = 1e5 * functional.mse_loss(features[STYLE_AT.index(CONTENT_AT)], content)
        for f, target in zip(features, targets):
            loss = loss + 1e10 * functional.mse_loss(gram(f), target.expand(len(x), -1, -1))
        return loss

    if options.mode == "compiled":
        loss_of = torch.compile(loss_of)
    clock = time.process_time if options.threads == 1 else time.perf_counter
    seconds = []
    for _ in range(options.steps + 2):
        start = clock()
        adam.zero_grad()
        with torch.autocast(options.device, torch.bfloat16) if options.mode == "bf16" else contextlib.nullcontext():
            loss = loss_of(photos)
        loss.backward()
        adam.step()
        wait()
        seconds.append(clock() - start)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"mode": options.mode, "device": options.device, "tf32": options.tf32, "torch": torch.__version__, "loss": loss.item(),
                      "seconds": statistics.median(seconds[2:]), "resident_mib": peak}))


if __name__ == "__main__":
    main()
