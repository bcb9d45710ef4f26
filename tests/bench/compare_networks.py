#!/usr/bin/env python3
"""What the small network of the library makes of photos and paintings, beside what VGG makes of them, judged by VGG.

    python3 tests/bench/compare_networks.py --weights imagenet-vgg-verydeep-19.mat --contents a.jpg b.jpg --styles c.jpg d.jpg

Both paint every photo in every style with nst_gatys' defaults; what the same command has left in --work is not painted again.
Prints a table:

    style         log of how much smaller the mean over layers of ||G - A||^2 / ||A||^2 is than for the photo, as a share of
                  what it is for VGG's picture
    paper's loss  the same for content + 1000 style in the terms of Gatys et al.
    content       ||F - P||^2 over that of VGG's picture"""
import argparse
import hashlib
import json
import math
import os
import pathlib
import statistics
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
STYLE = ['--alpha', '0', '--beta', '1', '--tv', '0']
CONTENT = ['--alpha', '1', '--beta', '0', '--tv', '0']
PAPER = ['--preset', 'paper', '--pooling', 'avg']


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--weights', required=True)
    parser.add_argument('--contents', nargs='+', type=pathlib.Path, required=True)
    parser.add_argument('--styles', nargs='+', type=pathlib.Path, required=True)
    parser.add_argument('--student', help='in place of the built-in network')
    parser.add_argument('--size', default='512')
    parser.add_argument('--precision', default='bf16', help='of VGG (%(default)s)')
    parser.add_argument('--program', default=str(ROOT / 'build/release/bin/nst_gatys'))
    parser.add_argument('--work', type=pathlib.Path, default=ROOT / 'build/compare_networks')
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    vgg = ['--weights', options.weights, '--precision', options.precision]
    small = ['--quality', 'normal'] + (['--student', options.student] if options.student else [])

    def gatys(content, style, flags):
        command = [options.program, '--content', str(content), '--style', str(style), '--size', options.size, '--quiet', *flags]
        done = subprocess.run(command, text=True, stderr=subprocess.PIPE,
                              env={name: value for name, value in os.environ.items() if name != 'MINIDL_WEIGHTS'})
        if done.returncode != 0:
            sys.exit(f'{" ".join(command)}: {done.stderr}')

    program = hashlib.sha256(pathlib.Path(options.program).read_bytes()).hexdigest()

    def paint(content, style, name, flags):
        picture = options.work / f'{content.stem}_{style.stem}_{name}.png'
        beside, made_with = picture.with_suffix('.json'), [program, str(content.resolve()), str(style.resolve()), options.size, *flags]
        made = json.loads(beside.read_text()) if beside.exists() and picture.exists() else {}
        if made.get('with') != made_with:
            start = time.time()
            gatys(content, style, [*flags, '-o', str(picture)])
            made = {'with': made_with, 'seconds': time.time() - start}
            beside.write_text(json.dumps(made))
        return picture, made['seconds']

    def loss(content, style, picture, terms):
        report = options.work / 'loss.json'
        gatys(content, style, [*vgg, *terms, '--init', str(picture), '--iterations', '0', '--json', str(report)])
        return json.loads(report.read_text())['losses']['total']

    print('| photo | style | style, % | paper\'s loss, % | content | seconds | with VGG |\n|---|---|---|---|---|---|---|')
    rows = []
    for content in options.contents:
        for style in options.styles:
            of_small, seconds = paint(content, style, 'small', small)
            of_vgg, vgg_seconds = paint(content, style, 'vgg', vgg)
            row = []
            for terms in STYLE, PAPER:
                photo, ours, its = (loss(content, style, picture, terms) for picture in ('content', of_small, of_vgg))
                row.append(100 * math.log(photo / ours) / math.log(photo / its))
            row += [loss(content, style, of_small, CONTENT) / loss(content, style, of_vgg, CONTENT), seconds, vgg_seconds]
            rows.append(row)
            print(f'| {content.stem} | {style.stem} | {row[0]:.0f} | {row[1]:.0f} | {row[2]:.2f} | {seconds:.1f} | {vgg_seconds:.1f} |',
                  flush=True)
    style, paper, ratio, seconds, vgg_seconds = (statistics.median(column) for column in zip(*rows))
    print(f'| median | | {style:.0f} | {paper:.0f} | {ratio:.2f} | {seconds:.1f} | {vgg_seconds:.1f} |')


if __name__ == '__main__':
    main()
