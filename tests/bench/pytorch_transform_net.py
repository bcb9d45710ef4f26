"""The transform net of PyTorch's fast_neural_style example, applied to one picture: median seconds (with one thread of
processor time) and peak memory, to be set against transform_net_bench. Needs torch; one process for each case.

    python3 tests/bench/pytorch_transform_net.py --size 512x512 --mode compiled
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


class Conv(nn.Module):
    """Reflection padding, nearest upsampling before it where asked for, and a convolution."""

    def __init__(self, in_c, out_c, kernel, stride=1, upsample=1):
        super().__init__()
        self.pad, self.upsample = kernel // 2, upsample
        self.conv2d = nn.Conv2d(in_c, out_c, kernel, stride)

    def forward(self, x):
        if self.upsample > 1:
            x = functional.interpolate(x, mode="nearest", scale_factor=self.upsample)
        return self.conv2d(functional.pad(x, [self.pad] * 4, mode="reflect"))


class Residual(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.conv1, self.in1 = Conv(channels, channels, 3), nn.InstanceNorm2d(channels, affine=True)
        self.conv2, self.in2 = Conv(channels, channels, 3), nn.InstanceNorm2d(channels, affine=True)

    def forward(self, x):
        return x + self.in2(self.conv2(torch.relu(self.in1(self.conv1(x)))))


def transform_net(w):
    layers = [Conv(3, w, 9), nn.InstanceNorm2d(w, affine=True), nn.ReLU()]
    for in_c, out_c in [(w, 2 * w), (2 * w, 4 * w)]:
        layers += [Conv(in_c, out_c, 3, stride=2), nn.InstanceNorm2d(out_c, affine=True), nn.ReLU()]
    layers += [Residual(4 * w) for _ in range(5)]
    for in_c, out_c in [(4 * w, 2 * w), (2 * w, w)]:
        layers += [Conv(in_c, out_c, 3, upsample=2), nn.InstanceNorm2d(out_c, affine=True), nn.ReLU()]
    return nn.Sequential(*layers, Conv(w, 3, 9))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--size", default="512x512")
    parser.add_argument("--mode", default="plain", choices=["plain", "channels_last", "compiled", "bf16"])
    parser.add_argument("--width", type=int, default=32)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--tf32", action="store_true", help="let products of a GPU be computed in TF32")
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = options.tf32
    torch.backends.cudnn.benchmark = True
    wait = torch.cuda.synchronize if options.device == "cuda" else lambda: None
    columns, rows = map(int, options.size.split("x"))
    torch.manual_seed(1)
    net = transform_net(options.width).eval().to(options.device)
    picture = (torch.rand(1, 3, rows, columns) * 255).to(options.device)
    if options.mode != "plain":
        net, picture = net.to(memory_format=torch.channels_last), picture.to(memory_format=torch.channels_last)
    if options.mode == "compiled":
        net = torch.compile(net)
    cast = torch.autocast(options.device, torch.bfloat16) if options.mode == "bf16" else contextlib.nullcontext()
    clock = time.process_time if options.threads == 1 else time.perf_counter
    seconds = []
    with torch.no_grad(), cast:
        for _ in range(options.repeats + 2):
            start = clock()
            net(picture)
            wait()
            seconds.append(clock() - start)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"size": options.size, "mode": options.mode, "device": options.device, "tf32": options.tf32, "torch": torch.__version__,
                      "seconds": statistics.median(seconds[2:]), "resident_mib": peak}))


if __name__ == "__main__":
    main()
