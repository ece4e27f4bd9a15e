# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can change at any time.

"""Evidence as a page and as Markdown. Everything that came from outside is escaped."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible_collections.liveml.vsphere.plugins.module_utils._plots import timeline_svg
from ansible_collections.liveml.vsphere.plugins.module_utils._progress import percent, stall_text

# Templates are strings, because only Python files travel with a module.
_STYLE = """
:root{color-scheme:light dark;--fg:#1c1c1c;--bg:#fff;--line:#c8c8c8;--card:#fff;--good:#006b4f;--bad:#b03a00}
@media(prefers-color-scheme:dark){:root{--fg:#e8e8e8;--bg:#161616;--line:#4a4a4a;--good:#4fd1a5;--bad:#ff9a62}}
body{font:16px/1.5 system-ui,sans-serif;color:var(--fg);background:var(--bg);max-width:60rem;margin:0 auto;padding:1rem}
h1{font-size:1.5rem}h2{font-size:1.15rem;margin-top:2rem}
.note{border:2px solid var(--bad);padding:.5rem 1rem;border-radius:.4rem}
.verdict{font-size:1.1rem;border-left:.5rem solid var(--good);padding-left:.8rem}.verdict.bad{border-color:var(--bad)}
.scroll{overflow-x:auto}table{border-collapse:collapse;width:100%}
th,td{text-align:left;padding:.3rem .6rem;border-bottom:1px solid var(--line);vertical-align:top}
th[scope=row]{white-space:nowrap}
figure{margin:0;background:#fff;border-radius:.4rem}figure svg{width:100%;height:auto;display:block}.narrow{display:none}
@media(max-width:600px){.wide{display:none}.narrow{display:block}}
@media print{body{max-width:none;padding:0}figure,tr{break-inside:avoid}}
"""

_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{ title }}</title><style>{{ style | safe }}</style></head><body>
<h1>{{ title }}</h1>
{% if e.vcenter.simulated %}<p class="note">The vCenter is <strong>simulated</strong> ({{ e.vcenter.name }}): durations of moves are
the simulation's. What experiments did was measured.</p>{% endif %}
{% for x in e.experiments %}<p class="verdict {{ '' if x.verdict in good else 'bad' }}"><strong>{{ x.verdict }}</strong>:
{{ e.statements[loop.index0] }}</p>{% else %}<p>No experiment was observed in the VMs that moved.</p>{% endfor %}
<p>{{ e.moves | selectattr('result', 'eq', 'moved') | list | length }} of {{ e.moves | length }} moves done, run
{{ e.run.result }}, {{ e.run.started }} to {{ e.run.finished or 'now' }}.
{% if e.left_behind %}<strong>Left behind: {{ e.left_behind | join(', ') }}.</strong>{% endif %}</p>
<h2>Timeline</h2>
<figure class="wide" role="img" aria-label="{{ alt }}">{{ wide | safe }}</figure>
<figure class="narrow" role="img" aria-label="{{ alt }}">{{ narrow | safe }}</figure>
{% if e.experiments %}<h2>Experiments</h2><div class="scroll"><table><thead><tr><th scope="col">VM</th><th scope="col">Verdict</th>
<th scope="col">Progress</th><th scope="col">Longest stall</th><th scope="col">Same process and job</th>
<th scope="col">Progress kept</th><th scope="col">Stall within budget</th><th scope="col">Samples</th></tr></thead><tbody>
{% for x in e.experiments %}<tr><th scope="row">{{ x.vm }}</th><td>{{ x.verdict }}</td>
<td>{{ percent(x.progress_before) }} → {{ percent(x.progress_after) }}</td><td>{{ stall(x.longest_stall) | replace('longest stall ', '') }}</td>
<td>{{ x.claims.identity }}</td><td>{{ x.claims.progress }}</td><td>{{ x.claims.stall }}</td><td>{{ x.samples }}</td></tr>
{% endfor %}</tbody></table></div>{% endif %}
<h2>Moves</h2><div class="scroll"><table><thead><tr><th scope="col">VM</th><th scope="col">From</th><th scope="col">To</th>
<th scope="col">Result</th><th scope="col">Switched over</th></tr></thead><tbody>
{% for m in e.moves %}<tr><th scope="row">{{ m.vm }}</th><td>{{ m.source }} {{ m.source_fault_domain or '' }}</td>
<td>{{ m.target }} {{ m.target_fault_domain or '' }}</td><td>{{ m.result }}{% if m.error %}: {{ m.error }}{% endif %}</td>
<td>{{ m.switched_over or 'no' }}</td></tr>{% endfor %}</tbody></table></div>
{% if e.refusals %}<h2>Refused</h2><ul>{% for r in e.refusals %}<li><strong>{{ r.vm }}</strong><ul>{% for x in r.reasons %}
<li>{{ x.check }} ({{ x.object }}): {{ x.hint }}</li>{% endfor %}</ul></li>{% endfor %}</ul>{% endif %}
{% if e.unobserved %}<h2>Not observed</h2><ul>{% for u in e.unobserved %}<li>{{ u.vm }}: no experiment observed
({{ u.detail }})</li>{% endfor %}</ul>{% endif %}
<h2>Run</h2><p>Run {{ e.run_id }}, plan {{ e.plan_id }}, {{ e.run.purpose }} {{ e.run.host or '' }}, priority {{ e.run.priority }},
{{ e.run.slots }} slots. {% if e.fence %}{{ e.fence }}.{% endif %}{% if e.run.resumed %} Resumed {{ e.run.resumed }} times.{% endif %}</p>
</body></html>
"""

GOOD = ("uninterrupted", "completed")


def title(evidence: Mapping[str, Any]) -> str:
    """The report's title."""
    run = evidence["run"]
    words = {"evacuate": "Evacuation of", "restore": "Restore of", "migrate": "Move of"}
    return f"{words[run['purpose']]} {run['host'] or ', '.join(m['vm'] for m in evidence['moves'])}"


def render_html(evidence: Mapping[str, Any]) -> str:
    """The self-contained page. Raises ImportError when matplotlib or Jinja2 is missing."""
    from jinja2 import Environment  # noqa: PLC0415 - only reports need it

    template = Environment(autoescape=True, trim_blocks=True).from_string(_PAGE)
    return template.render(
        e=evidence,
        title=title(evidence),
        style=_STYLE,
        good=GOOD,
        alt=" ".join(evidence["statements"]) or "Bars of all moves on a time axis",
        wide=timeline_svg(evidence, 9.0),
        narrow=timeline_svg(evidence, 4.2),
        percent=percent,
        stall=stall_text,
    )


def render_markdown(evidence: Mapping[str, Any]) -> str:
    """The same statements for a comment on a pull request."""
    run = evidence["run"]
    lines = [f"## {_escaped(title(evidence))}", ""]
    if evidence["vcenter"]["simulated"]:
        lines += [f"> The vCenter is simulated ({_escaped(evidence['vcenter']['name'])}).", ""]
    lines += [f"- {_escaped(statement)}" for statement in evidence["statements"]] or ["- No experiment observed."]
    lines += ["", f"Run `{run_id(evidence)}`: {run['result']}. Left behind: {_names(evidence['left_behind'])}.", ""]
    lines += ["| VM | From | To | Result |", "|---|---|---|---|"]
    for move in evidence["moves"]:
        lines.append("| " + " | ".join(_escaped(str(move[k])) for k in ("vm", "source", "target", "result")) + " |")
    for refusal in evidence["refusals"]:
        for reason in refusal["reasons"]:
            text = f"{refusal['vm']} refused: {reason['check']} ({reason['object']}): {reason['hint']}"
            lines.append(f"- {_escaped(text)}")
    return "\n".join(lines) + "\n"


def run_id(evidence: Mapping[str, Any]) -> str:
    """The run's id, safe in a code span."""
    return str(evidence["run_id"]).replace("`", "")


def _names(names: list[str]) -> str:
    return ", ".join(map(_escaped, names)) or "nobody"


def _escaped(text: str) -> str:
    for character in "\\`*_{}[]<>|#":
        text = text.replace(character, f"&#{ord(character)};")
    return " ".join(text.split())
