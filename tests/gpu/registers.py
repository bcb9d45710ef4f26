"""Registers, shared memory and spills of every CUDA kernel, as nvcc's assembler reports them, and the occupancy that follows:
  python3 tests/gpu/registers.py --include build/release/include           prints the table of docs/cuda_registers.md
  python3 tests/gpu/registers.py --include build/release/include --check   fails for a spill or stack frame, and where a kernel takes more
                                                                           registers than in that table; exit status 77, nothing checked,
                                                                           with another nvcc than that of the table
Needs nvcc; nothing is run. Where MINIDL_NVCC_LOG names what a build with CUDAFLAGS=-Xptxas=-v printed, that is read instead of compiling again."""
import argparse
import concurrent.futures
import os
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
TABLE = ROOT / "docs" / "cuda_registers.md"
SKIPPED = 77
ARCHITECTURES = ("80", "90")
# Of a multiprocessor of compute capability 8.0 and 9.0: 65536 registers, given to warps in units of 256; 2048 threads. Shared memory differs.
REGISTERS, REGISTER_UNIT, THREADS, SHARED = 65536, 256, 2048, {"80": 164 << 10, "90": 228 << 10}
# Tiles on tensor cores (mma_tile.cuh, window_sums.cuh): MmaTile<rows, columns, rows of a warp, columns of a warp>.
MMA_STAGES, MMA_ROW_BYTES = 4, 64
# Bytes that a launch asks for beside what the kernel declares: kShared of the two products, three stages of two tiles.
DYNAMIC = {"gather_product_kernel": lambda rows, columns, *_: 3 * (rows + columns) * 20 * 4,
           "outer_product_kernel": lambda tile, *_: 3 * 2 * tile * 16 * 4}


def mma_tile(kernel):
    """(threads, bytes of shared memory) of a kernel on tensor cores, or None."""
    found = re.search(r"(gather|outer)_mma_kernel<(\w+),MmaTile<(\d+),(\d+),(\d+),(\d+)>", kernel)
    if not found:
        return None
    kind, arithmetic = found.groups()[:2]
    rows, columns, warp_rows, warp_columns = map(int, found.groups()[2:])
    size = 4 if "Tf32" in arithmetic else 2
    apart = 8 if kind == "outer" and size == 4 else 0  # words between rows of windows
    threads = 32 * (rows // warp_rows) * (columns // warp_columns)
    return threads, MMA_STAGES * MMA_ROW_BYTES * (rows + columns + 2 * apart)


def short(name):
    """minidl::cuda::(anonymous)::pool2d_forward_kernel<unsigned int, 4>(...) without namespaces, spaces and parameters."""
    name = re.sub(r"\(anonymous namespace\)::|minidl::cuda::|minidl::", "", name).removeprefix("void ")
    depth, end = 0, len(name)
    for i, letter in enumerate(name):
        depth += (letter == "<") - (letter == ">")
        if letter == "(" and depth == 0 and not name.startswith("(int)", i) and i > 0:
            end = i
            break
    return re.sub(r"\((?:int|bool|unsigned int)\)", "", name[:end]).replace("unsigned int", "uint").replace(" ", "")


def compile_file(nvcc, include, path):
    """What nvcc prints."""
    codes = [f"-gencode=arch=compute_{a},code=sm_{a}" for a in ARCHITECTURES]
    result = subprocess.run([nvcc, "-std=c++20", "-O3", "--fmad=false", *codes, "-Xptxas=-v", f"-I{include}", "-c", str(path), "-o", "/dev/null"],
                            capture_output=True, text=True)
    if result.returncode != 0:
        sys.exit(f"{path}: {result.stderr.strip()}")
    return result.stderr


def printed_by_build(log):
    """name of a .cu file -> what nvcc printed for it; files that were not compiled are not there."""
    printed, name = {}, None
    for line in log.splitlines():
        if line.startswith("["):
            built = re.search(r"Building CUDA object \S+/(\w+\.cu)\.o", line)
            name = built and built.group(1)
            if name:
                printed[name] = ""
        elif name:
            printed[name] += line + "\n"
    return printed


def figures_of(printed):
    """(kernel, architecture) -> figures, of what nvcc printed."""
    found, key = {}, None
    for line in printed.splitlines():
        if entry := re.search(r"Compiling entry function '(\w+)' for 'sm_(\d+)'", line):
            key = entry.groups()
            found[key] = {}
        elif key and (memory := re.search(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads", line)):
            found[key].update(zip(("stack", "stores", "loads"), map(int, memory.groups())))
        elif key and (used := re.search(r"Used (\d+) registers", line)):
            smem = re.search(r"(\d+) bytes smem", line)
            found[key].update(registers=int(used.group(1)), shared=int(smem.group(1)) if smem else 0)
    names = subprocess.run(["c++filt"], input="\n".join(name for name, _ in found), capture_output=True, text=True, check=True).stdout.split("\n")
    return {(short(name), architecture): figures for name, ((_, architecture), figures) in zip(names, found.items())}


def bound_of(path, kernel):
    """Threads of a block, from MINIDL_KERNEL in the sources."""
    constants = {}
    sources = [path, *sorted((ROOT / "kernels" / "cuda").glob("*.cuh"))]
    text = "\n".join(source.read_text() for source in sources)
    for name, value in re.findall(r"constexpr int (k\w+) = (\d+)", text) + re.findall(r", (k\w+) = (\d+)", text):
        constants.setdefault(name, value)
    found = re.search(r"MINIDL_KERNEL(?:_RESIDENT)?\(([^,]+), (?:\([^)]*\), )?" + re.escape(kernel.split("<")[0]) + r"\b", text)
    expression = re.sub(r"k\w+", lambda name: constants.get(name.group(), name.group()), found.group(1))
    return eval(expression, {"__builtins__": {}})  # a product of numbers in our own source


def occupancy(figures, threads, dynamic, architecture):
    """Share of the multiprocessor's threads that are resident."""
    warps = -(-threads // 32)
    of_block = -(-figures["registers"] * 32 // REGISTER_UNIT) * REGISTER_UNIT * warps
    shared = figures["shared"] + dynamic + 1024  # that the system keeps of each block
    blocks = min(REGISTERS // of_block, THREADS // threads, SHARED[architecture] // shared, 32)
    return blocks * threads / THREADS


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nvcc", default="nvcc")
    parser.add_argument("--include", required=True, help="the folder in which <minidl/...> is found: include/ of a build")
    parser.add_argument("--check", action="store_true")
    options = parser.parse_args()
    version = re.search(r"release [\d.]+, V([\d.]+)", subprocess.check_output([options.nvcc, "--version"], text=True)).group(1)
    of_table = re.search(r", nvcc ([\d.]+):", TABLE.read_text()).group(1)
    if options.check and version != of_table:
        print(f"not compared: this nvcc is {version}, {TABLE.name} is of {of_table}")
        sys.exit(SKIPPED)
    files = sorted((ROOT / "kernels" / "cuda").glob("*.cu")) + sorted((ROOT / "core" / "cuda").glob("*.cu"))
    log = pathlib.Path(os.environ.get("MINIDL_NVCC_LOG") or os.devnull)
    built = printed_by_build(log.read_text(errors="replace")) if log.exists() else {}
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        results = list(pool.map(lambda path: figures_of(built.get(path.name) or compile_file(options.nvcc, options.include, path)), files))

    rows, problems = [], []
    kept = dict(re.findall(r"^\| `([^`]+)` \| [^|]+ \| \d+ \| ([\d/]+) \|", TABLE.read_text(), re.M)) if options.check else {}
    for path, found in zip(files, results):
        for kernel in sorted({kernel for kernel, _ in found}):
            of = [found[kernel, a] for a in ARCHITECTURES]
            base, tile = kernel.split("<")[0], map(int, re.findall(r"\d+", kernel.partition("<")[2]))
            threads, dynamic = mma_tile(kernel) or (bound_of(path, kernel), DYNAMIC[base](*tile) if base in DYNAMIC else 0)
            shares = [f"{100 * occupancy(f, threads, dynamic, a):.0f}" for f, a in zip(of, ARCHITECTURES)]
            registers = "/".join(str(f["registers"]) for f in of)
            rows.append(f"| `{kernel}` | {path.name} | {threads} | {registers} | {of[0]['shared'] + dynamic} | {'/'.join(shares)} |")
            for figures, architecture in zip(of, ARCHITECTURES):
                if figures["stack"] or figures["stores"] or figures["loads"]:
                    problems.append(f"{kernel} (sm_{architecture}): {figures['stack']} bytes of stack, spills {figures['stores']} and {figures['loads']}")
            if options.check and kernel not in kept:
                problems.append(f"{kernel} is not in {TABLE.name}: write it anew")
            elif options.check and any(f["registers"] > int(limit) for f, limit in zip(of, kept[kernel].split("/"))):
                problems.append(f"{kernel} takes {registers} registers, {kept[kernel]} in {TABLE.name}")
    for kernel in kept.keys() - {kernel for found in results for kernel, _ in found}:
        problems.append(f"{TABLE.name} has {kernel}, which there is not: write it anew")
    if not options.check:
        print(f"""# Registers and occupancy of the CUDA kernels

`python3 tests/gpu/registers.py --include build/release/include`, nvcc {version}: what its assembler reports for compute capability 8.0 / 9.0, and the share of a
multiprocessor's threads that are resident then, by registers, threads and shared memory. Nothing was run. `--check`, a test where this nvcc is
installed, fails for a spill, for a stack frame, and where a kernel takes more registers than here.

| kernel | file | threads | registers | shared memory, bytes | occupancy, % |
|---|---|---|---|---|---|""")
        print("\n".join(rows))
    for problem in problems:
        print(problem, file=sys.stderr)
    sys.exit(1 if problems else 0)


if __name__ == "__main__":
    main()
