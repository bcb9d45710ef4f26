"""Mutants of CUDA device code: one small change each, found in the text of a source file. All mutants of a file are
compiled into it at once; mutation::mutant chooses one at run time."""
import re
from dataclasses import dataclass, field

from device_code import ASSIGNMENTS, CLOSING, OPENING, PRECEDENCE, DeviceCode

OTHER_ARITHMETIC = {'+': '-', '-': '+', '*': '+', '/': '*', '%': '/', '<<': '>>', '>>': '<<', '&': '|', '|': '&'}
OTHER_COMPARISON = {'<': '<=', '<=': '<', '>': '>=', '>=': '>', '==': '!=', '!=': '=='}
FARTHER_BOUND = {'<': '- 1', '<=': '+ 1', '>': '+ 1', '>=': '- 1'}  # the other way is the other comparison
PAIRS = [('x', 'y'), ('row', 'column'), ('rows', 'columns'), ('h', 'w'), ('r', 's'), ('i', 'j'), ('top', 'left'),
         ('left', 'right'), ('above', 'below'), ('row0', 'column0'), ('window0', 'channel0'), ('c0', 'k0'), ('k', 'c'),
         ('first', 'second'), ('z', 'x'), ('begin', 'end'), ('window', 'channel')]
ACCUMULATORS = {'multiply_add': -1, 'add_products': -1, 'combine': 0}  # which argument the others are added to


@dataclass
class Mutant:
    kind: str
    text: str  # what stands there instead
    shown: str = ''  # in reports
    number: int = 0


@dataclass
class Site:
    begin: int
    end: int
    mutants: list
    statement: bool = False
    number: int = 0
    inner: list = field(default_factory=list)


class Source(DeviceCode):
    def __init__(self, text):
        super().__init__(text)
        self.sites = []
        self.find_sites()

    # What is mutated

    def add(self, begin, end, kind, *texts, shown='', statement=False):
        original = self.part(begin, end)
        mutants = [Mutant(kind, text, shown or f'`{original}` -> `{text}`') for text in texts if text != original]
        if mutants:
            self.sites.append(Site(begin, end, mutants, statement))

    def constant_parts(self):
        """Tokens that have to be known to the compiler."""
        fixed = set()
        for i, token in enumerate(self.tokens):
            if token.text in ('constexpr', 'static_assert', 'MINIDL_SHARED', 'MINIDL_DYNAMIC_SHARED'):
                j = i
                in_if = self.tokens[i - 1].text == 'if'
                while self.tokens[j].text != ';' and not (in_if and self.tokens[j].text == ')'):
                    if self.tokens[j].text == '(':
                        fixed.update(range(j, self.tokens[j].partner))
                        j = self.tokens[j].partner
                        continue
                    fixed.add(j)
                    j += 1
            elif token.text == '<' and token.partner is not None:
                fixed.update(range(i, token.partner))
            elif token.text == 'auto' and self.tokens[i + 1].text == '[':
                fixed.update(range(i, self.tokens[i + 1].partner))
            elif token.text in (';', '{', '}'):
                fixed.update(self.later_declarators(i + 1))
        return fixed

    def later_declarators(self, i):
        """Of a statement like `float x[2], y[2];` the second and later names."""
        if i + 1 >= len(self.tokens) or not (re.match(r'[A-Za-z_]', self.tokens[i].text) and re.match(r'\w', self.tokens[i + 1].text)):
            return
        if self.tokens[i].text in ('return', 'else'):
            return
        while self.tokens[i].text not in (';', '}'):
            if self.tokens[i].text == ',':
                yield i + 1
            i = self.tokens[i].partner + 1 if (self.tokens[i].partner or 0) > i else i + 1

    def find_sites(self):
        fixed = self.constant_parts()
        self.headers = {}  # tokens of the third part of for (...; ...; ...)
        bodies = list(self.device_bodies())
        device = {i for first, last in bodies for i in range(first, last)}
        body_of = {i: (first, last) for first, last in bodies for i in range(first, last)}
        words = {(first, last): {token.text for token in self.tokens[first - 60:last]} for first, last in bodies}
        for i in sorted(device):
            token = self.tokens[i]
            if token.text == 'for' and self.tokens[i + 1].text == '(':
                self.for_loop(i + 1)
            if i in fixed:
                continue
            self.calls(i)
            if token.text in ('if', 'while') and self.tokens[i + 1].text == '(':
                last = self.tokens[i + 1].partner
                begin, end = self.tokens[i + 2].begin, self.tokens[last - 1].end
                self.add(begin, end, 'condition', *(['false'] if token.text == 'while' else ['true', 'false']))
            elif token.text == '?':
                self.add(self.left_of(i, 0), self.tokens[i - 1].end, 'condition', 'true', 'false')
            elif self.is_binary(i):
                self.binary(i)
            elif token.text in ASSIGNMENTS and token.text != '=' and i not in self.headers:
                self.accumulation(i)
            elif token.text == '++' and i not in self.headers and self.tokens[i - 1].text in (';', '{', '}', ')'):
                end = self.tokens[self.end_of_statement(i)].end
                self.add(token.begin, end, 'accumulation', ';', statement=True)
            elif re.match(r'[a-z]\w*$', token.text):
                self.swap(i, words[body_of[i]])
        for i in range(len(self.tokens)):
            if i not in device and i not in fixed:
                self.geometry(i)
        self.nest()

    def end_of_statement(self, i):
        while self.tokens[i].text != ';':
            i = self.tokens[i].partner + 1 if self.tokens[i].text in OPENING else i + 1
        return i

    def calls(self, i):
        name = self.tokens[i].text
        if name in ('__syncthreads', 'async_commit', '__syncwarp', 'async_wait'):
            last = self.end_of_statement(i)
            kind = {'__syncthreads': 'barrier', '__syncwarp': 'barrier'}.get(name, 'wait')
            begin, end = self.tokens[i].begin, self.tokens[last].end
            texts = [';']
            if name == 'async_wait':
                number = self.part(self.tokens[i + 1].end, self.tokens[self.tokens[i + 1].partner].begin)
                texts.append(f'async_wait<({number}) + 1>();')
            self.add(begin, end, kind, *texts, statement=True)
        elif name in ACCUMULATORS and self.tokens[i + 1].text == '(':
            begin = self.tokens[i].begin
            while self.code[begin - 2:begin] == '::':
                begin = re.search(r'\w+::$', self.code[:begin]).start()
            end = self.tokens[self.tokens[i + 1].partner].end
            arguments = [self.part(b, e) for b, e in self.arguments(i + 1)]
            accumulator = arguments[ACCUMULATORS[name]]
            if name == 'combine':
                without = arguments[1]
            else:
                without = f'{name}({", ".join(arguments[:-1])}, 0.0f)'
            self.add(begin, end, 'accumulation', accumulator, without)

    def for_loop(self, opening):
        last = self.tokens[opening].partner
        semicolons, j = [], opening + 1
        while j < last:
            if self.tokens[j].text == ';':
                semicolons.append(j)
            j = self.tokens[j].partner + 1 if self.tokens[j].text in OPENING else j + 1
        if len(semicolons) != 2:
            return
        first, second = semicolons
        self.add(self.tokens[first + 1].begin, self.tokens[second - 1].end, 'condition', 'false')
        for j in range(second + 1, last):
            self.headers[j] = True
        begin, end = self.tokens[second + 1].begin, self.tokens[last - 1].end
        step = self.part(begin, end)
        if step.startswith('++'):
            self.add(begin, end, 'step', f'{step[2:]} += 2')
        elif '+=' in step:
            self.add(begin, end, 'step', f'{step} + 1')

    def binary(self, i):
        operator = self.tokens[i].text
        level = PRECEDENCE[operator]
        begin, end = self.left_of(i, level), self.right_of(i, level + 1)
        left, right = self.part(begin, self.tokens[i].begin), self.part(self.tokens[i].end, end)
        if operator in OTHER_ARITHMETIC:
            self.add(begin, end, 'arithmetic', f'({left}) {OTHER_ARITHMETIC[operator]} ({right})')
        elif operator in OTHER_COMPARISON:
            texts = [f'({left}) {OTHER_COMPARISON[operator]} ({right})']
            if operator in FARTHER_BOUND:
                texts.append(f'({left}) {operator} ({right}) {FARTHER_BOUND[operator]}')
            self.add(begin, end, 'bound', *texts)
        elif operator in ('&&', '||'):
            neutral = 'true' if operator == '&&' else 'false'
            self.add(self.tokens[i + 1].begin, end, 'condition', neutral)
            if operator not in self.part(begin, self.tokens[i].begin):  # else its last term has been there
                self.add(begin, self.tokens[i - 1].end, 'condition', neutral)

    def accumulation(self, i):
        begin, last = self.left_of(i, 0), self.end_of_statement(i)
        if self.tokens[i].partner is not None:
            return
        target, value = self.part(begin, self.tokens[i].begin), self.part(self.tokens[i].end, self.tokens[last].begin)
        texts = [';'] + ([f'{target} = {value};'] if self.tokens[i].text in ('+=', '|=') else [])
        self.add(begin, self.tokens[last].end, 'accumulation', *texts, statement=True)

    def swap(self, i, known):
        """An index in the place of its counterpart, as in a.row.b or blockIdx.x; one that there is in the function."""
        name, following, before = self.tokens[i].text, self.tokens[i + 1].text, self.tokens[i - 1].text
        if following in ASSIGNMENTS or following in ('++', '--', '::', '(') or before in ('++', '--', '::', 'auto'):
            return
        if re.match(r'[A-Za-z_]', before) and before not in ('return', 'else'):
            return  # a declaration
        if before == '>' or (before in ('*', '&') and not self.is_binary(i - 1)):
            return
        for counterpart in self.counterparts(name):
            if before != '.' and counterpart not in known:
                continue
            first, last = i, i
            while self.tokens[first - 1].text == '.':
                first -= 2
                if self.tokens[first].text in CLOSING:
                    first = self.tokens[first].partner - 1
            while self.tokens[last + 1].text in ('.', '[', '('):
                last = last + 2 if self.tokens[last + 1].text == '.' else self.tokens[last + 1].partner
            if self.tokens[last + 1].text in ASSIGNMENTS:
                return
            begin, end = self.tokens[first].begin, self.tokens[last].end
            token = self.tokens[i]
            self.add(begin, end, 'swap',
                     self.part(begin, token.begin) + counterpart + self.part(token.end, end))

    def counterparts(self, name):
        if name.endswith('_h'):
            return [name[:-2] + '_w']
        if name.endswith('_w'):
            return [name[:-2] + '_h']
        found = []
        for a, b in PAIRS:
            if name == a:
                found.append(b)
            elif name == b and b != 'x' or (name, a) == ('y', 'x'):
                found.append(a)
        return found[:1] if name in ('x', 'y', 'z') else found

    def geometry(self, i):
        """Grids and blocks of launches."""
        name = self.tokens[i].text
        if name == 'blocks_for' and self.tokens[i + 1].text == '(' and 'int64_t{blocks_for' not in self.line_of(i):
            if self.tokens[i - 1].text not in ('unsigned', '*'):
                self.one_less(self.tokens[i].begin, self.tokens[self.tokens[i + 1].partner].end)
        elif name == 'dim3':
            opening = i + 1 if self.tokens[i + 1].text == '(' else i + 2
            if self.tokens[opening].text != '(' or self.tokens[opening].partner is None:
                return
            arguments = self.arguments(opening)
            for begin, end in arguments:
                if 'blocks_for' not in self.code[begin:end]:
                    self.one_less(begin, end)
            if len(arguments) > 1:
                x, y = (self.part(*argument) for argument in arguments[:2])
                for (begin, end), text in zip(arguments, (y, x)):
                    self.add(begin, end, 'geometry', f'({text})' if x != y else text)
        elif name == 'MINIDL_LAUNCH' and self.tokens[i + 1].text == '(':
            block = self.arguments(i + 1)[2]
            if re.fullmatch(r'k\w+', self.part(*block)):
                self.add(*block, 'geometry', f'{self.part(*block)} - 32')
            grid = self.arguments(i + 1)[1]
            if re.match(r'static_cast|\w+\(', self.part(*grid)) and not re.match(r'blocks_for|dim3', self.part(*grid)):
                self.one_less(*grid)

    def line_of(self, i):
        begin = self.code.rfind(';', 0, self.tokens[i].begin)
        return self.code[begin:self.code.find(';', self.tokens[i].begin)]

    def one_less(self, begin, end):
        self.add(begin, end, 'geometry', f'({self.part(begin, end)}) - 1')

    def nest(self):
        """Puts sites into those around them."""
        self.sites.sort(key=lambda site: (site.begin, -site.end))
        self.top, path = [], []
        for site in self.sites:
            while path and path[-1].end <= site.begin:
                path.pop()
            if path and site.end > path[-1].end:
                raise ValueError(f'crossing: {self.part(site.begin, site.end)} / '
                                 f'{self.part(path[-1].begin, path[-1].end)}')
            (path[-1].inner if path else self.top).append(site)
            path.append(site)

    # What is compiled

    def rendered(self, rejected):
        return self.render(0, len(self.text), self.top, rejected)

    def render(self, begin, end, sites, rejected):
        pieces = []
        for site in sites:
            pieces.append(self.text[begin:site.begin])
            pieces.append(self.render_site(site, rejected))
            begin = site.end
        pieces.append(self.text[begin:end])
        return ''.join(pieces)

    def render_site(self, site, rejected):
        inner = self.render(site.begin, site.end, site.inner, rejected)
        mutants = [mutant for mutant in site.mutants if mutant.number not in rejected]
        if not mutants:
            return inner
        if site.statement:
            choices = ''.join(f'\nif (::mutation::mutant == {m.number}) {{ {m.text} }} /*m{m.number}*/'
                              for m in mutants)
            return f'{{ if (::mutation::at({site.number})) {{{choices}\n}} else {{\n{inner}\n}} }}'
        original = self.part(site.begin, site.end)
        kind = mutants[0].kind
        if kind == 'step':
            return (f'(::mutation::at({site.number}) ?\n(void)({mutants[0].text}) /*m{mutants[0].number}*/\n'
                    f': (void)({inner}))')
        to = 'bool' if kind == 'condition' else f'::mutation::Type<decltype({original})>'
        choices = ''.join(f'\n::mutation::mutant == {m.number} ? static_cast<{to}>({m.text}) : /*m{m.number}*/'
                          for m in mutants)
        cast = f'static_cast<{to}>(\n{inner}\n)'
        return f'(!::mutation::at({site.number}) ? {cast} :{choices}\nstatic_cast<{to}>({original}))'
