"""How the page looks: system fonts, and colours for light and dark."""

STYLE = """
:root { color-scheme: light dark; --ink: #1c2126; --soft: #5b6570; --line: #d5dae0;
  --paper: #ffffff; --card: #f5f7f9; --own: #0b62b5; --own-fill: #bcd9f5;
  --base: #5b6570; --base-fill: #dde2e8; --bound: #96520a; --bound-fill: #f8ddbd; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e9ec; --soft: #a3adb8; --line: #3b444e;
  --paper: #14181c; --card: #1d2329; --own: #78b7f2; --own-fill: #1f4d7a;
  --base: #a3adb8; --base-fill: #3a434d; --bound: #eda95c; --bound-fill: #66421a; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink);
  font: 16px/1.5 system-ui, sans-serif; }
main { max-width: 66rem; margin: 0 auto; padding: 1.5rem; }
h1 { font-size: 1.7rem; line-height: 1.25; margin: 0 0 .3rem; }
h2 { font-size: 1.3rem; margin: 2.2rem 0 .6rem; border-bottom: 1px solid var(--line); }
h3 { font-size: 1.05rem; margin: 1.4rem 0 .4rem; }
p { margin: .4rem 0; max-width: 46rem; }
.soft { color: var(--soft); }
.facts { display: grid; grid-template-columns: max-content 1fr; gap: .1rem 1rem; margin: 1rem 0; }
.facts dt { color: var(--soft); } .facts dd { margin: 0; overflow-wrap: anywhere; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; margin: .5rem 0; font-variant-numeric: tabular-nums; }
caption { text-align: left; color: var(--soft); padding-bottom: .3rem; }
th, td { padding: .25rem .8rem .25rem 0; text-align: right; border-bottom: 1px solid var(--line);
  white-space: nowrap; }
th:first-child, td:first-child { text-align: left; }
thead th { color: var(--soft); font-weight: 600; vertical-align: bottom; }
td .soft { font-weight: 400; }
tr.own th, tr.own td { color: var(--own); font-weight: 600; } tr.bound th { color: var(--bound); }
tbody th { font-weight: 500; }
figure { margin: .6rem 0 1.2rem; } figcaption { color: var(--soft); }
figure svg { width: 100%; max-width: 48rem; height: auto; display: block; }
svg text { font: 12px system-ui, sans-serif; fill: var(--ink); }
svg .label { text-anchor: end; } svg .tick { text-anchor: middle; fill: var(--soft); }
svg path { fill: none; stroke: var(--base); stroke-width: 1.2; }
svg .grid { stroke: var(--line); } svg .zero { stroke: var(--soft); }
svg .box { fill: var(--base-fill); stroke: var(--base); }
svg .median { stroke: var(--ink); stroke-width: 2.2; }
svg .mean { fill: var(--paper); stroke: var(--ink); }
svg .point { fill: var(--ink); fill-opacity: .45; }
svg .own .box { fill: var(--own-fill); stroke: var(--own); }
svg .own .whisker { stroke: var(--own); }
svg .own .label { fill: var(--own); font-weight: 600; }
svg .bound .box { fill: var(--bound-fill); stroke: var(--bound); stroke-dasharray: 4 2; }
svg .bound .whisker { stroke: var(--bound); } svg .bound .label { fill: var(--bound); }
img { max-width: 100%; height: auto; background: #fff; border-radius: 4px; }
audio { width: 15rem; max-width: 60vw; height: 2.2rem; vertical-align: middle; }
section.example { background: var(--card); padding: .6rem 1rem 1rem; margin: 1rem 0;
  border-radius: 6px; }
details { margin: 1rem 0; } summary { cursor: pointer; }
pre { background: var(--card); padding: .8rem; overflow-x: auto; font-size: .85rem; }
.failed { border-left: 4px solid #c0362c; padding-left: .8rem; }
""".strip()
