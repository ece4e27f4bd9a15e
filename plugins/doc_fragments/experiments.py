# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations


class ModuleDocFragment:
    """How experiments are found and watched."""

    DOCUMENTATION = r"""
options:
  experiments:
    description:
      - How experiments are found and watched.
    type: dict
    default: {}
    suboptions:
      enabled:
        description: Whether VMs are looked into at all.
        type: bool
        default: true
      h2o3:
        description: Whether H2O-3 servers are looked for at the VMs' addresses.
        type: bool
        default: true
      ports:
        description: Ports on which H2O-3 servers listen.
        type: list
        elements: int
        default: [54321]
      addresses:
        description: Address by VM name, where the guest does not report the right one.
        type: dict
        default: {}
      context_path:
        description: Path below which the H2O-3 servers answer (their option C(-context_path)).
        type: str
      use_tls:
        description: Whether the servers speak TLS.
        type: bool
        default: false
      validate_certs:
        description: Whether the servers' certificates are verified.
        type: bool
        default: true
      ca_path:
        description: PEM file of the CA that signed the servers' certificates.
        type: path
      client_cert:
        description: PEM file of the certificate that is shown to the servers.
        type: path
      client_key:
        description: PEM file of that certificate's key, without a passphrase.
        type: path
      username:
        description: User of the servers' basic authentication. The environment variable E(H2O_USERNAME) is used when it is not given.
        type: str
      password:
        description: Password of that user. The environment variable E(H2O_PASSWORD) is used when it is not given.
        type: str
      allowed_networks:
        description:
          - Networks in which guests may be asked. Credentials are sent to an address that a guest reports only when it is
            within one of them.
        type: list
        elements: str
        default: []
      cluster_vms:
        description:
          - Names or patterns of VMs that do not move and may hold further nodes of an H2O-3 cluster that has a node in a VM which moves.
          - Such VMs are found by themselves when the nodes know each other by the addresses that vCenter shows. An experiment on a
            cluster is proved only when every node of it is watched.
        type: list
        elements: str
        default: []
      owners:
        description: Owner by VM name or pattern, where neither the provider nor the custom attribute tells the right one.
        type: dict
        default: {}
      owner_attribute:
        description: Custom attribute of the VM that names the owner of its experiments.
        type: str
        default: owner
      sources:
        description: Where other experiments than those of H2O-3 servers are found.
        type: list
        elements: dict
        default: []
        suboptions:
          provider:
            description:
              - V(mlflow) are runs on a tracking server, V(tensorboard) scalars of a TensorBoard, V(prometheus) a metric that
                counts steps, V(driverless_ai) experiments of H2O Driverless AI, V(exec) a program of your own.
            type: str
            required: true
            choices: [driverless_ai, exec, mlflow, prometheus, tensorboard]
          vms:
            description:
              - Names or patterns of the VMs that the source is asked for. Empty means all. A Driverless AI server or a metric at a
                fixed address needs its one VM here.
              - With a single name every run of an MLflow or TensorBoard server belongs to that VM. Else MLflow runs belong to the
                VM that their tag C(liveml.vm) names, and TensorBoard runs to the VM that is part of their path.
            type: list
            elements: str
            default: []
          url:
            description:
              - URL of the server, for V(prometheus) with O(experiments.sources[].metric) that of the exporter's page.
              - C({address}) stands for the VM's address and C({vm}) for its name.
            type: str
          command:
            description: Program of provider V(exec) and its arguments. It speaks JSON lines on standard input and output.
            type: list
            elements: str
          metric:
            description: >-
              Metric that counts steps. Provider V(mlflow) takes the one with the most steps and V(tensorboard) the first when it
              is not given.
            type: str
          query:
            description: PromQL of provider V(prometheus) that gives one series, asked at a Prometheus server.
            type: str
          total_steps:
            description: Steps of the whole training, for the progress in percent.
            type: int
          signal:
            description:
              - What a stall is read from with provider V(exec). V(answers) when the program's answers wait for the training,
                V(changes) when they tell what was recorded last.
            type: str
            choices: [answers, changes]
            default: answers
          flush_seconds:
            description: Seconds that the training keeps news to itself, for V(tensorboard) the writer's C(flush_secs).
            type: float
            default: 120.0
          advance_timeout:
            description: Seconds in which a run must advance to count as an experiment.
            type: float
            default: 15.0
          username:
            description: User of the server.
            type: str
          password:
            description: Password of that user.
            type: str
          token:
            description: Bearer token instead of user and password.
            type: str
          validate_certs:
            description: Whether the server's certificate is verified.
            type: bool
            default: true
          ca_path:
            description: PEM file of the CA that signed the server's certificate.
            type: path
          client_cert:
            description: PEM file of the certificate that is shown to the server.
            type: path
          client_key:
            description: PEM file of that certificate's key, without a passphrase.
            type: path
      guest_username:
        description:
          - User of the guests with which M(liveml.vsphere.vm_migrate) lets vCenter list their processes before and after the moves, through
            VMware Tools. The same process before and after proves that it was not restarted, whatever framework trains in it.
          - Needs the privilege C(VirtualMachine.GuestOperations.Query). Guests are not asked when it is not given.
        type: str
      guest_password:
        description: Password of that user.
        type: str
      guest_process:
        description:
          - Regular expression that finds the processes of interest by name or command line, such as V(java .*h2o|python .*train).
          - Of a command line only the SHA-256 is kept.
        type: str
      require_checkpoint:
        description:
          - What to do when an experiment could not be recovered from a checkpoint if the worst happened, or that is not known.
          - V(warn) says so, V(refuse) moves nothing, V(never) does not look.
        type: str
        choices: [never, warn, refuse]
        default: never
      stall_budget:
        description: Seconds that an experiment may stall before its verdict is V(stalled).
        type: float
        default: 5.0
      settle_timeout:
        description: Seconds to wait after a move for progress.
        type: float
        default: 60.0
      baseline:
        description: Seconds of undisturbed sampling before the first move, which also waits up to 5 seconds more for a first answer of each experiment.
        type: float
        default: 3.0
"""
