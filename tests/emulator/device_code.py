"""CUDA device code as tokens, with brackets paired and the operands of operators found: as much of a parser as mutants.py
needs."""
import re

TOKEN = re.compile(r'\d+\.\d*f?|\w+|<<=|>>=|->|\+\+|--|&&|\|\||::|[-+*/%&|^<>=!]=|<<|>>|\S')
PRECEDENCE = {'*': 10, '/': 10, '%': 10, '+': 9, '-': 9, '<<': 8, '>>': 8, '<': 6, '<=': 6, '>': 6, '>=': 6, '==': 5,
              '!=': 5, '&': 4, '^': 3, '|': 2, '&&': 1, '||': 0}
ASSIGNMENTS = {'=', '+=', '-=', '*=', '/=', '%=', '|=', '&=', '^=', '<<=', '>>='}
OPENING, CLOSING = {'(': ')', '[': ']', '{': '}'}, {')', ']', '}'}


def blanked(text):
    """The text with comments, strings and directives replaced by spaces."""
    pattern = re.compile(r'//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"|^[ \t]*#(?:[^\n]*\\\n)*[^\n]*', re.S | re.M)
    return pattern.sub(lambda match: re.sub(r'[^\n]', ' ', match.group()), text)


class Token:
    def __init__(self, match, text):
        self.text, self.begin, self.end = match.group(), match.start(), match.end()
        self.spaced = text[self.begin - 1:self.begin].isspace() and text[self.end:self.end + 1].isspace()
        self.after_space = text[self.begin - 1:self.begin].isspace()
        self.partner = None  # the index of the other bracket


class DeviceCode:
    def __init__(self, text):
        self.text, self.code = text, blanked(text)
        self.tokens = [Token(match, self.code) for match in TOKEN.finditer(self.code)]
        self.pair_brackets()

    # Brackets and operands

    def pair_brackets(self):
        """Pairs (), [], {} and the <> of templates, which clang-format sets without a space before them."""
        open_ones = []
        for i, token in enumerate(self.tokens):
            if token.text in OPENING:
                open_ones.append(i)
            elif token.text in CLOSING:
                while self.tokens[open_ones[-1]].text == '<':
                    open_ones.pop()
                self.match(open_ones.pop(), i)
            elif token.text == '<' and not token.spaced:
                open_ones.append(i)
            elif token.text == '>' and not token.after_space and open_ones and self.tokens[open_ones[-1]].text == '<':
                self.match(open_ones.pop(), i)

    def match(self, first, last):
        self.tokens[first].partner, self.tokens[last].partner = last, first

    def is_binary(self, i):
        token = self.tokens[i]
        return token.text in PRECEDENCE and token.spaced and token.partner is None

    def is_value_brace(self, i):
        """int64_t{...} and not a block."""
        return self.tokens[i].text == '{' and not self.tokens[i].after_space

    def left_of(self, i, least):
        """Where the expression begins that ends before token i and has no operator of lower precedence than `least`."""
        j = i - 1
        while j >= 0:
            token = self.tokens[j]
            if token.text in CLOSING or (token.text == '>' and token.partner is not None):
                opening = token.partner
                if opening is None or (token.text == '}' and not self.is_value_brace(opening)):
                    break
                if token.text == ')' and self.tokens[opening - 1].text in ('if', 'for', 'while', 'constexpr'):
                    break
                j = opening - 1
                continue
            if token.text in OPENING or (token.text == '<' and token.partner is not None):
                break
            if token.text in (';', ',', '?', ':', 'return', 'else') or token.text in ASSIGNMENTS:
                break
            if self.is_binary(j) and PRECEDENCE[token.text] < least:
                break
            j -= 1
        return self.tokens[j + 1].begin

    def right_of(self, i, least):
        """Where the expression ends that begins behind token i, with operators of precedence `least` and above."""
        j = i + 1
        while j < len(self.tokens):
            token = self.tokens[j]
            if token.text in OPENING or (token.text == '<' and token.partner is not None):
                j = token.partner + 1
                continue
            if token.text in CLOSING or token.text in (';', ',', '?', ':') or token.text in ASSIGNMENTS:
                break
            if token.text == '>' and token.partner is not None:
                break
            if self.is_binary(j) and PRECEDENCE[token.text] < least:
                break
            j += 1
        return self.tokens[j - 1].end

    def part(self, begin, end):
        return ' '.join(self.code[begin:end].split())

    def arguments(self, opening):
        """The extents of what stands between commas in the brackets that open at token `opening`."""
        begin, result, j = self.tokens[opening].end, [], opening + 1
        last = self.tokens[opening].partner
        while j < last:
            token = self.tokens[j]
            if token.text == ',':
                result.append((begin, token.begin))
                begin = token.end
            j = token.partner + 1 if token.partner is not None and token.partner > j else j + 1
        result.append((begin, self.tokens[last].begin))
        strip = lambda b, e: (e - len(self.code[b:e].lstrip()), b + len(self.code[b:e].rstrip()))
        return [strip(b, e) for b, e in result if self.code[b:e].strip()]

    def device_bodies(self):
        """The first and last token of each body of a kernel or a device function."""
        i = 0
        while i < len(self.tokens):
            if self.tokens[i].text not in ('MINIDL_KERNEL', 'MINIDL_KERNEL_RESIDENT', 'MINIDL_DEVICE'):
                i += 1
                continue
            while self.tokens[i].text != '{':
                i = self.tokens[i].partner + 1 if self.tokens[i].text == '(' else i + 1
            yield i, self.tokens[i].partner
            i = self.tokens[i].partner
