"""Over TLS: names in certificates, and the check of the peer before the request."""

from __future__ import annotations

import datetime
import ssl

import pytest

from stoq_provider.exceptions import DownloadError
from stoq_provider.storage import wire
from stoq_provider.storage.download import download
from stoq_provider.storage.policy import DownloadPolicy

from .conftest import BODY, SECRET


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """A self-signed certificate for ``localhost`` only, and its key, in one file."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.timezone.utc)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "localhost.pem"
    path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        + made.public_bytes(serialization.Encoding.PEM)
    )
    return str(path)


@pytest.fixture
def tls(server, certificate, monkeypatch):
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    server._server.socket = context.wrap_socket(server._server.socket, server_side=True)
    server.tls_url = f"https://localhost:{server.port}/x.csv?{SECRET}"
    return server


def test_certificate_of_the_right_name(tls, certificate, tmp_path):
    policy = DownloadPolicy(allow_loopback=True, verify=certificate)
    download(lambda: tls.tls_url, f"{tmp_path}/x.csv", file_name=None, policy=policy)
    assert (tmp_path / "x.csv").read_bytes() == BODY


@pytest.mark.parametrize("fault", ["unknown authority", "wrong name"])
def test_certificate_that_is_wrong(tls, certificate, tmp_path, fault):
    policy = DownloadPolicy(allow_loopback=True, verify=True if fault == "unknown authority" else certificate)
    url = tls.tls_url if fault == "unknown authority" else tls.tls_url.replace("localhost", "127.0.0.1")
    asked = []
    with pytest.raises(DownloadError, match="TLS certificate was not accepted") as caught:
        download(lambda: asked.append(1) or url, f"{tmp_path}/x.csv", file_name=None, policy=policy)
    assert caught.value.__context__ is None
    assert "0 bytes had arrived" in str(caught.value)
    assert tls.requests == []
    assert asked == [1]


def test_peer_is_checked_before_the_request(tls, certificate, tmp_path, monkeypatch):
    monkeypatch.setattr(wire, "resolve", lambda host, port: ["93.184.216.34"])
    with pytest.raises(DownloadError, match="loopback"):
        download(
            lambda: tls.tls_url,
            f"{tmp_path}/x.csv",
            file_name=None,
            policy=DownloadPolicy(verify=certificate),
        )
    assert tls.requests == []
