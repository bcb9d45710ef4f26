#!/usr/bin/env python3
"""Are the tests of the CUDA kernels good enough to notice when a kernel is wrong? Makes small changes (mutants.py) in all
kernels, runs the tests with each of them on the emulated device and lists those that no test notices.

    cmake --preset emulated && cmake --build --preset emulated
    python3 tests/emulator/mutate.py [FILE...] [--rest | --survivors] [--jobs N] [--report docs/mutation.md]

FILE names some of the sources (gather_product.cu); --rest goes on with those that have not been tried; --survivors runs
those again that survived the last time, with more tests."""
import argparse
import collections
import concurrent.futures
import datetime
import hashlib
import json
import os
import pathlib
import re
import resource
import shlex
import subprocess
import sys
import time

sys.dont_write_bytecode = True  # nothing into the source tree
import mutants

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = ROOT / 'build/emulated'
WORK = ROOT / 'build/mutation'
REJECTED = WORK / 'rejected.json'  # what did not compile the last time
TENSOR_CORES = ['mma.cuh', 'mma_types.cuh', 'mma_tile.cuh', 'window_tiles.cuh', 'window_sums.cuh', 'gather_mma.cuh', 'outer_mma.cuh',
                'result_writer.cuh', 'moments_writer.cuh']
HEADERS = ['windows.cuh', 'last_block.cuh', 'reduce.cuh', 'products.cuh', 'arrays.cuh', 'channels.cuh', 'map.cuh', 'gather_output.cuh', 'half_formats.cuh', 'rounded_output.cuh'] + TENSOR_CORES
THREADS = '-*Thread*:*InstructionSets*'  # on a device, those test nothing more
SLOW = ':*AgreesWithDoublePrecision*:*TellsItsWorkspace*:*HasTheBytes*:*LargeGradients*:*LargeProducts*:*LongSums*'
# Milliseconds of tests for each mutant, the shortest first: of those that are not slow, and of all for survivors.
QUICK, THOROUGH = 4000, 40000
# Test program, which of its tests, and the sources that it is to watch over (none: all that it comes to).
PROGRAMS = [
    ('emulator_kernel_work_test', THREADS, []),
    ('core_tensor_test', THREADS, []),
    ('kernels_adam_update_test', THREADS, []),
    ('kernels_batch_norm_test', THREADS, []),
    ('kernels_smooth_test', THREADS, []),
    ('kernels_conv2d_pool2d_test', THREADS, ['pool2d.cu', 'result_writer.cuh']),
    ('kernels_conv2d_test', '*/simt' + THREADS, []),
    ('kernels_conv2d_test', '*OnIntegers/mma_tf32:*OnIntegers/mma_bf16:*NanStays*/mma_bf16' + THREADS, ['pixel_pairs.cu', 'input_operand.cu', 'gather_output.cuh']),
    ('kernels_cuda_kernels_test', THREADS, []),
    ('kernels_cuda_pieces_test', THREADS, []),
    ('kernels_elementwise_test', THREADS, []),
    ('kernels_gemm_test', THREADS, []),
    ('kernels_gram_test', THREADS, []),
    ('kernels_half_test', THREADS, []),
    ('kernels_instance_norm_test', THREADS, []),
    ('kernels_conv2d_added_test', THREADS, ['gather_mma.cuh', 'window_tiles.cuh']),
    ('kernels_curvature_pair_test', THREADS, ['curvature_pair.cu', 'reduce.cuh', 'last_block.cuh']),
    ('kernels_lbfgs_loops_test', THREADS, []),
    ('kernels_log_softmax_test', THREADS, []),
    ('kernels_mma_plans_test', THREADS, TENSOR_CORES + ['windows.cuh', 'gather_output.cuh', 'add_parts.cu', 'mma_operand.cu']),
    ('kernels_mma_windows_test', THREADS, TENSOR_CORES + ['windows.cuh', 'gather_output.cuh', 'add_parts.cu']),
    ('kernels_pad_test', THREADS, []),
    ('kernels_pool2d_test', THREADS, []),
    ('kernels_reduce_test', THREADS, []),
    ('kernels_rounded_results_test', THREADS, ['result_writer.cuh', 'add_parts.cu', 'mma_operand.cu', 'pool2d.cu', 'gram.cu', 'mirrored_sums.cu',
                                              'rounded_output.cuh', 'norms.cu']),
    ('kernels_result_moments_test', THREADS, ['moments_writer.cuh', 'norms.cu', 'result_writer.cuh', 'upsample_conv2d.cu']),
    ('kernels_total_variation_test', THREADS, []),
    ('kernels_upsample_conv2d_test', '*OnIntegers*:*Accumulate*' + THREADS, ['upsample_conv2d.cu', 'windows.cuh',
                                                                             'outer_product.cu', 'gather_product.cu']),
    ('kernels_upsample_test', THREADS, []),
]
MISALIGNED = ['kernels_batch_norm_test', 'kernels_elementwise_test', 'kernels_instance_norm_test', 'kernels_pad_test',
              'kernels_pool2d_test', 'kernels_reduce_test', 'kernels_upsample_test']  # once more so
DEVICE = {'MINIDL_TEST_DEVICE': 'cuda', 'MINIDL_CUDA_CACHING': '0', 'MINIDL_THREADS': '1'}
# The order of threads and the moment of copies matter where threads wait for each other.
SCHEDULES = [{'MINIDL_EMULATOR_SCHEDULE': 'reverse', 'MINIDL_EMULATOR_COPIES': 'early'},
             {'MINIDL_EMULATOR_SCHEDULE': 'random', 'MINIDL_EMULATOR_COPIES': 'random'}]
SCHEDULED = ('barrier', 'wait')


def run(command, **options):
    return subprocess.run(command, text=True, capture_output=True, **options)


def commands(target):
    return run(['ninja', '-t', 'commands', target], cwd=BUILD, check=True).stdout.splitlines()


def all_paths():
    cu = sorted((ROOT / 'kernels/cuda').glob('*.cu')) + [ROOT / 'core/cuda/fill.cu']
    return [ROOT / 'kernels/cuda' / name for name in HEADERS] + cu


class Mutation:
    """Of some of the sources; the others are used as the emulated build has compiled them."""
    def __init__(self, files):
        self.paths = [path for path in all_paths() if not files or path.name in files]
        with_headers = any(path.suffix == '.cuh' for path in self.paths)
        self.compiled = [path for path in (all_paths() if with_headers else self.paths) if path.suffix == '.cu']
        self.sources = {path: mutants.Source(path.read_text()) for path in self.paths}
        self.sites, self.mutants = {}, {}
        alike = collections.Counter()
        for path, source in self.sources.items():
            for site in source.sites:
                site.number, site.file = len(self.sites) + 1, path.name
                site.line = source.text.count('\n', 0, site.begin) + 1
                self.sites[site.number] = site
                for mutant in site.mutants:
                    mutant.number, mutant.site = len(self.mutants) + 1, site
                    name = f'{site.file} {mutant.kind}: {mutant.shown}'
                    alike[name] += 1
                    mutant.key = f'{name} ({alike[name]})'
                    self.mutants[mutant.number] = mutant
        self.known_rejected = set(json.loads(REJECTED.read_text()) if REJECTED.exists() else [])
        self.rejected = {number for number, mutant in self.mutants.items() if mutant.key in self.known_rejected}

    # Building

    def written(self, path):
        return WORK / 'include/minidl' / path.relative_to(ROOT)

    def write(self):
        for path in all_paths():
            target = self.written(path)
            target.parent.mkdir(parents=True, exist_ok=True)
            source = self.sources.get(path)
            text = source.rendered(self.rejected) if source else path.read_text()
            if not target.exists() or target.read_text() != text:
                target.write_text(text)

    def compile_command(self, path):
        """That of the emulated build, for the source with mutants and its headers."""
        wanted = f'{path.relative_to(ROOT)}.o'
        line = next(line for line in self.lines if f'-c {path}' in line and wanted in line)
        words = [word for word in shlex.split(line) if not word.startswith(('-W', '-O', '-ffile-prefix-map'))]
        if 'ccache' in words[0]:
            words = words[1:]
        words = words[:words.index('-MD')]
        # An index outside of an array of registers ends the test, as it does under the sanitizers.
        return words[:1] + ['-I', str(WORK / 'include')] + words[1:] + [
            '-w', '-fsanitize=bounds', '-fsanitize-undefined-trap-on-error',
            '-include', str(ROOT / 'tests/emulator/mutation.h'), '-c', str(self.written(path))]

    def compile(self, path, syntax_only):
        """The numbers of mutants that do not compile."""
        how = ['-fsyntax-only', '-O0', '-fmax-errors=0'] if syntax_only else [
            '-O2', '-o', str(WORK / f'{path.name}.o')]
        done = run(self.compile_command(path) + how)
        texts = {}

        def named(pattern):
            found = set()
            for name, line in re.findall(rf'^([^\s:]+):(\d+):\d+:{pattern}', done.stderr, re.M):
                if name.startswith(str(WORK)):
                    text = texts.setdefault(name, pathlib.Path(name).read_text().splitlines())
                    found |= {int(number) for number in re.findall(r'/\*m(\d+)\*/', text[int(line) - 1])}
            return found
        # Names that are not there make others wrong.
        wrong = named('.*(?:was not declared|has no member named)') or named(' error') or named('')
        if done.returncode != 0 and not wrong - self.rejected:
            sys.exit(f'{path.name} with mutants does not compile:\n{done.stderr[:3000]}')
        return wrong

    def digest(self, path):
        """Of what an object is made of."""
        parts = [self.written(p).read_bytes() for p in all_paths() if p == path or p.suffix == '.cuh']
        return hashlib.sha256(b''.join(parts + [(ROOT / 'tests/emulator/mutation.h').read_bytes()])).hexdigest()

    def build(self, pool):
        self.lines = commands('minidl_cuda')
        cu = self.compiled
        self.write()
        stamps = WORK / 'objects.json'
        made = json.loads(stamps.read_text()) if stamps.exists() else {}
        pending = [path for path in cu if made.get(path.name) != self.digest(path)]
        while pending:  # what does not compile is left out, until everything else does
            found = list(pool.map(lambda path: self.compile(path, True), pending))
            print(f'{sum(map(len, found))} mutants do not compile', flush=True)
            pending = [path for path, wrong in zip(pending, found) if wrong]
            self.rejected |= set().union(*found)
            rejected = {self.mutants[number].key for number in self.rejected}
            mine = {mutant.key for mutant in self.mutants.values()}
            REJECTED.write_text(json.dumps(sorted(rejected | (self.known_rejected - mine)), indent=0))
            self.write()
        old = [path for path in cu if made.get(path.name) != self.digest(path)]
        list(pool.map(lambda path: self.compile(path, False), old))
        stamps.write_text(json.dumps({**made, **{path.name: self.digest(path) for path in cu}}, indent=0))
        objects = [str(WORK / f'{path.name}.o') for path in cu] + [str(WORK / 'mutation.o')]
        run(['c++', '-std=c++20', '-O2', '-I', str(ROOT / 'tests'), '-c', str(ROOT / 'tests/emulator/mutation.cpp'), '-o',
             objects[-1]], check=True)
        (WORK / 'bin').mkdir(exist_ok=True)

        def link(program):
            words = shlex.split(commands(program)[-1].removeprefix(': && ').removesuffix(' && :'))
            out = words.index('-o')
            words[out + 1] = str(WORK / 'bin' / program)
            run(words[:out] + objects + words[out:], cwd=BUILD, check=True)
        list(pool.map(link, dict.fromkeys(program for program, _, _ in PROGRAMS)))

    # Running

    def test(self, program, tests, milliseconds, number=0, environment=None, reached=None):
        """None, or how the run failed."""
        variables = {**os.environ, **DEVICE, **(environment or {})}
        if number:
            variables['MINIDL_MUTANT'] = f'{self.mutants[number].site.number}:{number}'
        if reached:
            variables['MINIDL_MUTATION_REACHED'] = str(reached)
        seconds = 2 + 4 * milliseconds // 1000

        def limits():
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
            resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
        try:
            done = subprocess.run([str(WORK / 'bin' / program), f'--gtest_filter={tests}', '--gtest_break_on_failure'],
                                  env=variables, preexec_fn=limits, timeout=20 * seconds, stdin=subprocess.DEVNULL,
                                  stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        except subprocess.TimeoutExpired:
            return 'hangs'
        if done.returncode == 0:
            return None
        if number == 0:
            print(done.stdout.decode(errors='replace')[-2000:])
        return 'does not end' if done.returncode in (-9, -24) else 'fails'

    def find_tests(self, pool, slow):
        """For each site the tests that come to it, as (program, misaligned, test, milliseconds)."""
        self.tests, self.slow = collections.defaultdict(list), slow
        self.noticed = collections.defaultdict(collections.Counter)  # by file: how often a group of tests has

        def record(entry):
            program, tests, files, misaligned = entry
            tests += SLOW
            binary = (WORK / 'bin' / program).read_bytes()
            digest = hashlib.sha256(binary + f'{tests} {misaligned}'.encode()).hexdigest()
            path = WORK / f'{program}.{digest[:16]}.reached'
            if not path.exists():
                partial = path.with_suffix('.partial')
                if self.test(program, tests, 100000, environment=self.alignment(misaligned), reached=partial):
                    sys.exit(f'{program} fails without a mutant')
                partial.rename(path)
            for line in path.read_text().splitlines():
                name, milliseconds, *sites = line.split()
                for site in map(int, sites):
                    if not files or self.sites[site].file in files:
                        self.tests[site].append((program, misaligned, name, int(milliseconds)))
        entries = [(*entry, False) for entry in PROGRAMS]
        list(pool.map(record, entries + [(*entry, True) for entry in PROGRAMS if entry[0] in MISALIGNED]))

    @staticmethod
    def alignment(misaligned):
        return {'MINIDL_TEST_MISALIGNED': '1'} if misaligned else {}

    def try_mutant(self, number):
        """How it is caught, or None."""
        mutant = self.mutants[number]
        groups, total = collections.defaultdict(list), 0
        for program, misaligned, name, milliseconds in sorted(self.tests[mutant.site.number], key=lambda test: test[3]):
            if total > (THOROUGH if self.slow else QUICK):
                break
            total += milliseconds
            groups[milliseconds > 400, program, misaligned].append((name, milliseconds))
        # First those that noticed most of the mutants of this file for their time.
        noticed = self.noticed[mutant.site.file]
        ordered = sorted(groups.items(), key=lambda group: (10 + sum(milliseconds for _, milliseconds in group[1])) /
                         (1 + noticed[group[0]]))
        for environment in [{}] + (SCHEDULES if mutant.kind in SCHEDULED else []):
            for group, tests in ordered:
                _, program, misaligned = group
                how = self.test(program, ':'.join(name for name, _ in tests), sum(ms for _, ms in tests), number,
                                {**environment, **self.alignment(misaligned)})
                if how:
                    noticed[group] += 1
                    return f'{program} {how}' + ''.join(f' {value}' for value in environment.values())
        return None


def report(mutation, results, path, command):
    commit = run(['git', 'rev-parse', '--short', 'HEAD'], cwd=ROOT).stdout.strip()
    rows, survivors = [], []
    total = collections.Counter()
    for source in mutation.paths:
        count = collections.Counter()
        for mutant in mutation.mutants.values():
            if mutant.site.file != source.name:
                continue
            if mutant.number in mutation.rejected:
                count['rejected'] += 1
            elif mutant.key in results:
                count['mutants'] += 1
                count['caught'] += bool(results[mutant.key])
                if not results[mutant.key]:
                    survivors.append(mutant)
        if count['mutants'] == 0:
            continue
        count['sites'] = len({m.site.number for m in mutation.mutants.values()
                              if m.site.file == source.name and m.key in results})
        total += count
        rows.append((source.name, count))
    rows.append(('all', total))
    compiled = len(mutation.mutants) - len(mutation.rejected)
    lines = ['# Mutants of the CUDA kernels', '',
             f'What `{command}` found on {datetime.date.today()} at commit {commit}; '
             'how it works is in [testing.md](testing.md#mutants). '
             f'{total["mutants"]} of {compiled} mutants were tried.', '',
             '| file | sites | mutants | caught | | survivors | do not compile |', '|---|---|---|---|---|---|---|']
    for name, count in rows:
        lines.append(f'| {name} | {count["sites"]} | {count["mutants"]} | {count["caught"]} | '
                     f'{100 * count["caught"] / max(1, count["mutants"]):.1f} % | {count["mutants"] - count["caught"]} | '
                     f'{count["rejected"]} |')
    lines += ['', '## Survivors', '']
    for mutant in survivors:
        lines.append(f'- {mutant.site.file}:{mutant.site.line} {mutant.kind}: {mutant.shown}')
    text = '\n'.join(lines) + '\n'
    pathlib.Path(path).write_text(text)
    print(text)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('files', nargs='*', metavar='FILE')
    parser.add_argument('--survivors', action='store_true')
    parser.add_argument('--rest', action='store_true')
    parser.add_argument('--only-report', action='store_true', help='of the last results')
    parser.add_argument('--jobs', type=int, default=os.cpu_count())
    parser.add_argument('--report', default=str(WORK / 'mutation.md'))
    options = parser.parse_args()

    WORK.mkdir(parents=True, exist_ok=True)
    results_path = WORK / 'results.json'
    results = json.loads(results_path.read_text()) if results_path.exists() else {}
    names = {path.name for path in all_paths()}
    if not set(options.files) <= names:
        sys.exit(f'no such source: {set(options.files) - names}; there are {sorted(names)}')
    if options.only_report:
        return report(Mutation([]), results, options.report, ' '.join(['python3', *sys.argv]))
    mutation = Mutation(options.files)
    with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
        start = time.time()
        mutation.build(pool)
        print(f'built in {time.time() - start:.0f} s', flush=True)
        mutation.find_tests(pool, options.survivors)
        print(f'tests recorded after {time.time() - start:.0f} s', flush=True)
        chosen = [number for number in mutation.mutants if number not in mutation.rejected]
        if options.survivors:
            chosen = [number for number in chosen if not results.get(mutation.mutants[number].key)]
        elif options.rest:
            chosen = [number for number in chosen if mutation.mutants[number].key not in results]
        for done, (number, how) in enumerate(zip(chosen, pool.map(mutation.try_mutant, chosen)), 1):
            mutant = mutation.mutants[number]
            results[mutant.key] = how
            if not how:
                print(f'survives: {mutant.site.file}:{mutant.site.line} {mutant.kind}: {mutant.shown}', flush=True)
            if done % 50 == 0:
                print(f'{done} of {len(chosen)} after {time.time() - start:.0f} s', flush=True)
                results_path.write_text(json.dumps(results, indent=0))
    results_path.write_text(json.dumps(results, indent=0))
    report(Mutation([]), results, options.report, ' '.join(['python3', *sys.argv]))


if __name__ == '__main__':
    main()
