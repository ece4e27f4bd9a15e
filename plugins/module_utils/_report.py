# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can change at any time.

"""Evidence as a page and as Markdown. Everything that came from outside is escaped."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from ansible_collections.liveml.vsphere.plugins.module_utils._plots import timeline_svg
from ansible_collections.liveml.vsphere.plugins.module_utils._progress import percent, stall_text

# Templates are strings, because only Python files travel with a module.
_STYLE = """
:root{color-scheme:light dark;--fg:#1c1c1c;--bg:#fff;--line:#c8c8c8;--soft:#f3f5f7;--good:#006b4f;--bad:#b03a00;--quiet:#555}
@media(prefers-color-scheme:dark){:root{--fg:#e8e8e8;--bg:#161616;--line:#4a4a4a;--soft:#222629;--good:#4fd1a5;--bad:#ff9a62;--quiet:#b5b5b5}}
body{font:16px/1.5 system-ui,sans-serif;color:var(--fg);background:var(--bg);max-width:64rem;margin:0 auto;padding:1rem}
h1{font-size:1.5rem;margin-bottom:.2rem}h2{font-size:1.15rem;margin-top:2.2rem;border-bottom:1px solid var(--line)}
.lead{color:var(--quiet);margin-top:0}
.note{border:2px solid var(--bad);padding:.5rem 1rem;border-radius:.4rem}
.verdict{font-size:1.1rem;border-left:.5rem solid var(--good);background:var(--soft);padding:.5rem .8rem}.verdict.bad{border-color:var(--bad)}
.verdict strong{color:var(--good)}.verdict.bad strong{color:var(--bad)}
.scroll{overflow-x:auto}table{border-collapse:collapse;width:100%}
th,td{text-align:left;padding:.3rem .6rem;border-bottom:1px solid var(--line);vertical-align:top}
th[scope=row]{white-space:nowrap}.number{text-align:right;white-space:nowrap}
figure{margin:0;background:#fff;border-radius:.4rem}figure svg{width:100%;height:auto;display:block}.narrow{display:none}
code{font-size:.9em;overflow-wrap:anywhere}
@media(max-width:600px){.wide{display:none}.narrow{display:block}
.cards thead{display:none}.cards tr{display:block;border-bottom:2px solid var(--line);padding:.4rem 0}
.cards th,.cards td{display:flex;justify-content:space-between;gap:1rem;border:0;padding:.1rem .2rem;text-align:right}
.cards td::before{content:attr(data-name);color:var(--quiet);text-align:left}}
@media print{:root{color-scheme:light;--fg:#000;--bg:#fff;--soft:#fff;--line:#999;--good:#004d38;--bad:#8a2d00;--quiet:#333}
body{max-width:none;padding:0;font-size:11pt}figure,tr,.verdict{break-inside:avoid}.narrow{display:none}.wide{display:block}}
"""

_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{ title }}</title><style>{{ style | safe }}</style></head><body><main>
<h1>{{ title }}</h1>
<p class="lead">{{ moved }} of {{ e.moves | length }} VMs moved, run {{ e.run.result }}, {{ e.run.started }} to
{{ e.run.finished or 'now' }}.</p>
{% if e.journal.broken_at %}<p class="note"><strong>The journal was changed</strong>: line {{ e.journal.broken_at }} is wrong,
{{ e.journal.why }}. What follows that line proves nothing.</p>{% endif %}
{% if e.journal.samples_as_sealed == false %}<p class="note"><strong>The samples are not those that were sealed.</strong></p>{% endif %}
{% if e.vcenter.simulated %}<p class="note">The vCenter is <strong>simulated</strong> ({{ e.vcenter.name }}): durations of moves are
the simulation's. What experiments did was measured.</p>{% endif %}
{% if e.left_behind %}<p class="note"><strong>Left behind: {{ e.left_behind | join(', ') }}.</strong></p>{% endif %}
{% for x in e.experiments %}<p class="verdict {{ '' if x.verdict in good else 'bad' }}"><strong>{{ x.verdict }}</strong>
– {{ e.statements[loop.index0] }}</p>{% else %}<p class="verdict bad"><strong>unknown</strong> – no experiment was observed in the VMs
that moved.</p>{% endfor %}
{% if e.experiments %}<h2>Experiments</h2><div class="scroll"><table class="cards"><thead><tr><th scope="col">VM</th>
<th scope="col">Owner</th><th scope="col">Verdict</th><th scope="col">Progress</th><th scope="col">Longest stall</th>
<th scope="col">Identity</th><th scope="col">Progress kept</th><th scope="col">Stall in budget</th><th scope="col">Samples</th>
</tr></thead><tbody>
{% for x in e.experiments %}<tr><th scope="row">{{ x.vm }}</th><td data-name="Owner">{{ x.owner or 'not known' }}</td>
<td data-name="Verdict">{{ x.verdict }}</td><td data-name="Progress">{{ percent(x.progress_before) }} → {{ percent(x.progress_after) }}</td>
<td data-name="Longest stall">{{ stall(x.longest_stall) | replace('longest stall ', '') }}</td>
<td data-name="Identity">{{ x.claims.identity }}</td><td data-name="Progress kept">{{ x.claims.progress }}</td>
<td data-name="Stall in budget">{{ x.claims.stall }}</td><td data-name="Samples" class="number">{{ x.samples }}</td></tr>
{% endfor %}</tbody></table></div>{% endif %}
<h2>Timeline</h2>
<figure class="wide" role="img" aria-label="{{ alt }}">{{ wide | safe }}</figure>
<figure class="narrow" role="img" aria-label="{{ alt }}">{{ narrow | safe }}</figure>
<h2>Moves</h2><div class="scroll"><table class="cards"><thead><tr><th scope="col">VM</th><th scope="col">From</th><th scope="col">To</th>
<th scope="col">Result</th><th scope="col">Predicted</th><th scope="col">Took</th><th scope="col">Powered on throughout</th></tr></thead><tbody>
{% for m in e.moves %}<tr><th scope="row">{{ m.vm }}</th><td data-name="From">{{ m.source }} {{ m.source_fault_domain or '' }}</td>
<td data-name="To">{{ m.target }} {{ m.target_fault_domain or '' }}</td>
<td data-name="Result">{{ m.result }}{% if m.error %}: {{ m.error }}{% endif %}</td>
<td data-name="Predicted" class="number">{{ seconds(m.predicted_seconds) }}</td><td data-name="Took" class="number">{{ seconds(took(m)) }}</td>
<td data-name="Powered on throughout">{{ powered(m) }}</td></tr>{% endfor %}</tbody></table></div>
{% if placement %}<h2>VMs by fault domain</h2><div class="scroll"><table><thead><tr><th scope="col">Fault domain</th>
<th scope="col" class="number">Before</th><th scope="col" class="number">After</th></tr></thead><tbody>
{% for row in placement %}<tr><th scope="row">{{ row[0] }}</th><td class="number">{{ row[1] }}</td><td class="number">{{ row[2] }}</td></tr>
{% endfor %}</tbody></table></div>{% endif %}
{% if e.experiments %}<h2>How it was measured</h2><ul>{% for x in e.experiments %}<li><strong>{{ x.vm }}</strong>, {{ x.description }}:
provider {{ x.provider }}, {{ x.capabilities.note or 'precision not stated' }}. Shorter stalls than
{{ seconds(x.resolution) }} cannot be told from normal operation. {{ work(x.throughput) }}
{% if x.unwatched_seconds %}Not watched for {{ seconds(x.unwatched_seconds) }}.{% endif %}
Recoverable if the worst had happened: {{ x.recoverable.state }}{% if x.recoverable.detail %} ({{ x.recoverable.detail }}){% endif %}.
{{ sameness(x.reproducible) }}
</li>{% endfor %}</ul>{% endif %}
{% if e.refusals %}<h2>Refused</h2><ul>{% for r in e.refusals %}<li><strong>{{ r.vm }}</strong><ul>{% for x in r.reasons %}
<li>{{ x.check }} ({{ x.object }}): {{ x.hint }}</li>{% endfor %}</ul></li>{% endfor %}</ul>{% endif %}
{% if e.unobserved %}<h2>Not observed</h2><ul>{% for u in e.unobserved %}<li><strong>{{ u.vm }}</strong>: {{ u.detail }}</li>
{% endfor %}</ul>{% endif %}
<h2>Run</h2><p>Run <code>{{ e.run_id }}</code>, plan <code>{{ e.plan_id }}</code>, {{ e.run.purpose }} {{ e.run.host or '' }} on
{{ e.vcenter.name }}, priority {{ e.run.priority }}, {{ e.run.slots }} slots, stall budget {{ seconds(e.run.stall_budget) }}.
{% if e.fence %}{{ e.fence }}.{% endif %}{% if e.run.resumed %} Resumed {{ e.run.resumed }} times.{% endif %}</p>
<p>Journal of {{ e.journal.events }} events, head <code>{{ e.journal.head }}</code>; samples <code>{{ e.journal.samples_sha256 }}</code>.</p>
</main></body></html>
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
        moved=sum(move["result"] == "moved" for move in evidence["moves"]),
        placement=placement(evidence["moves"]),
        seconds=seconds_text,
        took=took,
        powered=powered_text,
        work=work_text,
        sameness=sameness_text,
    )


def placement(moves: list[Mapping[str, Any]]) -> list[tuple[str, int, int]]:
    """(fault domain, VMs before, VMs after) of the moved VMs; empty where no fault domain is known."""
    # A VM that came back counts once: where its move found it, and where its way back left it.
    last = {m["vm"]: m for m in sorted(moves, key=lambda m: bool(m.get("back")))}
    before = Counter(m["source_fault_domain"] for m in moves if not m.get("back"))
    after = Counter(
        m["target_fault_domain"] if m["result"] == "moved" else m["source_fault_domain"] for m in last.values()
    )
    return [(name, before[name], after[name]) for name in sorted(filter(None, before | after))]


def seconds_text(value: float | None) -> str:
    """Seconds as a person reads them."""
    if value is None:
        return "not known"
    return f"{value:.2f} s" if value < 10 else f"{value:.0f} s"


def took(move: Mapping[str, Any]) -> float | None:
    """Seconds from a move's submission to its end."""
    if move["started"] is None or move["finished"] is None:
        return None
    return (datetime.fromisoformat(move["finished"]) - datetime.fromisoformat(move["started"])).total_seconds()


def powered_text(move: Mapping[str, Any]) -> str:
    """What vCenter's power-on times prove about a VM."""
    power_on = move.get("power_on") or {}
    same = power_on.get("same")
    if same is None:
        return "not known"
    return f"yes, since {power_on['before']}" if same else f"NO: powered on again {power_on['after']}"


def work_text(parts: Mapping[str, Any] | None) -> str:
    """Throughput before, during and after in one sentence; empty where there is none."""
    if parts is None or parts["during"] is None:
        return ""
    told = [f"{name} {rate_text(parts[name])}" for name in ("before", "during", "after") if parts[name]]
    unit = "steps" if parts["during"]["unit"] == "steps" else "percentage points"
    ratio = parts["during_to_before"]
    share = (
        f" While it moved it worked at {100 * ratio['ratio']:.0f} % ({100 * ratio['low']:.0f} to {100 * ratio['high']:.0f} %) of before."
        if ratio
        else ""
    )
    return f"Throughput in {unit} a second: {', '.join(told)}.{share}"


def sameness_text(reproducible: Mapping[str, str] | None) -> str:
    """Whether the finished model can be expected to be the one that training without a move gives."""
    state, detail = (reproducible or {}).get("state", "unknown"), (reproducible or {}).get("detail", "")
    why = f": {detail}" if detail else ""
    return {
        "yes": f"The same model as without a move is to be expected{why}.",
        "no": f"That the model is the same as without a move cannot be promised{why}.",
    }.get(state, f"Whether the model is the same as without a move is not known{why}.")


def rate_text(part: Mapping[str, Any]) -> str:
    """A rate with its 95 % interval."""
    half = part["half_width"]
    return f"{part['rate']:.3g}" + (f" ± {half:.2g}" if half is not None else " (too few changes for an interval)")


def render_markdown(evidence: Mapping[str, Any]) -> str:
    """The same statements for a comment on a pull request."""
    run = evidence["run"]
    lines = [f"## {_escaped(title(evidence))}", ""]
    if evidence["vcenter"]["simulated"]:
        lines += [f"> The vCenter is simulated ({_escaped(evidence['vcenter']['name'])}).", ""]
    if evidence["journal"]["broken_at"] is not None:
        lines += [f"> **The journal was changed at line {evidence['journal']['broken_at']}.**", ""]
    lines += [f"- {_escaped(statement)}" for statement in evidence["statements"]] or ["- No experiment observed."]
    lines += ["", f"Run `{run_id(evidence)}`: {run['result']}. Left behind: {_names(evidence['left_behind'])}.", ""]
    lines += ["| VM | From | To | Result |", "|---|---|---|---|"]
    for move in evidence["moves"]:
        lines.append("| " + " | ".join(_escaped(str(move[k])) for k in ("vm", "source", "target", "result")) + " |")
    if evidence["unobserved"]:
        lines.append("")
    lines += [f"- {_escaped(u['vm'] + ' not observed: ' + u['detail'])}" for u in evidence["unobserved"]]
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
