"""Compares whole iterations of nst_gatys with the same work in PyTorch on the CPU; compare_pytorch.sh starts it. Programs run in turns, each in
a process of its own, with the same weights, pictures and number of threads. Every round is added to a file of records at once, and the table is
made of all rounds there that belong to the commit at hand, so that a long measurement can be taken in parts."""
import argparse
import datetime
import json
import os
import pathlib
import statistics
import subprocess
import sys

from PIL import Image, ImageOps

ROOT = pathlib.Path(__file__).resolve().parents[2]
WORK = ROOT / "build" / "compare"
PROGRAMS = ROOT / "build" / "bench" / "bin"
FP32_MODES = ["fp32", "channels_last", "compile"]
# What is set beside PyTorch's loss curve, whose history is 100, too: flags, and the iterations at each size as a share of PyTorch's evaluations.
OURS = {"history 100": (1, ["--history", 100]), "its own history": (1, []), "coarse to fine": (1 / 2, ["--history", 100, "--scales", 2]),
        "tf32, history 100": (1, ["--history", 100, "--precision", "tf32"])}
WARM_UP = 2
MIB = 1 << 20


class Failed(Exception):
    pass


def run(command):
    """Standard output of a program, which must succeed."""
    result = subprocess.run([str(word) for word in command], capture_output=True, text=True)
    if result.returncode != 0:
        raise Failed((result.stderr.strip().splitlines() or [f"ended with {result.returncode}"])[-1])
    return result.stdout


def machine():
    facts = dict(line.split(":", 1) for line in subprocess.check_output("lscpu", text=True).splitlines() if ":" in line)
    facts = {name.strip(): value.strip() for name, value in facts.items()}
    return f"{facts['Model name']} (family {facts['CPU family']}, model {facts['Model']})"


def commit():
    return subprocess.check_output(["git", "-C", ROOT, "describe", "--always", "--dirty", "--exclude=*"], text=True).strip()


class Comparison:
    def __init__(self, options):
        self.options = options
        self.weights = WORK / "weights.safetensors"
        WORK.mkdir(parents=True, exist_ok=True)
        run([PROGRAMS / "nst_convert", options.weights, self.weights])
        if not (options.content and options.style):
            run([PROGRAMS / "minidl_demo_pictures", WORK / "demo", "--size", 1366])
        self.content = options.content or WORK / "demo" / "content.png"
        self.style = options.style or WORK / "demo" / "style.png"

    def pictures(self, size):
        """Content, style and a mixture of them, all square, as files that every program reads as they are."""
        paths = [WORK / f"{name}_{size}.png" for name in ("content", "style", "mixture")]
        content, style = (ImageOps.fit(Image.open(path).convert("RGB"), (size, size)) for path in (self.content, self.style))
        for path, image in zip(paths, (content, style, Image.blend(content, style, 0.5))):
            image.save(path)
        return paths

    def nst_gatys(self, size, init, *flags):
        content, style, mixture = self.pictures(size)
        report = WORK / "nst_gatys.json"
        start = {"content": "content", "mixture": mixture}[init]
        run([PROGRAMS / "nst_gatys", "--preset", "paper", "--size", 0, "--content", content, "--style", style, "--init", start, "--weights",
                         self.weights, "--threads", self.options.threads, "--quiet", "--json", report, *flags])
        return json.loads(report.read_text())

    def pytorch(self, size, init, mode, evaluations):
        content, style, mixture = self.pictures(size)
        start = {"content": content, "mixture": mixture}[init]
        output = run([sys.executable, ROOT / "tests" / "bench" / "pytorch_gatys.py", "--weights", self.weights, "--content", content, "--style",
                              style, "--start", start, "--mode", mode, "--threads", self.options.threads, "--evaluations", evaluations])
        return json.loads(output.splitlines()[-1])

    def measure_ours(self, size):
        report, (content, style, _) = WORK / "step_bench.json", self.pictures(size)
        run([PROGRAMS / "step_bench", "--size", size, "--content", content, "--style", style, "--weights", self.weights, "--threads",
                         self.options.threads, "--evaluations", self.options.evaluations, "--json", report])
        return {f"ours, {case['precision']}": {"note": case["skipped"]} if "skipped" in case else
                {"seconds": case["seconds"], "peak": case["peak_resident_bytes"], "note": ", ".join(case["engines"]),
                 "waited": case["waited_share"]}
                for case in json.loads(report.read_text())}

    def measure_theirs(self, size, mode, expected_loss):
        try:
            report = self.pytorch(size, "mixture", mode, WARM_UP + self.options.evaluations)
        except Failed as problem:
            return {"note": f"not measured: {problem}"}
        difference = abs(report["losses"][0] / expected_loss - 1)
        if difference > (1e-3 if mode in FP32_MODES else 5e-2):
            sys.exit(f"the loss of PyTorch ({mode}) is {report['losses'][0]:.6g}, ours {expected_loss:.6g}: they do not compute the same")
        times = report["seconds"]
        seconds = statistics.median(after - before for before, after in zip(times[WARM_UP - 1:], times[WARM_UP:]))
        return {"seconds": seconds, "peak": report["peak_resident_bytes"], "before": report["resident_before_bytes"],
                "note": f"PyTorch {report['torch']}", "waited": report["waited_share"]}

    def measure_round(self, size):
        expected_loss = self.nst_gatys(size, "mixture", "--iterations", 0)["losses"]["total"]
        cases = self.measure_ours(size)
        for mode in self.options.modes:
            cases[f"PyTorch, {mode}"] = self.measure_theirs(size, mode, expected_loss)
        return {"commit": commit(), "machine": machine(), "date": str(datetime.date.today()), "threads": self.options.threads,
                "evaluations": self.options.evaluations, "size": size, "cases": cases}

    def loss_curve(self, path, size, mode, evaluations):
        """What the file has already is not measured again, but for ours of another commit."""
        place = {"machine": machine(), "threads": self.options.threads, "size": size, "mode": mode}
        curve = json.loads(path.read_text()) if path.exists() else {**place, "ours": {}}
        if any(curve[key] != value for key, value in place.items()):
            raise Failed(f"{path} belongs to another measurement; name another file, or remove it")
        made = {"commit": commit(), "date": str(datetime.date.today())}
        if "theirs" not in curve:
            report = self.pytorch(size, "content", mode, evaluations)
            curve["theirs"] = {**made, "program": f"PyTorch {report['torch']}, {mode}", "loss": report["losses"], "seconds": report["seconds"],
                               "evaluations": list(range(1, evaluations + 1)), "peak": report["peak_resident_bytes"], "waited": report["waited_share"]}
            path.write_text(json.dumps(curve))
        for name in self.options.curves:
            share, flags = OURS[name]
            if curve["ours"].get(name, {}).get("commit") == made["commit"]:
                continue
            iterations = max(1, round(share * evaluations))
            report = self.nst_gatys(size, "content", "--iterations", iterations, "--output", WORK / "result.png", *flags)
            # Losses of coarser sizes are another function's; their seconds and evaluations count.
            points = [point for point in report["history"] if point["iteration"] > report["iterations"] - iterations]
            columns = {key: [point[key] for point in points] for key in ("seconds", "evaluations")}
            curve["ours"][name] = {**made, "program": f"ours, {name}", "loss": [point["total"] for point in points], **columns,
                                   "peak": report["peak_memory_bytes"]}
            path.write_text(json.dumps(curve))
        return curve


def waited(measured_round):
    """Largest share of the time in which a program's threads were ready and had no processor, because others ran there."""
    return max(case["waited"] for case in measured_round["cases"].values() if "waited" in case)


def print_table(rounds, most_allowed):
    """Medians of the rounds of one size; ratios are medians of the ratios within each round."""
    disturbed = sum(waited(r) > most_allowed for r in rounds)
    rounds = [r for r in rounds if waited(r) <= most_allowed]
    if not rounds:
        print(f"\nall {disturbed} rounds were disturbed by other programs: measure again, or allow more with --most-waiting")
        return
    first = rounds[0]
    values = lambda name, key: [r["cases"][name][key] for r in rounds if key in r["cases"].get(name, {})]
    names = list(dict.fromkeys(name for r in rounds for name in r["cases"]))
    ours = "ours, fp32"

    def ratio(name, key):
        return statistics.median(r["cases"][name][key] / r["cases"][ours][key] for r in rounds if key in r["cases"].get(name, {}))

    print(f"\n{first['size']} x {first['size']} pixels: {first['machine']}, {first['threads']} threads, {first['date']}, commit {first['commit']}, "
          f"{len(rounds)} rounds of {first['evaluations']} evaluations; threads waited for a processor {100 * max(map(waited, rounds)):.1f} % of "
          f"the time at most ({disturbed} disturbed rounds left out)\n")
    print("| program | seconds an evaluation | / ours | peak MiB | / ours | MiB before the first picture | |\n|---|---|---|---|---|---|---|")
    for name in names:
        note = rounds[-1]["cases"].get(name, {}).get("note", "")
        if not values(name, "seconds"):
            print(f"| {name} | | | | | | {note} |")
            continue
        before = f"{statistics.median(values(name, 'before')) / MIB:.0f}" if values(name, "before") else ""
        print(f"| {name} | {statistics.median(values(name, 'seconds')):.3f} | {ratio(name, 'seconds'):.2f} | "
              f"{statistics.median(values(name, 'peak')) / MIB:.0f} | {ratio(name, 'peak'):.2f} | {before} | {note} |")
    fp32 = [name for mode in FP32_MODES if values(name := f"PyTorch, {mode}", "seconds")]
    if fp32:
        fastest = min(fp32, key=lambda name: ratio(name, "seconds"))
        print(f"\nThe fastest fp32 of PyTorch ({fastest}) takes {ratio(fastest, 'seconds'):.2f} times as long as ours.")


def print_curve(curve):
    theirs, ours = curve["theirs"], list(curve["ours"].values())
    print(f"\n{curve['size']} x {curve['size']} pixels from content: {curve['machine']}, {curve['threads']} threads\n")
    for half in (theirs, *ours):
        print(f"* {half['program']} ({half['date']}, commit {half['commit']}): {half['evaluations'][-1]} evaluations in {half['seconds'][-1]:.0f} s to "
              f"{half['loss'][-1]:.4g}, peak {half['peak'] / MIB:.0f} MiB")
    print("\nSeconds (evaluations) to that loss, and how many times sooner:\n\n| evaluations | loss | PyTorch |", *(f" {half['program']} |" for half in ours))
    print("|---|---|---|" + "---|" * len(ours))
    for evaluation in (10, 30, 100, 200, len(theirs["loss"])):
        if evaluation > len(theirs["loss"]):
            continue
        loss, seconds = theirs["loss"][evaluation - 1], theirs["seconds"][evaluation - 1]
        print(f"| {evaluation} | {loss:.4g} | {seconds:.1f} |", *(f" {arrival(half, loss, seconds)} |" for half in ours))


def arrival(half, loss, seconds):
    reached = next((i for i, value in enumerate(half["loss"]) if value <= loss), None)
    if reached is None:
        return "not reached"
    return f"{half['seconds'][reached]:.1f} ({half['evaluations'][reached]}): {seconds / half['seconds'][reached]:.1f}"


def plot(curve, path):
    import matplotlib
    matplotlib.use("svg")
    matplotlib.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "minidl", "font.family": "sans-serif"})
    from matplotlib import pyplot
    figure, axes = pyplot.subplots(figsize=(6, 3.5))
    for half in (curve["theirs"], *curve["ours"].values()):
        axes.plot(half["seconds"], half["loss"], label=half["program"])
    axes.set(yscale="log", xlabel="seconds", ylabel="loss", title=f"{curve['size']} x {curve['size']} pixels, from content, fp32, {curve['threads']} threads")
    axes.legend()
    figure.savefig(path, bbox_inches="tight", metadata={"Date": None})


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--weights", default=os.environ.get("MINIDL_WEIGHTS"), help="VGG-19; or the environment variable MINIDL_WEIGHTS")
    parser.add_argument("--content", help="picture (default: that of minidl_demo_pictures)")
    parser.add_argument("--style", help="picture (default: that of minidl_demo_pictures)")
    parser.add_argument("--sizes", type=int, nargs="+", default=[256, 512], help="sides of the pictures, which are made square")
    parser.add_argument("--modes", nargs="+", default=[*FP32_MODES, "bf16"], help="of PyTorch: fp32, channels_last, compile, bf16 (all default)")
    parser.add_argument("--rounds", type=int, default=5, help="to be added to the records; 0: only the table of those there")
    parser.add_argument("--evaluations", type=int, default=8, help="timed in each process")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--most-waiting", type=float, default=0.03, metavar="SHARE",
                        help="rounds in which threads waited for a processor, which others had, for longer are left out")
    parser.add_argument("--records", type=pathlib.Path, default=WORK / "records.jsonl")
    parser.add_argument("--loss-curve", type=pathlib.Path, metavar="FILE",
                        help="instead: loss against seconds, kept in FILE, at the first size with the first mode")
    parser.add_argument("--curve-evaluations", type=int, default=300)
    parser.add_argument("--curves", nargs="+", choices=OURS, default=[name for name in OURS if "tf32" not in name],
                        help="what of ours is set beside PyTorch's loss (tf32: on processors with AMX)")
    parser.add_argument("--plot", type=pathlib.Path, metavar="SVG", help="picture of the loss curve")
    options = parser.parse_args()
    if not options.weights:
        parser.error("--weights is missing: name a VGG-19 file, or set MINIDL_WEIGHTS")
    try:
        comparison = Comparison(options)
        if options.loss_curve:
            curve = comparison.loss_curve(options.loss_curve, options.sizes[0], options.modes[0], options.curve_evaluations)
            print_curve(curve)
            if options.plot:
                plot(curve, options.plot)
            return
        for size in options.sizes:
            for _ in range(options.rounds):
                with open(options.records, "a") as records:
                    records.write(json.dumps(comparison.measure_round(size)) + "\n")
    except Failed as problem:
        sys.exit(f"compare_pytorch.py: {problem}")
    rounds = [json.loads(line) for line in options.records.read_text().splitlines()]
    for size in options.sizes:
        here = [r for r in rounds if r["size"] == size and r["commit"] == commit() and r["threads"] == options.threads]
        if here:
            print_table(here, options.most_waiting)


if __name__ == "__main__":
    main()
