"""One page about an evaluation, to read: figures, bars of outcomes, and turns with what is wrong about them.

A string of HTML that asks for nothing outside itself. Knows no files; whatever a shopper, a model or a document
said is escaped.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from bot.types import Citation
from finetune import measure
from finetune.measure import OUTCOMES, SPOKEN, Measured, Result

EXAMPLES = 20
"""Turns that are shown of a language's outcome."""
TAGS = {"en": "en", "zh": "zh-Hans"}

STYLE = """
:root { color-scheme: light dark; --ink: #1c2024; --soft: #60646c; --page: #fff; --card: #f5f6f8; --line: #dfe1e6;
  --bad: #b42318; --good: #1a6b3c; --answered: #2f855a; --quoted: #3b72c4; --abstained: #b9bec8; --handed_off: #c2762a; }
@media (prefers-color-scheme: dark) { :root { --ink: #eceef2; --soft: #a3a9b4; --page: #14161a; --card: #1e2127;
  --line: #343943; --bad: #ff9b8f; --good: #7fd6a2; --answered: #4fb07f; --quoted: #6d9fe8; --abstained: #5b616c;
  --handed_off: #d9954f; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1rem; max-width: 60rem; background: var(--page); color: var(--ink);
  font: 1rem/1.5 system-ui, "Noto Sans", "Noto Sans SC", "PingFang SC", "Microsoft YaHei", sans-serif; }
h1 { font-size: 1.5rem; margin: 0.5rem 0; } h2 { font-size: 1.2rem; margin: 2.5rem 0 0.5rem; }
h3 { font-size: 1rem; margin: 1.5rem 0 0.3rem; } p { margin: 0.3rem 0; } .soft { color: var(--soft); }
.wide { overflow-x: auto; } table { border-collapse: collapse; width: 100%; font-size: 0.9rem; }
th, td { padding: 0.25rem 0.5rem; border-bottom: 1px solid var(--line); text-align: left; font-weight: normal; }
thead th { font-weight: 600; white-space: nowrap; }
td, thead th + th { text-align: right; font-variant-numeric: tabular-nums; }
th:first-child { padding-left: 0; } td:last-child, th:last-child { padding-right: 0; }
svg { display: block; width: 100%; height: 1.4rem; border-radius: 0.3rem; background: var(--card); }
.bar { margin: 0.6rem 0; font-size: 0.9rem; } .keys span { white-space: nowrap; margin-right: 0.9rem; }
.dot { display: inline-block; width: 0.7em; height: 0.7em; border-radius: 50%; margin-right: 0.35em; }
.answered { fill: var(--answered); background: var(--answered); } .quoted { fill: var(--quoted); background: var(--quoted); }
.abstained { fill: var(--abstained); background: var(--abstained); }
.handed_off { fill: var(--handed_off); background: var(--handed_off); }
details { border-top: 1px solid var(--line); } details:last-of-type { border-bottom: 1px solid var(--line); }
summary { padding: 0.5rem 0; cursor: pointer; }
article { background: var(--card); border-radius: 0.5rem; padding: 0.7rem 0.9rem; margin: 0 0 0.7rem;
  overflow-wrap: anywhere; border-left: 0.25rem solid var(--good); }
article.wrong { border-color: var(--bad); } .bad { color: var(--bad); } .good { color: var(--good); }
dl { margin: 0.4rem 0 0; display: grid; grid-template-columns: 6rem 1fr; gap: 0.2rem 0.8rem; font-size: 0.92rem; }
dt { color: var(--soft); } dd { margin: 0; white-space: pre-line; }
@media (max-width: 32rem) { dl { grid-template-columns: 1fr; gap: 0; } dd { margin-bottom: 0.4rem; } }
"""


def page(subject: str, measured: Sequence[Measured]) -> str:
    """The whole page.

    Args:
        subject: what was measured, in a few words.
        measured: the one in question first.
    """
    languages = list(measured[0].figures)
    body = [f"<h1>Evaluation</h1><p>{escape(subject)}</p>", *(_release(one) for one in measured)]
    for language in languages:
        body.append(f"<h2>{SPOKEN[language]}: figures</h2>{_table(language, measured)}")
        body.append(f"<h2>{SPOKEN[language]}: outcomes</h2>")
        body += [_bars(one, language, several=len(measured) > 1) for one in measured]
    for language in languages:
        body.append(f"<h2>{SPOKEN[language]}: turns to read</h2>")
        body += [_turns(one, language, several=len(measured) > 1) for one in measured]
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n"
        f"<title>Evaluation: {escape(subject)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n"
        + "\n".join(body)
        + "\n</body>\n</html>\n"
    )


def _release(one: Measured) -> str:
    parts = (f"engine {one.release.base}", f"index {one.release.index}", f"release {one.release.id}")
    return f'<p class="soft">{escape(one.name)}: {escape(", ".join(parts))}</p>'


def _table(language: str, measured: Sequence[Measured]) -> str:
    heads = "".join(f"<th>{escape(one.name)}</th>" for one in measured)
    figures = [one.figures[language] for one in measured]
    rows = "".join(
        f"<tr><th>{escape(name)}</th>" + "".join(f"<td>{measure.written(f[name])}</td>" for f in figures) + "</tr>"
        for name in figures[0]
    )
    return f'<div class="wide"><table><thead><tr><th></th>{heads}</tr></thead><tbody>{rows}</tbody></table></div>'


def _bars(one: Measured, language: str, *, several: bool) -> str:
    """How turns ended: of questions with an answer in the documents, and of those without."""
    rows = [r for r in one.results if r.language == language]
    title = f"<h3>{escape(one.name)}</h3>" if several else ""
    groups = (
        ("answerable", [r for r in rows if r.kind not in ("unanswerable", "small_talk")]),
        ("unanswerable", [r for r in rows if r.kind == "unanswerable"]),
    )
    return title + "".join(_bar(name, group) for name, group in groups if group)


def _bar(name: str, rows: Sequence[Result]) -> str:
    counts = {outcome: sum(r.outcome == outcome for r in rows) for outcome in OUTCOMES}
    pieces, keys, x = [], [], 0.0
    for outcome, count in counts.items():
        percent = 100 * count / len(rows)
        pieces.append(f'<rect class="{outcome}" x="{x:.2f}" width="{percent:.2f}" height="10"/>' if count else "")
        keys.append(f'<span><i class="dot {outcome}"></i>{_named(outcome)} {percent:.0f} %</span>' if count else "")
        x += percent
    said = ", ".join(f"{_named(outcome)} {count}" for outcome, count in counts.items())
    return (
        f'<div class="bar">{len(rows)} {name}'
        f'<svg viewBox="0 0 100 10" preserveAspectRatio="none" role="img" aria-label="{name}: {said}">{"".join(pieces)}'
        f'</svg><div class="keys">{" ".join(keys)}</div></div>'
    )


def _named(word: str) -> str:
    """An outcome or kind as it is read."""
    return word.replace("_", " ")


def pick(results: Sequence[Result], count: int = EXAMPLES) -> list[Result]:
    """The turns to read: wrong ones first, else as they were told."""
    return sorted(results, key=lambda result: not measure.faults(result))[:count]


def _turns(one: Measured, language: str, *, several: bool) -> str:
    parts = [f"<h3>{escape(one.name)}</h3>" if several else ""]
    for outcome in OUTCOMES:
        rows = [r for r in one.results if r.language == language and r.outcome == outcome]
        if not rows:
            continue
        chosen, wrong = pick(rows), sum(bool(measure.faults(r)) for r in rows)
        shown = "" if len(chosen) == len(rows) else f", {len(chosen)} shown"
        parts.append(
            f'<details><summary><i class="dot {outcome}"></i>{_named(outcome).capitalize()} '
            f'<span class="soft">{len(rows)} {"turn" if len(rows) == 1 else "turns"}, {wrong} wrong{shown}</span></summary>'
            + "".join(map(_turn, chosen))
            + "</details>"
        )
    return "\n".join(parts)


def _cited(citation: Citation, shown: str) -> str:
    """Where it stands, and what it quotes if that cannot be read already."""
    quote = "" if citation.quote in shown else f"\n{citation.quote}"
    return f"[{citation.n}] {citation.title}{quote}"


def _turn(result: Result) -> str:
    found = measure.faults(result)
    verdict = f'<span class="bad">{escape("; ".join(found))}</span>' if found else '<span class="good">right</span>'
    facts = "" if result.kind == "unanswerable" else "right" if result.facts_right else "not all shown"
    fields = (
        ("before", "\n".join(result.history)),
        ("shown", result.shown or "(handed to a human agent)"),
        ("reference", result.reference),
        ("facts", facts),
        ("cited", "\n".join(_cited(citation, result.shown) for citation in result.citations)),
    )
    lang = f'lang="{TAGS[result.language]}"'
    lines = "".join(f"<dt>{name}</dt><dd {lang}>{escape(text)}</dd>" for name, text in fields if text)
    return (
        f"<article{' class=wrong' if found else ''}><strong {lang}>{escape(result.text)}</strong><br>{verdict} "
        f'<span class="soft">{escape(f"{result.id}, {_named(result.kind)}")}</span><dl>{lines}</dl></article>'
    )
