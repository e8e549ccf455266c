#!/usr/bin/env python3
"""Records a command in a terminal of its own and writes what it showed as an animated SVG: the README's picture.

    docs/picture/record.py OUTPUT.svg COMMAND [ARGUMENT...]

Time runs as it did, but for a part in which only the progress line moves: that is shown in a few seconds. The last screen stays.
"""
import html
import os
import pty
import re
import select
import struct
import sys
import termios
import time
import fcntl

COLUMNS, ROWS = 110, 30
CELL, LINE, PAD = 7.8, 18, 16
LONGEST = 0.35  # seconds between two screens that are shown
COLORS = {"36": "#56b6c2", "1;31": "#e06c75"}
DEFAULT = "#d7dae0"


def record(command):
    """Yields (seconds, text) as the command writes."""
    child, screen = pty.fork()
    if child == 0:
        os.execvp(command[0], command)
    fcntl.ioctl(screen, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
    start = time.time()
    while True:
        select.select([screen], [], [])
        try:
            data = os.read(screen, 65536)
        except OSError:
            break
        if not data:
            break
        yield time.time() - start, data.decode("utf-8", "replace")
    if os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) != 0:
        sys.exit("the command failed; no picture was made")


class Screen:
    """Lines of (character, colour); understands carriage return, line feed, erase line and colours, which is all we print."""

    def __init__(self, first):
        self.lines, self.color, self.column = [[(c, DEFAULT) for c in first], []], DEFAULT, 0

    def write(self, text):
        for part in re.findall(r"\x1b\[[0-9;]*[A-Za-z]|\r|\n|[^\x1b\r\n]+", text):
            if part == "\r":
                self.column = 0
            elif part == "\n":
                self.lines.append([])
                self.column = 0
            elif part.startswith("\x1b"):
                if part.endswith("K"):
                    self.lines[-1] = []
                elif part.endswith("m"):
                    self.color = COLORS.get(part[2:-1], DEFAULT)
            else:
                for character in part:
                    line = self.lines[-1]
                    if self.column >= COLUMNS:
                        self.lines.append([])
                        line, self.column = self.lines[-1], 0
                    line[self.column:self.column + 1] = [(character, self.color)]
                    self.column += 1

    def rows(self):
        rows = self.lines[:-1] if not self.lines[-1] else self.lines
        return [tuple(row) for row in rows[-ROWS:]]


def svg_row(row, y):
    spans, at = [], 0
    while at < len(row):
        end = at
        while end < len(row) and row[end][1] == row[at][1]:
            end += 1
        text = html.escape("".join(character for character, _ in row[at:end]))
        spans.append(f'<tspan x="{PAD + at * CELL:.1f}" fill="{row[at][1]}">{text}</tspan>')
        at = end
    return f'<text y="{y:.0f}" xml:space="preserve">{"".join(spans)}</text>'


def main():
    output, command = sys.argv[1], sys.argv[2:]
    screen = Screen("$ " + " ".join(command))
    frames = [(0.8, screen.rows())]
    before = 0.0
    for seconds, text in record(command):
        screen.write(text.replace("\r\n", "\n"))
        rows = screen.rows()
        if rows != frames[-1][1]:
            frames.append((min(LONGEST, seconds - before), rows))
        before = seconds
    # Screens that differ in the progress line alone are thinned out: the picture is no longer than a look.
    shown, skipped = [frames[0]], 0.0
    for index, (wait, rows) in enumerate(frames[1:], 1):
        last = index == len(frames) - 1
        skipped += wait
        if last or len(rows) != len(shown[-1][1]) or skipped > LONGEST:
            shown.append((min(LONGEST, max(0.06, skipped)), rows))
            skipped = 0.0
    while len(shown) > 60:
        shown = [frame for i, frame in enumerate(shown) if i % 2 == 0 or len(frame[1]) != len(shown[i - 1][1]) or i == len(shown) - 1]
        if all(len(shown[i][1]) != len(shown[i - 1][1]) for i in range(1, len(shown))):
            break
    total = sum(wait for wait, _ in shown) + 6
    height = PAD * 2 + LINE * max(len(rows) for _, rows in shown)
    width = PAD * 2 + COLUMNS * CELL
    parts, at = [], 0.0
    for index, (wait, rows) in enumerate(shown):
        at += wait
        until = total if index == len(shown) - 1 else at + shown[index + 1][0]
        name = f"f{index}"
        a, b = 100 * at / total, 100 * until / total
        steps = f"0%{{visibility:hidden}}{a:.3f}%{{visibility:visible}}{b:.3f}%{{visibility:hidden}}" if until < total \
            else f"0%{{visibility:hidden}}{a:.3f}%{{visibility:visible}}100%{{visibility:visible}}"
        style = f"@keyframes {name}{{{steps}}}.{name}{{animation:{name} {total:.2f}s step-end infinite}}"
        lines = "".join(svg_row(row, PAD + LINE * (i + 0.75)) for i, row in enumerate(rows) if row)
        still = "visible" if until == total else "hidden"  # where nothing moves, the last screen shows
        parts.append(f'<style>{style}</style><g class="{name}" visibility="{still}">{lines}</g>')
    with open(output, "w", encoding="utf-8") as file:
        file.write(f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" '
                   f'font-family="ui-monospace, Menlo, Consolas, \'DejaVu Sans Mono\', monospace" font-size="13">'
                   f'<title>{html.escape(" ".join(command))}</title>'
                   f'<rect width="100%" height="100%" rx="8" fill="#1b1f27"/>{"".join(parts)}</svg>\n')


if __name__ == "__main__":
    main()
