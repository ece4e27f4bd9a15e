# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Template and style of the report. They are strings, because Ansible sends only Python files with a module.

The contrast of text is at least 4.5:1 in every mode (WCAG 2.2, AA), and colour is never the only sign. Below 900 px, each row of
a table is shown as a card; explicit roles are needed because ``display`` removes those of a table.
"""

from __future__ import annotations

STYLE = """
:root{color-scheme:light dark;--bg:#fff;--panel:#f6f8fa;--line:#d0d7de;--text:#1f2328;--soft:#57606a;--good:#00694f;--bad:#b33c00;
--open:#7a5200;--goodbg:#e6f4ef;--badbg:#fcebe3;--openbg:#fff4d6;--grid:#c9d1d9;--move:#0060a8;--stall:#b33c00;--curve:#00694f}
@media(prefers-color-scheme:dark){:root{--bg:#12161b;--panel:#1b2128;--line:#38414b;--text:#e6edf3;--soft:#a8b3be;--good:#56d4a4;
--bad:#ff9d6c;--open:#f0c04c;--goodbg:#10291f;--badbg:#35190c;--openbg:#2e2408;--grid:#3b4550;--move:#5cb3f5;--stall:#ff9d6c;
--curve:#56d4a4}}
*{box-sizing:border-box}
body{font:16px/1.5 system-ui,"Segoe UI",Roboto,"Helvetica Neue",Arial,sans-serif;color:var(--text);background:var(--bg);margin:0}
main{max-width:72rem;margin:0 auto;padding:1.5rem 1rem 3rem}
h1{font-size:1.75rem;line-height:1.2;margin:0;overflow-wrap:anywhere}
h2{font-size:1.2rem;margin:2.5rem 0 .4rem}
p{margin:.4rem 0}a{color:var(--move)}.lead{color:var(--soft);max-width:50rem}h1+.lead{margin:.25rem 0 1.1rem}
.verdict{display:flex;gap:1rem;align-items:flex-start;padding:1rem 1.2rem;border-radius:.6rem;border:1px solid;margin:0}
.verdict .mark{font-size:1.9rem;line-height:1.1;font-weight:700}
.verdict strong{display:block;text-wrap:balance;font-size:1.35rem;line-height:1.3}.verdict strong::first-letter{text-transform:uppercase}
.verdict .fact{display:block;color:var(--text);overflow-wrap:anywhere}.verdict .said{color:var(--text);overflow-wrap:anywhere}
.verdict.good{color:var(--good);background:var(--goodbg)}.verdict.bad{color:var(--bad);background:var(--badbg)}
.verdict.open,.verdict.warn{color:var(--open);background:var(--openbg)}.verdict.live{color:var(--move);background:var(--panel)}
.note{border-left:.3rem solid var(--open);background:var(--panel);padding:.6rem 1rem;margin:.8rem 0;border-radius:0 .4rem .4rem 0;overflow-wrap:anywhere}
.note.bad{border-color:var(--bad)}
.todo{list-style:none;margin:.4rem 0 0;padding:0}.todo li{border-left:.3rem solid;padding:.1rem 0 .1rem .9rem;margin:.7rem 0;overflow-wrap:anywhere}
.todo li.good{border-color:var(--good)}.todo li.bad{border-color:var(--bad)}.todo li.open,.todo li.warn{border-color:var(--open)}
.todo .said,.todo .do{display:block}
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(10rem,1fr));gap:.8rem;margin:.8rem 0 0;padding:0}
.tiles div{background:var(--panel);border-radius:.6rem;padding:.7rem 1rem}
.tiles dt{color:var(--soft);font-size:.875rem}.tiles dd{margin:0;font-size:1.25rem;font-weight:600;line-height:1.3}
.tiles dd small{display:block;font-size:.875rem;font-weight:400;color:var(--soft)}
table{border-collapse:collapse;width:100%;font-size:.9375rem;font-variant-numeric:tabular-nums}
th,td{text-align:left;padding:.45rem .6rem;border-bottom:1px solid var(--line);vertical-align:top;overflow-wrap:break-word}
thead th{color:var(--soft);font-size:.8125rem;font-weight:600;vertical-align:bottom;border-bottom-width:2px}
tbody th{font-weight:600;overflow-wrap:anywhere}td.number,th.number{text-align:right;white-space:nowrap}
.under{display:block;color:var(--soft);font-size:.8125rem;font-weight:400;overflow-wrap:anywhere}
.nb{white-space:nowrap}.dense th,.dense td{padding:.22rem .6rem}
.bar{display:block;width:6rem;max-width:100%;height:.45rem;margin:.3rem 0;border-radius:.2rem;background:var(--line)}
.bar span{display:block;height:100%;border-radius:.2rem;background:var(--move)}td.number .bar{margin-left:auto}
.is-good{color:var(--good)}.is-bad{color:var(--bad);font-weight:600}.is-open,.is-warn{color:var(--open);font-weight:600}
figure{margin:.6rem 0 0}figure svg{width:100%;height:auto;display:block;overflow:visible}
figure svg *{stroke-linejoin:round;stroke-linecap:butt}figure svg text{font-family:inherit}
figcaption{color:var(--soft);font-size:.875rem;margin-top:.3rem;overflow-wrap:anywhere}
.curves{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,20.5rem),1fr));gap:1.6rem 2rem}
.said{color:var(--text)}.curves.one{display:block}.narrow{display:none}
.older{padding-left:1.2rem;font-size:.9375rem;overflow-wrap:anywhere}
.legend{display:flex;flex-wrap:wrap;gap:.2rem 1.4rem;padding:0;margin:.3rem 0 0;list-style:none}
.legend li{display:flex;align-items:center;gap:.5rem}
.key{flex:none;width:1.6rem;height:.75rem;border-radius:.1rem;background:var(--move)}
.key.predicted{height:.2rem;background:var(--soft)}.key.switch{width:.2rem;height:1rem;background:var(--text);margin:0 .7rem}
.key.hollow{background:none;border:2px solid var(--stall)}
.facts{display:grid;grid-template-columns:max-content minmax(0,1fr);gap:.3rem 1.5rem;margin:.4rem 0}
.facts dt{color:var(--soft)}.facts dd{margin:0;overflow-wrap:anywhere}
@media screen and (max-width:900px){h1{font-size:1.5rem}.wide{display:none}.narrow{display:block}
.verdict{padding:.9rem 1rem;gap:.8rem}.tiles{grid-template-columns:repeat(2,minmax(0,1fr))}.tiles dd{font-size:1.1rem}
.facts{grid-template-columns:minmax(0,1fr);gap:0}.facts dd{margin-bottom:.6rem}
table,tbody,tr{display:block}thead{position:absolute;width:1px;height:1px;overflow:hidden;clip-path:inset(50%)}
tbody tr{border-bottom:1px solid var(--line);padding:.7rem 0}tbody tr:first-child{border-top:1px solid var(--line)}
tbody th,tbody td{display:grid;grid-template-columns:8.5rem minmax(0,1fr);gap:.8rem;border:0;padding:.1rem 0;text-align:left}
tbody th{display:block;font-size:1rem;padding-bottom:.3rem}td.number{text-align:left;white-space:normal}td.number .bar{margin-left:0}
td::before{content:attr(data-name);color:var(--soft);font-size:.875rem}
.dense tbody td,.dense td div,.dense td .under{display:inline;padding:0}.dense td::before{content:attr(data-name) " "}
.dense td::after{content:" · "}.dense td:last-child::after{content:""}.dense tbody tr{padding:.5rem 0}.dense tbody th{padding:0}}
@page{margin:14mm;@bottom-right{content:counter(page) " / " counter(pages);font:8pt sans-serif}}
@media print{:root{color-scheme:light;--bg:#fff;--panel:#f6f8fa;--line:#c0c6cc;--text:#000;--soft:#41484f;--good:#004d38;--bad:#8a2d00;
--open:#5c3d00;--goodbg:#fff;--badbg:#fff;--openbg:#fff;--grid:#c9d1d9;--move:#0060a8;--stall:#9a3300;--curve:#00553f}
body{font-size:10.5pt}.verdict .fact{display:inline}.todo{font-size:8.5pt;line-height:1.3}.todo li{margin:.3rem 0}.todo li+li{margin-top:.4rem}
.curves{grid-template-columns:repeat(2,minmax(0,1fr))}main{max-width:none;padding:0}
table{font-size:8pt}.under,thead th{font-size:7.5pt}th,td{padding:.25rem .3rem}.dense th,.dense td{padding:.1rem .3rem}
h2{margin-top:1.2rem;break-after:avoid}h2+.lead{break-after:avoid}figure,tr,.verdict,.tiles,.note,.lead,.facts,.todo li{break-inside:avoid}
thead{display:table-header-group}.verdict,.tiles div{border:1px solid var(--line)}.key{print-color-adjust:exact}
.tiles{grid-template-columns:repeat(4,1fr)}}
"""

MACROS = """\
{% macro mark(tone) -%}
{% if tone %}<span aria-hidden="true">{{ {'good': '✓', 'warn': '!', 'bad': '✕', 'open': '?'}[tone] }}</span>&nbsp;{% endif %}
{%- endmacro %}
{% macro cell(c) -%}
{% if c.share is not none %}<span class="bar" aria-hidden="true"><span style="width:{{ '%.0f' % (100 * c.share) }}%"></span></span>{% endif %}
<span class="{{ 'nb' if c.text | length < (14 if ' ' in c.text else 25) }}{{ ' is-' ~ c.tone if c.tone }}">
{{- mark(c.tone) }}
{%- if c.link %}<a href="{{ c.link }}">{{ c.text | whole }}</a>{% else %}{{ c.text | whole }}{% endif %}</span>
{%- if c.note %} <span class="under{{ ' nb' if ' ' not in c.note and c.note | length < 25 }}">{{ c.note | whole }}</span>{% endif %}
{%- endmacro %}
{% macro above(t) -%}
<section><h2 id="{{ t.key }}-title">{{ t.title }}</h2>
{% if t.lead %}<p class="lead">{{ t.lead }}</p>{% endif %}
<table id="{{ t.key }}"{% if t.rows | length > 16 %} class="dense"{% endif %} role="table" aria-labelledby="{{ t.key }}-title">
<thead role="rowgroup"><tr role="row">
{% for h in t.heads %}<th scope="col" role="columnheader"{% if t.rows and t.rows[0][loop.index0].number %} class="number"{% endif %}>{{ h }}</th>
{% endfor %}</tr></thead><tbody role="rowgroup">
{% endmacro %}
{% macro line(t, row) -%}
<tr role="row"><th scope="row" role="rowheader"><div>{{ cell(row[0]) }}</div></th>
{% for c in row[1:] %}<td role="cell" data-name="{{ t.heads[loop.index] }}"{% if c.number %} class="number"{% endif %}><div>{{ cell(c) }}</div></td>
{% endfor %}</tr>
{% endmacro %}
{% macro show(t) -%}
{% if t %}{{ above(t) }}{% for row in t.rows %}{{ line(t, row) }}{% endfor %}</tbody></table></section>{% endif %}
{%- endmacro %}
{% macro facts(key, title, pairs) -%}
<section><h2 id="{{ key }}">{{ title }}</h2><dl class="facts">
{% for name, value in pairs %}<dt>{{ name }}</dt><dd>{{ value }}</dd>
{% endfor %}</dl></section>
{%- endmacro %}
"""

PAGE = (
    MACROS
    + """\
<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{ title }}</title><style>{{ style | safe }}</style></head><body><main>
<h1>{{ title }}</h1>
<p class="lead">{{ lead }}</p>
<p class="verdict {{ tone }}"><span class="mark">{{ mark(tone) }}</span><span><strong>{{ e.overall.verdict }}</strong>
{% for name, fact in facts_first %}<span class="fact"><b>{{ name }}:</b> {{ fact | whole }}.</span>
{% endfor %}<span class="said">{{ e.overall.statement | whole }}</span></span></p>
<section><h2 id="todo">What to do</h2><ul class="todo" aria-labelledby="todo">
{% for entry, tone in todo %}<li class="{{ tone }}"><strong>{{ entry.title | whole }}</strong>
{%- if entry.verdict %} <span class="is-{{ tone }} nb">{{ mark(tone) }}{{ entry.verdict }}</span>{% endif %}
<span class="said">{{ entry.means | whole }}</span>
{% if entry.do %}<strong class="do">{{ entry.do | whole }}</strong>{% endif %}</li>
{% endfor %}</ul></section>
{% for text, bad in notes %}<p class="note{{ ' bad' if bad }}">{{ text }}</p>
{% endfor %}
<dl class="tiles">
{% for name, value, more in tiles %}<div><dt>{{ name }}</dt><dd>{{ value }}{% if more %} <small>{{ more }}</small>{% endif %}</dd></div>
{% endfor %}</dl>
{{ show(t.owners) }}
{{ show(t.experiments) }}
{% if e.moves %}<section><h2 id="timeline">Timeline</h2>
{% for wide, narrow in timelines %}<figure role="group" aria-labelledby="timeline">
<div class="wide" role="img" aria-label="Timeline of the moves, part {{ loop.index }} of {{ loop.length }}" aria-describedby="moves">{{ wide | safe }}</div>
<div class="narrow" role="img" aria-label="Timeline of the moves, part {{ loop.index }} of {{ loop.length }}" aria-describedby="moves">{{ narrow | safe }}</div>
</figure>{% endfor %}
<ul class="legend lead"><li><span class="key"></span>measured</li><li><span class="key predicted"></span>predicted</li>
<li><span class="key switch"></span>switched over</li>{% if astray %}<li><span class="key hollow"></span>did not arrive</li>{% endif %}</ul>
<p class="lead">The table <a href="#moves">{{ t.moves.title }}</a> has the exact figures.</p></section>{% endif %}
{% if curves %}<section><h2 id="curves">Progress of the experiments</h2>
<p class="lead">{{ curves_lead }}</p>
<div class="curves{{ ' one' if curves | length == 1 }}">
{% for c in curves %}<figure><figcaption id="curve-{{ c.number }}"><span class="said">{{ c.statement | whole }}</span> {{ c.text | whole }}</figcaption>
{% for size, svg in c.pictures %}<div{% if size %} class="{{ size }}"{% endif %} role="img" aria-label="Progress of {{ c.name }} over time"
 aria-describedby="curve-{{ c.number }}">{{ svg | safe }}</div>
{% endfor %}</figure>{% endfor %}</div></section>{% endif %}
{{ show(t.moves) }}
{{ show(t.placement) }}
{{ show(t.refusals) }}
{{ show(t.gaps) }}
{{ show(t.measurement) }}
{{ show(t['same-model']) }}
{{ facts('environment', 'Environment', environment) }}
{{ facts('integrity', 'Integrity of the record', integrity) }}
</main></body></html>
"""
)

LIVE = (
    MACROS
    + """\
<!doctype html>
<html lang="en"><head><meta charset="utf-8"><noscript><meta http-equiv="refresh" content="{{ refresh }}"></noscript>
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{ title }}</title><style>{{ style | safe }}</style></head><body><main>
<h1>{{ title }}</h1>
<p class="lead">{{ lead }}</p>
<p class="verdict live"><span><strong>{{ headline }}</strong> <span class="said">{{ statement | whole }}</span></span></p>
<p class="note">{{ written | whole }}</p>
{% for text, bad in notes %}<p class="note{{ ' bad' if bad }}">{{ text }}</p>
{% endfor %}
<p id="hold" hidden><label><input type="checkbox" autocomplete="off"> Do not refresh this page</label></p>
<dl class="tiles">
{% for name, value, more in tiles %}<div><dt>{{ name }}</dt><dd>{{ value | whole }}{% if more %} <small>{{ more | whole }}</small>{% endif %}</dd></div>
{% endfor %}</dl>
{% for table in tables %}{{ above(table) }}{% for row in table.rows %}{{ line(table, row) }}{% endfor %}</tbody></table></section>
{% endfor %}{{ facts('run', 'Run', facts_of_run) }}
</main>
<script>
const hold=document.querySelector("#hold"),box=hold.querySelector("input");hold.hidden=false
setInterval(()=>{if(!box.checked)location.reload()},{{ refresh }}*1000)
</script>
</body></html>
"""
)

INDEX = (
    MACROS
    + """\
<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{ title }}</title><style>{{ style | safe }}</style></head><body><main>
<h1>{{ title }}</h1>
<p class="lead">{{ lead }}</p>
{{ show(trips) }}
{{ show(table) }}
{% if older %}<section><h2 id="older">Older runs</h2><ul class="older" aria-labelledby="older">
{% for name, link in older %}<li><a href="{{ link }}">{{ name }}</a></li>
{% endfor %}</ul>{% if left_out %}<p class="lead">{{ left_out }} more are in the folder runs.</p>{% endif %}</section>{% endif %}
</main></body></html>
"""
)
