"""Whom the client believes: the world's authorities, and those that SSL_CERT_FILE or SSL_CERT_DIR name instead."""

from __future__ import annotations

import ipaddress
import ssl
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from hashlib import sha1
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from fieval_tasks.api.client import Credentials, EvalClient
from fieval_tasks.core.errors import PlanError, Unreachable
from tests.contract.raw_server import RawServer, answers
from tests.contract.test_client_faults import TAKEN, assert_secret, submit

SIGNS_CERTIFICATES = x509.KeyUsage(
    key_cert_sign=True, crl_sign=True, digital_signature=False, content_commitment=False, key_encipherment=False,
    data_encipherment=False, key_agreement=False, encipher_only=False, decipher_only=False,
)  # fmt: skip


@dataclass(frozen=True)
class Authority:
    """One that nobody else knows, and the certificate that it gave to 127.0.0.1."""

    file: Path
    server: ssl.SSLContext


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return new_authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(autouse=True)
def no_certificates_of_the_users(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    monkeypatch.delenv("SSL_CERT_DIR", raising=False)


def new_authority(folder: Path, *, host: str = "127.0.0.1", days: int = 1) -> Authority:
    """`days`: how long from now the server's certificate lasts; one of yesterday has a negative number."""
    key, server_key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "an authority of the tests")])
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    own = certificate(name, name, key, days=1).add_extension(x509.BasicConstraints(True, None), critical=True)
    # Python 3.13 believes no chain whose certificates leave out who signed them, and what they may be used for.
    own = own.add_extension(identifier, critical=False).add_extension(SIGNS_CERTIFICATES, critical=True)
    host_name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)])
    given = (
        certificate(host_name, name, server_key, days=days)
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(host))]), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier), critical=False)
    )
    file, chain = folder / "authority.pem", folder / "server.pem"
    file.write_bytes(own.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
    private = server_key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    chain.write_bytes(given.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM) + private)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(chain)
    return Authority(file, server)


def certificate(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, *, days: int
) -> x509.CertificateBuilder:
    end = datetime.now(timezone.utc) + timedelta(days=days)
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(key.public_key())
    return (
        builder.serial_number(x509.random_serial_number())
        .not_valid_before(end - timedelta(days=2))
        .not_valid_after(end)
    )


async def refusal(authority: Authority) -> Unreachable:
    """Why the client believes no server of this authority's; which then has seen no request."""
    async with RawServer(answers(200, TAKEN), tls=authority.server) as server, server.client() as client:
        with pytest.raises(Unreachable) as told:
            await submit(client)
        assert server.received == []
    return told.value


async def test_a_certificate_of_an_unknown_authority_is_refused_before_anything_is_sent(authority: Authority) -> None:
    error = await refusal(authority)
    assert (error.retryable, error.ambiguous) == (True, False)
    assert "can't be trusted" in str(error)
    assert "SSL_CERT_FILE" in str(error)
    assert_secret(str(error))


async def test_ssl_cert_file_names_the_authority_to_believe(
    authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.file))
    async with RawServer(answers(200, TAKEN), tls=authority.server) as server, server.client() as client:
        assert await submit(client) == "e-1"


def subject_hash(file: Path) -> str:
    """By which OpenSSL looks for an authority in a folder: of its name in lower case, without the outer header."""
    name = x509.load_pem_x509_certificate(file.read_bytes()).subject.public_bytes()
    return sha1(name[2:]).digest()[3::-1].hex()


async def test_ssl_cert_dir_names_a_folder_of_them(
    authority: Authority, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path))
    await refusal(authority)
    (tmp_path / f"{subject_hash(authority.file)}.0").write_bytes(authority.file.read_bytes())
    async with RawServer(answers(200, TAKEN), tls=authority.server) as server, server.client() as client:
        assert await submit(client) == "e-1"


@pytest.mark.parametrize(("host", "days"), [("127.0.0.2", 1), ("127.0.0.1", -1)])
async def test_a_known_authority_does_not_vouch_for_another_host_nor_for_ever(
    host: str, days: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    authority = new_authority(tmp_path, host=host, days=days)
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.file))
    assert "can't be trusted" in str(await refusal(authority))


@pytest.mark.parametrize("text", [None, "", "no certificate"])
def test_a_file_that_holds_no_certificates_is_named_at_once(
    text: str | None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "authority.pem"
    if text is not None:
        file.write_text(text)
    monkeypatch.setenv("SSL_CERT_FILE", str(file))
    with pytest.raises(PlanError, match=r"SSL_CERT_FILE names .*authority\.pem"):
        EvalClient(Credentials("api-key", "secret-key"))
