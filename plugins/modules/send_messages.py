#!/usr/bin/python

# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: send_messages
short_description: Send messages about runs to the owners of experiments
version_added: 0.1.0
author:
  - liveml.vsphere contributors (@liveml)
description:
  - Sends messages before VMs move, after an experiment was interrupted or stalled for too long, and after the run.
  - The role P(liveml.vsphere.notify#role) and the roles that move VMs use it.
  - A message that cannot be sent is reported and does not fail the task. An unknown kind of hook does.
extends_documentation_fragment:
  - liveml.vsphere.attributes
options:
  hooks:
    description:
      - Which messages to send, how and to whom, as in O(liveml.vsphere.notify#role:main:notify_hooks).
    type: list
    elements: dict
    required: true
  events:
    description:
      - Events to send. V(stall) is a stall that is too long, or an interruption.
    type: list
    elements: str
    choices: [before, stall, after]
    required: true
  subject:
    description:
      - Beginning of each subject line, for example V(Evacuation of esx-05).
    type: str
    required: true
  experiments:
    description:
      - Experiments as M(liveml.vsphere.experiment_info) returned them, for the event V(before).
    type: list
    elements: dict
    default: []
  result:
    description:
      - Result of M(liveml.vsphere.vm_migrate) or M(liveml.vsphere.vm_witness), for the events V(stall) and V(after).
      - With the C(experiments) of M(liveml.vsphere.evidence_report) in it, messages also say what was seen last of a training, and whether
        it has a checkpoint.
    type: dict
    default: {}
  failure:
    description:
      - Why the run failed. Empty means that it did not.
    type: str
    default: ""
  report:
    description:
      - Path of the report. Mail has it as an attachment.
    type: str
    default: ""
  excerpts:
    description:
      - Path of each owner's part of the report, as M(liveml.vsphere.evidence_report) returned it. Mail to owners has it as an attachment.
    type: dict
    default: {}
  notes:
    description:
      - Sentences about VMs for the event V(after). Only hooks that get all experiments get them.
    type: list
    elements: str
    default: []
  command:
    description:
      - What to type next, for the event V(after). Only hooks that get all experiments get it.
    type: str
    default: ""
notes:
  - It runs on the controller, as an action plugin. Mail is sent with C(community.general.mail), messages to Slack with
    C(community.general.slack), the rest with M(ansible.builtin.uri).
attributes:
  check_mode:
    support: full
    details: Sends nothing.
  diff_mode:
    support: N/A
    details: It changes nothing.
  idempotent:
    support: none
    details: Each call sends its messages.
seealso:
  - module: liveml.vsphere.vm_migrate
  - module: liveml.vsphere.experiment_info
"""

EXAMPLES = r"""
- name: Send messages to the owners before a host is evacuated
  liveml.vsphere.send_messages:
    hooks:
      - kind: mail
        host: smtp.example.com
        to:
          vision: vision-team@example.com
    events: [before]
    subject: Evacuation of esx-05
    experiments: "{{ found.experiments }}"

- name: Send everybody how it ended, with the report attached to mail
  liveml.vsphere.send_messages:
    hooks: "{{ hooks }}"
    events: [stall, after]
    subject: Evacuation of esx-05
    result: "{{ run | combine({'experiments': evidence.experiments}) }}"
    failure: "{{ run.msg if run is failed else '' }}"
    report: "{{ evidence.report_path }}"

- name: Post a message to a webhook after the run
  liveml.vsphere.send_messages:
    hooks:
      - kind: webhook
        url: "{{ vault_webhook_url }}"
    events: [after]
    subject: Move of ML-cpu-vm-04
    result: "{{ run }}"
"""

RETURN = r"""
sent:
  description: The messages that were sent, as kind, recipients and event.
  returned: always
  type: list
  elements: str
  sample: ["mail to vision-team@example.com (after)"]
not_sent:
  description: The messages that could not be sent, and why. Secrets of hooks are left out.
  returned: always
  type: list
  elements: str
  sample: ["webhook (after): Status code was 503 and not [200, 201, 202, 204]"]
"""
