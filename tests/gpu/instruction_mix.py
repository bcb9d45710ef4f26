"""What the main loops of the matrix products consist of, from the machine code that nvcc made of them:
  python3 tests/gpu/instruction_mix.py --objects build/release > docs/cuda_instructions.md
Needs cuobjdump, of NVIDIA's toolkit or of its Python package nvidia-cuda-cuobjdump; nothing is run. A main loop is that with the most
products; what it seldom comes to (the next tap of a picture continued by its own pixels) is counted with the rest."""
import argparse
import collections
import pathlib
import re
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from registers import short

sys.dont_write_bytecode = True
ARCHITECTURES = ("80", "90")
TENSOR, PRODUCTS = "tensor cores", "fma"
KINDS = (  # the first that matches; a name with a dot is all before it
    (TENSOR, r"HMMA"), (PRODUCTS, r"FFMA|FMUL"), ("additions", r"FADD"), ("fragments", r"LDSM|LDS$"), ("copies", r"LDGSTS"),
    ("rounding", r"VIADDMNMX|IMNMX|VIMNMX"), ("barriers", r"BAR|DEPBAR|LDGDEPBAR|BSSY|BSYNC|WARPSYNC"), ("branches", r"BRA"))


def functions(sass):
    """(name, [(address, instruction, operands)]) of every kernel."""
    found = []
    for line in sass.splitlines():
        if head := re.search(r"Function : (\w+)", line):
            found.append((head.group(1), []))
        elif found and (code := re.match(r"\s+/\*([0-9a-f]{4,})\*/\s+(?:@!?U?P\w+ )?([A-Z][A-Z0-9_.]*)\s*([^;]*);", line)):
            found[-1][1].append((int(code.group(1), 16), code.group(2), code.group(3)))
    return found


def kind_of(instruction):
    name = instruction.split(".")[0]
    return next((kind for kind, pattern in KINDS if re.fullmatch(pattern, name)), "addresses and the rest")


def main_loop(code):
    """Kinds of its instructions, counted."""
    products = TENSOR if any(kind_of(name) == TENSOR for _, name, _ in code) else PRODUCTS
    best, most = None, (0, 0)
    for address, instruction, operands in code:
        target = re.search(r"0x([0-9a-f]+)", operands) if instruction.startswith("BRA") else None
        if not target or int(target.group(1), 16) > address:
            continue
        loop = collections.Counter(kind_of(name) for at, name, _ in code if int(target.group(1), 16) <= at <= address)
        if (loop[products], -loop.total()) > most:
            best, most = loop, (loop[products], -loop.total())
    return best


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cuobjdump", default="cuobjdump")
    parser.add_argument("--objects", required=True, type=pathlib.Path, help="folder of a build for compute capability 8.0 and 9.0")
    options = parser.parse_args()
    rows = []
    for path in sorted(options.objects.glob("**/kernels/cuda/*.cu.o")):
        loops = {}
        for architecture in ARCHITECTURES:
            sass = subprocess.check_output([options.cuobjdump, "-sass", "-arch", f"sm_{architecture}", path], text=True)
            code = functions(sass)
            names = subprocess.run(["c++filt"], input="\n".join(name for name, _ in code), capture_output=True, text=True, check=True).stdout
            for name, (_, instructions) in zip(names.splitlines(), code):
                if re.search(r"(gather|outer)_(product|mma)_kernel", name) and (loop := main_loop(instructions)):
                    loops.setdefault(short(name), {})[architecture] = loop
        for kernel, found in sorted(loops.items()):
            of = [found[a] for a in ARCHITECTURES]
            products = TENSOR if of[0][TENSOR] else PRODUCTS
            rows.append([f"`{kernel}`", "/".join(str(loop.total()) for loop in of), str(of[0][products]),
                         "/".join(f"{100 * loop[products] / loop.total():.0f}" for loop in of)]
                        + ["/".join(str(loop[kind]) for loop in of) for kind, _ in KINDS[2:] if kind != products] +
                        ["/".join(str(loop["addresses and the rest"]) for loop in of)])
    heads = ["kernel", "instructions", "products", "share, %"] + [kind for kind, _ in KINDS[2:]] + ["addresses and the rest"]
    print(f"""# What the main loops of the matrix products consist of

`python3 tests/gpu/instruction_mix.py --objects build/release`: instructions of one step, from the machine code that nvcc made for compute
capability 8.0 / 9.0. Nothing was run. A main loop is that with the most products; what it seldom comes to is counted with the rest. Products are
instructions of tensor cores or, of `gather_product` and `outer_product`, fused multiply-adds.

Most of the rest are addresses and conditions of copies. Tiles of TF32 round each operand as it is loaded, by an addition and a maximum, which are two instructions on
8.0 ("rounding" has the maximum) and one on 9.0. So the larger a warp's part of a tile, the larger the share of products; 64 x 64 and 32 x 128 are for
results so few that larger tiles would not occupy a device, 256 x 32 and 128 x 8 for so few channels. `ContinuedWindows` looks for its pixels when the tap changes, which is not in
each step, and `PictureWindows` in each: gradients of weights, of transform nets alone.
""")
    print("| " + " | ".join(heads) + " |\n|" + "---|" * len(heads))
    for row in rows:
        print("| " + " | ".join(row) + " |")


if __name__ == "__main__":
    main()
