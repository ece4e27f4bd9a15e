# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations


class ModuleDocFragment:
    """How to find and watch experiments."""

    DOCUMENTATION = r"""
requirements:
  - prometheus-client >= 0.22 (for provider V(prometheus) with a metric)
options:
  experiments:
    description:
      - How to find and watch experiments.
    type: dict
    default: {}
    suboptions:
      enabled:
        description: Whether to look for experiments in the VMs.
        type: bool
        default: true
      h2o3:
        description: Whether to look for H2O-3 servers at the addresses of the VMs.
        type: bool
        default: true
      ports:
        description: Ports of H2O-3 servers.
        type: list
        elements: int
        default: [54321]
      addresses:
        description: Addresses by name or MoID of the VM, for guests that do not report the right address.
        type: dict
        default: {}
      context_path:
        description: Path of the H2O-3 servers, as in their option C(-context_path).
        type: str
      use_tls:
        description: Whether the H2O-3 servers use TLS.
        type: bool
        default: false
      validate_certs:
        description: Whether to verify the certificates of the H2O-3 servers.
        type: bool
        default: true
      ca_path:
        description: PEM file with the CA that signed the certificates of the H2O-3 servers.
        type: path
      client_cert:
        description: PEM file with the client certificate for the H2O-3 servers.
        type: path
      client_key:
        description: PEM file with the key of that certificate, without a passphrase.
        type: path
      username:
        description:
          - User of the H2O-3 servers (basic authentication).
          - If it is not set, the environment variable E(H2O_USERNAME) is used.
        type: str
      password:
        description:
          - Password of that user.
          - If it is not set, the environment variable E(H2O_PASSWORD) is used.
        type: str
      allowed_networks:
        description:
          - Networks of the guests, for example V(10.1.4.0/24).
          - If it is not set, the environment variable E(LIVEML_VSPHERE_ALLOWED_NETWORKS) is used, with commas between networks.
          - Credentials are only sent to an address that a guest reports if the address is in one of these networks. If the list is
            not empty, other reported addresses are not asked at all. Addresses and URLs in O(experiments) are always asked.
          - Addresses of the controller itself (loopback), of links (link-local) and of the metadata services of clouds are only asked
            if the list contains a network within that range, such as V(127.0.0.0/8). V(0.0.0.0/0) does not count.
        type: list
        elements: str
        default: []
      cluster_vms:
        description:
          - Names or patterns of VMs that do not move, but may have further nodes of an H2O-3 cluster.
          - An experiment on a cluster is only proven to be uninterrupted if all nodes are watched. VMs are found automatically if the
            nodes know each other by the addresses that vCenter shows.
        type: list
        elements: str
        default: []
      owners:
        description: Owners by VM name or pattern. They take precedence over the provider and over O(experiments.owner_attribute).
        type: dict
        default: {}
      owner_attribute:
        description: Custom attribute of the VM with the owner of its experiments.
        type: str
        default: owner
      sources:
        description: Where to find experiments that do not run on H2O-3 servers.
        type: list
        elements: dict
        default: []
        suboptions:
          provider:
            description:
              - V(mlflow) reads runs from an MLflow tracking server, and V(tensorboard) scalars from a TensorBoard.
              - V(prometheus) reads a metric that counts steps.
              - V(driverless_ai) reads experiments of H2O Driverless AI.
              - V(exec) runs a program of your own.
            type: str
            required: true
            choices: [driverless_ai, exec, mlflow, prometheus, tensorboard]
          vms:
            description:
              - Names, patterns or MoIDs of the VMs that this source knows. If it is empty, all VMs.
              - A Driverless AI server, or a metric at a fixed address, needs the name of its VM here.
              - With a single name, all runs of an MLflow or TensorBoard server belong to that VM. Otherwise, the tag C(liveml.vm) of an
                MLflow run names its VM, and the path of a TensorBoard run contains the name of its VM.
            type: list
            elements: str
            default: []
          url:
            description:
              - URL of the server. For V(prometheus) with O(experiments.sources[].metric), the URL of the exporter's page, which may
                have a query such as C(?name[]=training_steps_total). Do not put secrets into a URL, because reports show its path.
              - C({address}) is replaced by the address of the VM, and C({vm}) by its name.
            type: str
          command:
            description: Program of provider V(exec), with its arguments. It reads and writes JSON lines on standard input and output.
            type: list
            elements: str
          metric:
            description: >-
              Metric that counts steps. If it is not set, V(mlflow) uses the metric with the most steps of those that advance, and
              V(tensorboard) the first one that advances. For V(prometheus), a name, or a name with labels such as
              C(training_steps_total{run="a"}). If several series have the name, the one that advances is watched.
            type: str
          query:
            description: PromQL query of provider V(prometheus) for a Prometheus server. Its result must be one series.
            type: str
          total_steps:
            description: Number of steps of the whole training, to calculate progress in percent.
            type: int
          signal:
            description:
              - What shows a stall with provider V(exec).
              - V(answers) if the program cannot answer while the training stands still.
              - V(changes) if the program answers all the time, with what the training recorded last.
            type: str
            choices: [answers, changes]
            default: answers
          flush_seconds:
            description: Maximum delay, in seconds, before the training writes new data. For V(tensorboard), the C(flush_secs) of the writer.
            type: float
            default: 120.0
          advance_timeout:
            description: Time, in seconds, within which a run must make progress to count as an experiment.
            type: float
            default: 15.0
          username:
            description: User for the server.
            type: str
          password:
            description: Password of that user.
            type: str
          token:
            description: Bearer token, instead of user and password.
            type: str
          validate_certs:
            description: Whether to verify the certificate of the server.
            type: bool
            default: true
          ca_path:
            description: PEM file with the CA that signed the certificate of the server.
            type: path
          client_cert:
            description: PEM file with the client certificate for the server.
            type: path
          client_key:
            description: PEM file with the key of that certificate, without a passphrase.
            type: path
      guest_username:
        description:
          - User of the guests. With it, M(liveml.vsphere.vm_migrate) reads the processes of the guests before and after the moves, through
            vCenter and VMware Tools. The same process before and after proves that it was not restarted, with any framework.
          - Needs the privilege C(VirtualMachine.GuestOperations.Query). If it is not set, processes are not read.
        type: str
      guest_password:
        description: Password of that user.
        type: str
      guest_process:
        description:
          - Regular expression for the name or command line of the processes, for example V(java .*h2o|python .*train).
          - Only the SHA-256 of a command line is stored.
        type: str
      guest_vms:
        description:
          - Names or patterns of the VMs whose guests get this login, for example V(ml-*). Other guests are not asked.
          - Anybody who administers a guest can read the password that VMware Tools gets.
        type: list
        elements: str
      require_checkpoint:
        description:
          - What to do if an experiment could not be recovered from a checkpoint, or if that is not known.
          - V(never) does not check, V(warn) prints a warning, and V(refuse) fails before any move.
        type: str
        choices: [never, warn, refuse]
        default: never
      stall_budget:
        description:
          - Maximum stall, in seconds. The verdict on an experiment with a longer stall is V(stalled).
          - A plan whose VMs may stand still for longer because of their vGPUs is not carried out.
        type: float
        default: 5.0
      settle_timeout:
        description: Maximum time, in seconds, to wait for progress after a move.
        type: float
        default: 60.0
      baseline:
        description: Seconds of sampling before the first move. The first answer of an experiment may delay the move by 5 more seconds.
        type: float
        default: 3.0
"""
