"""What a certificate says: names as Java writes them, hosts it is for."""

import base64
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.name import _ASN1Type
from cryptography.x509.oid import NameOID

from zabpy.server.x509 import hosts_of, name_text, names_host, subject_of
from zabpy.tree.permissions import _X500_NAME as ACL_NAME


def part(oid: x509.ObjectIdentifier | str, value: str, kind: str | None = None) -> Any:
    made = x509.ObjectIdentifier(oid) if isinstance(oid, str) else oid
    return x509.NameAttribute(made, value, _type=_ASN1Type[kind] if kind else None, _validate=False)


def rdn(*parts: Any) -> Any:
    return x509.RelativeDistinguishedName(parts)


#: Names, in the order of the certificate, and what `X500Principal.getName()` of Java 17 makes of them.
NAMES: list[tuple[list[Any], str]] = [
    ([], ""),
    (
        [
            part(NameOID.COUNTRY_NAME, "DE"),
            part(NameOID.STATE_OR_PROVINCE_NAME, "Bayern"),
            part(NameOID.LOCALITY_NAME, "München"),
            part(NameOID.ORGANIZATION_NAME, 'Müller, Söhne & Co. "x" <y>'),
            part(NameOID.ORGANIZATIONAL_UNIT_NAME, "a+b;c=d#e\\f"),
            part(NameOID.COMMON_NAME, "client"),
        ],
        'CN=client,OU=a\\+b\\;c\\=d\\#e\\\\f,O=Müller\\, Söhne & Co. \\"x\\" \\<y\\>,L=München,ST=Bayern,C=DE',
    ),
    (
        [
            part(NameOID.DOMAIN_COMPONENT, "org", "IA5String"),
            part(NameOID.DOMAIN_COMPONENT, "example", "IA5String"),
            part(NameOID.USER_ID, "u1"),
            part(NameOID.STREET_ADDRESS, "Weg 1"),
            part(NameOID.COMMON_NAME, "  two spaces  "),
        ],
        "CN=\\ \\ two spaces\\ \\ ,STREET=Weg 1,UID=u1,DC=example,DC=org",
    ),
    (
        [part(NameOID.EMAIL_ADDRESS, "a@b.c", "IA5String"), part(NameOID.COMMON_NAME, "mail")],
        "CN=mail,1.2.840.113549.1.9.1=#16056140622e63",
    ),
    (
        [part(NameOID.SERIAL_NUMBER, "123"), part(NameOID.TITLE, "T"), part(NameOID.COMMON_NAME, "#lead")],
        "CN=\\#lead,2.5.4.12=#0c0154,2.5.4.5=#1303313233",
    ),
    ([part(NameOID.COMMON_NAME, "日本語 😀")], "CN=日本語 😀"),
    ([part(NameOID.COMMON_NAME, "bmp", "BMPString")], "CN=\\00b\\00m\\00p"),
    ([part(NameOID.COMMON_NAME, "num 12", "NumericString")], "CN=#12066e756d203132"),
    ([part(NameOID.COMMON_NAME, "vis", "VisibleString")], "CN=#1a03766973"),
    ([part(NameOID.COMMON_NAME, "a\tb\nc\rd*@!~\x7f")], "CN=a\tb\nc\rd*@!~\x7f"),
    ([part(NameOID.COMMON_NAME, "nul\0in")], "CN=nul\\00in"),
    ([part(NameOID.COMMON_NAME, " ")], "CN=\\ "),
    ([part(NameOID.COMMON_NAME, "\rcr ")], "CN=\\\rcr\\ "),
    ([part("2.999.5", "x"), part(NameOID.COMMON_NAME, "oids")], "CN=oids,2.999.5=#0c0178"),
    (
        [
            rdn(part(NameOID.COMMON_NAME, "multi"), part(NameOID.USER_ID, "7")),
            rdn(part(NameOID.ORGANIZATION_NAME, "Org"), part(NameOID.COUNTRY_NAME, "US")),
        ],
        "C=US+O=Org,CN=multi+UID=7",
    ),
]


@pytest.mark.parametrize(("parts", "text"), NAMES, ids=[text[:20] for _, text in NAMES])
def test_a_name_is_written_as_java_writes_it(parts: list[Any], text: str) -> None:
    assert name_text(x509.Name(parts).public_bytes()) == text


def test_what_is_no_text_has_a_name_of_its_own() -> None:
    """Java shows it as U+FFFD, and so all of these as one: an access control list for one would let in the others."""
    names = [
        name_text(x509.Name([part(NameOID.COMMON_NAME, f"bob{char}", kind)]).public_bytes())
        for char, kind in (("é", "BMPString"), ("è", "BMPString"), ("é", "T61String"), ("\ufffd", None))
    ]
    assert len(set(names)) == 4
    assert names[0] == "CN=#1e080062006f006200e9"
    assert ACL_NAME.fullmatch(names[0])


@pytest.mark.skipif(not shutil.which("java"), reason="java is not installed")
def test_java_itself_writes_these_names_so(tmp_path: Path) -> None:
    program = tmp_path / "Names.java"
    program.write_text(
        "import java.util.Base64;\n"
        "public class Names { public static void main(String[] given) throws Exception {\n"
        "    for (String each : given) {\n"
        "        var name = new javax.security.auth.x500.X500Principal(Base64.getDecoder().decode(each)).getName();\n"
        '        System.out.println(Base64.getEncoder().encodeToString(name.getBytes("UTF-8")));\n'
        "    }\n"
        "} }\n"
    )
    given = [base64.b64encode(x509.Name(parts).public_bytes()).decode() for parts, _ in NAMES]
    told = subprocess.run(["java", str(program), *given], capture_output=True, text=True, timeout=60, check=True)
    assert [base64.b64decode(line).decode() for line in told.stdout.splitlines()] == [text for _, text in NAMES]


def test_the_subject_of_a_certificate_is_found() -> None:
    leaf = trustme.CA().issue_cert("localhost", organization_name="Org, Inc.", common_name="me")
    certificate = x509.load_pem_x509_certificate(leaf.cert_chain_pems[0].bytes())
    der = certificate.public_bytes(Encoding.DER)
    assert subject_of(der) == name_text(certificate.subject.public_bytes())
    assert subject_of(der).startswith("CN=me,")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x30",
        b"\x30\x82",
        b"\x30\x03abc",
        b"\x30\x02\x30\x00",
        b"\x31\x00",
        b"\x30\x84\xff\xff\xff\xff",
        b"\x1f" * 9,
    ],
)
def test_what_is_no_certificate_is_a_value_error(data: bytes) -> None:
    with pytest.raises(ValueError):
        subject_of(data)


NAMED = {
    "subject": ((("commonName", "ignored.example"),),),
    "subjectAltName": (
        ("DNS", "Zk1.Example.org"),
        ("DNS", "*.wild.example"),
        ("IP Address", "10.0.0.1"),
        ("IP Address", "2001:DB8:0:0:0:0:0:1"),
        ("email", "mail.example"),
    ),
}


@pytest.mark.parametrize(
    ("host", "good"),
    [
        ("zk1.example.org", True),
        ("ZK1.EXAMPLE.ORG.", True),
        ("zk2.example.org", False),
        ("a.wild.example", True),
        ("wild.example", False),
        ("a.b.wild.example", False),
        ("10.0.0.1", True),
        ("10.0.0.10", False),
        ("2001:db8::1", True),
        ("2001:db8::1%eth0", True),
        ("2001:db8::2", False),
        ("ignored.example", False),
        ("mail.example", False),
        ("", False),
    ],
)
def test_a_certificate_is_for_the_hosts_it_names(host: str, good: bool) -> None:
    assert names_host(NAMED, host) is good


def test_without_other_names_the_common_name_counts_but_not_as_an_address() -> None:
    old = {"subject": ((("organizationName", "o"),), (("commonName", "old.example"),))}
    assert names_host(old, "old.example")
    assert hosts_of(old) == ("old.example",)
    assert not names_host({"subject": ((("commonName", "10.0.0.1"),),)}, "10.0.0.1")
    assert not names_host({}, "anybody")


def test_a_star_alone_or_for_a_top_level_is_nobodys_name() -> None:
    for star in ("*", "*.org"):
        assert not names_host({"subjectAltName": (("DNS", star),)}, "example.org")
