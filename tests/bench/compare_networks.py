#!/usr/bin/env python3
"""What the small network of the library makes of photos and paintings, beside what VGG makes of them, judged by VGG.

    python3 tests/bench/compare_networks.py --weights imagenet-vgg-verydeep-19.mat --contents a.jpg b.jpg --styles c.jpg d.jpg

Both paint every photo in every style with nst_gatys' defaults; what the same command has left in --work is not painted again.
--match-content raises the small network's weight of content, where its picture is farther from the photo than VGG's, until it no longer is.
Prints a table:

    style         log of how much smaller the mean over layers of ||G - A||^2 / ||A||^2 is than for the photo, as a share of
                  what it is for VGG's picture
    paper's loss  the same for content + 1000 style in the terms of Gatys et al.
    content       ||F - P||^2 over that of VGG's picture
    alpha         weight of content, of the small network's picture"""
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
MOST_PICTURES = 5  # of one pair, before its content is given up


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--weights', required=True)
    parser.add_argument('--contents', nargs='+', type=pathlib.Path, required=True)
    parser.add_argument('--styles', nargs='+', type=pathlib.Path, required=True)
    parser.add_argument('--student', help='in place of the built-in network')
    parser.add_argument('--match-content', action='store_true', help="no content farther from the photo's than that of VGG's picture")
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

    def paint_close(content, style, its):  # the small network's picture, no farther from the photo than VGG's lies with its loss
        alpha, tried = 1.0, []  # logarithms of alpha and of the ratio of the losses
        while True:
            more = [f'--alpha={alpha:.3f}'] if tried else []
            picture, seconds = paint(content, style, ''.join(['small', *more]), small + more)
            ratio = loss(content, style, picture, CONTENT) / its
            if not options.match_content or ratio <= 1.0 or len(tried) == MOST_PICTURES - 1:
                return picture, seconds, ratio, alpha
            tried.append((math.log(alpha), math.log(ratio)))
            slope = -0.5
            if len(tried) > 1 and tried[-1][1] < tried[-2][1]:
                slope = (tried[-1][1] - tried[-2][1]) / (tried[-1][0] - tried[-2][0])
            alpha = math.exp(tried[-1][0] + min(math.log(4), -(tried[-1][1] + 0.01) / slope))

    print('| photo | style | style, % | paper\'s loss, % | content | alpha | seconds | with VGG |\n|---|---|---|---|---|---|---|---|')
    rows = []
    for content in options.contents:
        for style in options.styles:
            of_vgg, vgg_seconds = paint(content, style, 'vgg', vgg)
            of_small, seconds, ratio, alpha = paint_close(content, style, loss(content, style, of_vgg, CONTENT))
            row = []
            for terms in STYLE, PAPER:
                photo, ours, its = (loss(content, style, picture, terms) for picture in ('content', of_small, of_vgg))
                row.append(100 * math.log(photo / ours) / math.log(photo / its))
            row += [ratio, alpha, seconds, vgg_seconds]
            rows.append(row)
            print(f'| {content.stem} | {style.stem} | {table_cells(row)} |', flush=True)
    print(f'| median | | {table_cells([statistics.median(column) for column in zip(*rows)])} |')


def table_cells(row):
    style, paper, ratio, alpha, seconds, vgg_seconds = row
    return f'{style:.0f} | {paper:.0f} | {ratio:.3f} | {alpha:.2f} | {seconds:.1f} | {vgg_seconds:.1f}'


if __name__ == '__main__':
    main()
