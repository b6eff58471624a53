"""How the HTML report looks, in light and in dark, on a phone and on a desk."""

from __future__ import annotations

CSS = """
:root {
  color-scheme: light dark;
  --page: #f6f7f9; --card: #fff; --text: #1c2330; --soft: #5b6675; --line: #e1e5ea; --track: #e7ebf0;
  --accent: #2f6fab; --band: #a9cbe8; --good: #2c7a4b; --bad: #b3372f; --wait: #96650f; --note: #fff7e3;
  --note-line: #e5c878;
}
@media (prefers-color-scheme: dark) {
  :root {
    --page: #12161c; --card: #1a2029; --text: #e4e8ee; --soft: #98a3b3; --line: #2b333f; --track: #2b333f;
    --accent: #6ab0ee; --band: #2f587e; --good: #6cc492; --bad: #f08b82; --wait: #e0b35c; --note: #2b2619;
    --note-line: #6b5a2c;
  }
}
* { box-sizing: border-box; }
body {
  margin: 0; padding: 2rem 1rem 4rem; background: var(--page); color: var(--text);
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", sans-serif; overflow-wrap: anywhere;
}
main { max-width: 66rem; margin: 0 auto; }
h1 { font-size: 1.6rem; line-height: 1.25; margin: 0; font-weight: 650; }
h2 { font-size: 1.15rem; margin: 2.6rem 0 .8rem; font-weight: 650; }
h3 { font-size: 1rem; margin: 0; font-weight: 600; }
p { margin: .4rem 0; }
code, pre { font: .86em/1.5 ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; }
pre { background: var(--track); border-radius: 6px; padding: .7rem .9rem; margin: .6rem 0; white-space: pre-wrap; }
.soft { color: var(--soft); }
.small { font-size: .86rem; }
.good { color: var(--good); } .bad { color: var(--bad); } .wait { color: var(--wait); }
.note { background: var(--note); border: 1px solid var(--note-line); border-radius: 8px; padding: .6rem .9rem;
  margin: .8rem 0; }
.cards { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 19.5rem), 1fr)); gap: 1rem; }
.card { background: var(--card); border: 1px solid var(--line); border-radius: 10px; padding: 1rem 1.1rem;
  min-width: 0; }
.card .figure { font-size: 2rem; font-weight: 650; line-height: 1.2; margin: .5rem 0 0;
  font-variant-numeric: tabular-nums; }
.card .figure small { font-size: .86rem; font-weight: 400; color: var(--soft); margin-left: .35rem; }
.drawing { margin: .6rem 0 .1rem; }
.scale { display: flex; justify-content: space-between; color: var(--soft); font-size: .75rem;
  font-variant-numeric: tabular-nums; }
.counts { display: flex; flex-wrap: wrap; gap: .1rem 1rem; margin: .7rem 0 .3rem; padding: 0; list-style: none;
  font-size: .86rem; }
.counts b { font-variant-numeric: tabular-nums; }
.choices { display: grid; grid-template-columns: minmax(0, 1fr) 5rem auto; gap: .25rem .7rem; align-items: center;
  margin: .7rem 0; font-size: .86rem; }
svg { display: block; width: 100%; }
.bar-of svg { height: 1.1rem; } .histogram svg { height: 5.5rem; } .choices svg { height: .5rem; }
.track { fill: var(--track); } .bar { fill: var(--accent); } .band { fill: var(--band); }
.outline { fill: none; stroke: var(--wait); stroke-dasharray: 3 2; vector-effect: non-scaling-stroke; }
.mark { stroke: var(--text); stroke-width: 2; vector-effect: non-scaling-stroke; }
.sheet { overflow-x: auto; background: var(--card); border: 1px solid var(--line); border-radius: 10px; }
table { border-collapse: collapse; width: 100%; font-size: .9rem; }
th, td { text-align: left; vertical-align: top; padding: .5rem .9rem; border-bottom: 1px solid var(--line); }
tr:last-child > td, tr:last-child > th { border-bottom: 0; }
th { color: var(--soft); font-weight: 500; white-space: nowrap; }
td.number, th.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
td { overflow-wrap: anywhere; min-width: 4rem; }
td p:first-child, td pre:first-child { margin-top: 0; } td p:last-child, td pre:last-child { margin-bottom: 0; }
.list td { overflow-wrap: normal; } .list td[data-head="First message"] { overflow-wrap: anywhere; min-width: 14rem; }
.facts th { width: 9rem; white-space: normal; }
.row { background: var(--card); border: 1px solid var(--line); border-radius: 10px; padding: .75rem 1.1rem;
  margin: .6rem 0; }
.row header { display: flex; flex-wrap: wrap; gap: .1rem .9rem; align-items: baseline; }
.row dl { display: grid; grid-template-columns: minmax(5rem, 9rem) minmax(0, 1fr); gap: .2rem .9rem;
  margin: .5rem 0 0; font-size: .88rem; }
.row dt { color: var(--soft); } .row dd { margin: 0; white-space: pre-wrap; }
.check { margin: 1.4rem 0 .2rem; }
details > summary { cursor: pointer; } details[open] > summary { color: var(--soft); }
details.rest { margin: .6rem 0; }
footer { margin-top: 3rem; color: var(--soft); font-size: .82rem; }
@media (max-width: 52rem) {
  .list thead { display: none; }
  .list tr { display: block; padding: .5rem .9rem; border-bottom: 1px solid var(--line); }
  .list tr:last-child { border-bottom: 0; }
  .list td, .list td.number { display: grid; grid-template-columns: 7rem minmax(0, 1fr); border: 0; padding: .1rem 0;
    text-align: left; white-space: normal; overflow-wrap: anywhere; }
  .list td::before { content: attr(data-head); color: var(--soft); }
}
@media (max-width: 34rem) {
  body { padding: 1.2rem .8rem 3rem; }
  .row dl { grid-template-columns: minmax(0, 1fr); gap: 0; } .row dd { margin-bottom: .5rem; }
  .facts th { width: 6.5rem; } th, td { padding: .45rem .6rem; }
}
@media print { body { background: none; padding: 0; } .card, .row { break-inside: avoid; } }
"""
