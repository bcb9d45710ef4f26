"""Style transfer by Gatys et al. in PyTorch on the CPU, for compare_pytorch.py: the losses of `nst_gatys --preset paper`, minimised by
torch.optim.LBFGS with one evaluation per iteration. Prints one JSON object."""
import argparse
import json
import pathlib
import sys
import time

import numpy
import torch
import torch.nn.functional as F
from PIL import Image
from safetensors.torch import load_file

MODES = ["fp32", "channels_last", "compile", "bf16"]
MEAN = torch.tensor([123.68, 116.779, 103.939]).view(1, 3, 1, 1)
CONVOLUTIONS = [2, 2, 4, 4, 1]  # of the five blocks, up to the last that is tapped
CONTENT_LAYER, ALPHA = "relu4_2", 1.0
STYLE_LAYERS, BETA, STYLE_WEIGHT = ["relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1"], 1000.0, 0.2
# Unscaled, the first gradients are so large that L-BFGS without a line search stalls at once.
LOSS_SCALE = 1e-7


def memory(field):
    """Bytes of this process: VmRSS now, VmHWM at most."""
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith(field + ":"))


def waited():
    """Seconds in which threads of this process were ready to run and had no processor."""
    return sum(int(path.read_text().split()[1]) for path in pathlib.Path("/proc/self/task").glob("*/schedstat")) * 1e-9


class Gatys:
    def __init__(self, weights, mode):
        self.bf16 = mode == "bf16"
        self.format = torch.contiguous_format if mode == "fp32" else torch.channels_last
        tensors = load_file(weights)
        self.layers = []  # (name of the ReLU, weight, bias), None between the blocks
        for block, count in enumerate(CONVOLUTIONS, 1):
            if block > 1:
                self.layers.append(None)
            for i in range(1, count + 1):
                weight = tensors[f"conv{block}_{i}.weight"].contiguous(memory_format=self.format)
                self.layers.append((f"relu{block}_{i}", weight, tensors[f"conv{block}_{i}.bias"]))

    def aim_at(self, content, style):
        with torch.no_grad():
            self.content = self.features(content)[CONTENT_LAYER].clone()
            targets = self.features(style)
            self.grams = {name: self.gram(targets[name]) for name in STYLE_LAYERS}

    def features(self, picture):
        x = (picture - MEAN).contiguous(memory_format=self.format)
        taps = {}
        with torch.autocast("cpu", torch.bfloat16, enabled=self.bf16):
            for layer in self.layers:
                if layer is None:
                    x = F.max_pool2d(x, 2)
                    continue
                name, weight, bias = layer
                x = F.relu(F.conv2d(x, weight, bias, padding=1), inplace=True)
                if name in STYLE_LAYERS or name == CONTENT_LAYER:
                    taps[name] = x
        return {name: value.float() for name, value in taps.items()}

    @staticmethod
    def gram(features):
        rows = features.flatten(2)[0]  # [channels, positions], no copy in either memory format
        return rows @ rows.T / rows.shape[1]

    def loss(self, picture):
        taps = self.features(picture)
        loss = ALPHA * 0.5 * (taps[CONTENT_LAYER] - self.content).square().sum()
        for name in STYLE_LAYERS:
            difference = self.gram(taps[name]) - self.grams[name]
            loss = loss + BETA * STYLE_WEIGHT / (4 * difference.shape[0] ** 2) * difference.square().sum()
        return loss


def optimise(loss_of, picture, evaluations, started):
    """Losses of the evaluations, and the seconds that had gone by after each."""
    picture.requires_grad_(True)
    optimizer = torch.optim.LBFGS([picture], lr=1, max_iter=1, history_size=100, tolerance_grad=0, tolerance_change=0)
    losses, seconds = [], []

    def closure():
        optimizer.zero_grad()
        loss = loss_of(picture) * LOSS_SCALE
        loss.backward()
        losses.append(loss.item() / LOSS_SCALE)
        seconds.append(time.perf_counter() - started)
        return loss

    for _ in range(evaluations):
        optimizer.step(closure)
    return losses, seconds


def load_picture(path):
    pixels = numpy.asarray(Image.open(path).convert("RGB"), dtype=numpy.float32)
    return torch.from_numpy(pixels).permute(2, 0, 1)[None].contiguous()


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--weights", required=True, help="VGG-19 as nst_convert writes it")
    parser.add_argument("--content", required=True)
    parser.add_argument("--style", required=True)
    parser.add_argument("--start", required=True, help="picture to start from; all three have the same size")
    parser.add_argument("--mode", choices=MODES, required=True)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--evaluations", type=int, required=True)
    options = parser.parse_args()
    if options.mode == "bf16":
        with open("/proc/cpuinfo") as cpuinfo:
            if not {"amx_bf16", "avx512_bf16"} & set(cpuinfo.read().split()):
                sys.exit("the processor has neither AMX nor AVX512-BF16")

    torch.set_num_threads(options.threads)
    content, style, start = (load_picture(path) for path in (options.content, options.style, options.start))
    report = {"torch": torch.__version__, "resident_before_bytes": memory("VmRSS")}
    gatys = Gatys(options.weights, options.mode)
    started = time.perf_counter()
    gatys.aim_at(content, style)
    loss_of = torch.compile(gatys.loss) if options.mode == "compile" else gatys.loss
    waited_before = waited()
    report["losses"], report["seconds"] = optimise(loss_of, start, options.evaluations, started)
    report["waited_share"] = (waited() - waited_before) / (time.perf_counter() - started) / options.threads
    report["peak_resident_bytes"] = memory("VmHWM")
    print(json.dumps(report))


if __name__ == "__main__":
    main()
