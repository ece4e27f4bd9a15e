# Copyright (c) 2026, liveml.vsphere contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What people write for the address of a vCenter is understood, or the message has the value to use instead."""

from __future__ import annotations

import pytest
from ansible_collections.liveml.vsphere.plugins.module_utils._core.errors import InvalidInput
from ansible_collections.liveml.vsphere.plugins.module_utils._vsphere.address import address_of


@pytest.mark.parametrize(
    ("written", "host", "port"),
    [
        ("vc", "vc", 443),
        ("vc.example.com", "vc.example.com", 443),
        ("vc_1.example.com.", "vc_1.example.com.", 443),
        ("https.example.com", "https.example.com", 443),
        ("httpsvc", "httpsvc", 443),
        ("10.2.0.11", "10.2.0.11", 443),
        ("10.2.0.11:8443", "10.2.0.11", 8443),
        ("vc:8443", "vc", 8443),
        ("vc:", "vc", 443),
        ("vc:443/", "vc", 443),
        ("https://vc", "vc", 443),
        ("https://vc/", "vc", 443),
        ("HTTPS://VC/", "VC", 443),
        ("https:/vc/", "vc", 443),
        ("https//vc", "vc", 443),
        ("https:vc", "vc", 443),
        ("//vc/", "vc", 443),
        (r"https:\\vc\ui", "vc", 443),
        ("https://vc:8443/sdk", "vc", 8443),
        ("vc/sdk", "vc", 443),
        ("vc/sdk/vimService.wsdl", "vc", 443),
        ("https://vc/ui/", "vc", 443),
        ("https://vc/ui/app/folder;nav=h/urn:vmomi:Folder:group-d1:8a/summary", "vc", 443),
        ("https://vc/ui?locale=en_US", "vc", 443),
        ("https://vc/UI#?extensionId=x", "vc", 443),
        ("https://vc?x=/", "vc", 443),
        ("https://vc#/ui", "vc", 443),
        ("https://vc/websso/SAML2/SSO/vsphere.local?SAMLRequest=abc%3D", "vc", 443),
        ("  vc \n", "vc", 443),
        ("'vc'", "vc", 443),
        ('"https://vc/"', "vc", 443),
        ("<https://vc/>", "vc", 443),
        ("\ufeffvc\u200b", "vc", 443),
        ("\xa0vc", "vc", 443),
        ("2001:db8::1", "2001:db8::1", 443),
        ("[2001:db8::1]", "2001:db8::1", 443),
        ("[2001:db8::1]:8443", "2001:db8::1", 8443),
        ("https://[::1]:8443/sdk", "::1", 8443),
        ("fe80::1%eth0", "fe80::1%eth0", 443),
        ("bücher.example", "bücher.example", 443),
    ],
)
def test_an_address_is_understood(written: str, host: str, port: int) -> None:
    assert address_of(written, 443) == (host, port)


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("http://vc/", "is 'http://vc/', but vCenter is only reached by https. Set it to vc."),
        ("http://vc:80/", "only reached by https. Set it to vc."),
        ("http://vc:8080/", "only reached by https. Set it to vc:8080."),
        ("ssh://vc", "only reached by https. Set it to vc."),
        ("htps://[::1]:8443", "only reached by https. Set it to [::1]:8443."),
        ("https://proxy/vc1/sdk", "but vCenter has no such path. Set it to proxy."),
        ("vc/Datacenter", "but vCenter has no such path. Set it to vc."),
        ("https://", "not the name or address of a server. Set it to a name such as vcenter.example.com."),
        ("https:///sdk", "not the name or address of a server"),
        ("vc1,vc2", "not the name or address of a server"),
        ("vc 1", "not the name or address of a server"),
        ("${VMWARE_HOST}", "not the name or address of a server"),
        ("{{ vcenter }}", "not the name or address of a server"),
        ("vc..example.com", "not the name or address of a server"),
        ("1:2:3", "not the name or address of a server"),
        ("[vc]x", "not the name or address of a server"),
        ("", "not the name or address of a server"),
        ("vc:https", "has the port 'https', which is not a number from 1 to 65535. Set it to vc."),
        ("vc:0", "has the port '0', which is not a number from 1 to 65535. Set it to vc."),
        ("vc:65536", "not a number from 1 to 65535"),
        ("vc:-1", "not a number from 1 to 65535"),
        ("vc:８４４３", "not a number from 1 to 65535"),
    ],
)
def test_what_cannot_be_used_names_the_value_to_use(written: str, said: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        address_of(written, 443)
    assert str(caught.value).startswith("hostname (VMWARE_HOST) ")
    assert said in str(caught.value)
    assert caught.value.option == "hostname"


@pytest.mark.parametrize(
    "written",
    [
        "https://administrator@vsphere.local:s3cr/et@vc:8443/",
        "administrator@vsphere.local:s3cr?et@vc:8443",
        "root:s3cret@vc:8443/sdk",
        "https://root:s3cr#et@vc:8443",
    ],
)
def test_nothing_of_a_login_in_an_address_is_repeated(written: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        address_of(written, 443)
    assert "s3cr" not in str(caught.value)
    assert "Set it to vc:8443 and give the login in username (VMWARE_USER)" in str(caught.value)


def test_two_ports_must_agree() -> None:
    assert address_of("vc", 8443) == ("vc", 8443)
    assert address_of("https://vc:8443", 8443) == ("vc", 8443)
    with pytest.raises(InvalidInput, match=r"has the port 8443, but port \(VMWARE_PORT\) is 9443\. Set it to vc\."):
        address_of("vc:8443", 9443)


@pytest.mark.parametrize("port", [1, 65535])
def test_the_first_and_the_last_port_exist(port: int) -> None:
    assert address_of("vc", port) == address_of(f"vc:{port}", 443) == ("vc", port)


@pytest.mark.parametrize("port", [0, -443, 65536])
def test_a_port_that_does_not_exist_is_an_error(port: int) -> None:
    with pytest.raises(InvalidInput, match=r"port \(VMWARE_PORT\) is") as caught:
        address_of("vc", port)
    assert caught.value.option == "port"
