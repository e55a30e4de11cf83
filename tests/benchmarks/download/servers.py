"""The servers of a run: one for the files, over http and TLS, and two for S3."""

from __future__ import annotations

import ipaddress
import os
import shutil
import sys
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

from tests.stores.servers import S3_ADMIN_KEY, S3_ADMIN_SECRET, S3_KEY, S3_SECRET, Server, free_ports

HERE = Path(__file__).parent
BUCKET = "lake"

_NGINX = """
daemon off; master_process off; pid nginx.pid; error_log stderr; {user}
events {{ worker_connections 64; }}
http {{
  access_log off; sendfile on; tcp_nopush on; default_type text/csv;
  client_body_temp_path .; proxy_temp_path .; fastcgi_temp_path .; uwsgi_temp_path .; scgi_temp_path .;
  ssl_certificate {certificate}; ssl_certificate_key {key};
  server {{ listen 127.0.0.1:{port}; listen 127.0.0.1:{tls} ssl; root {files}; }}
}}
"""


class Source(Server):
    """
    Serves a folder: nginx where it is installed, else a server of our own.

    nginx runs as one process: workers would outlive a master that is shot.

    ``endpoint`` is plain http, ``secure`` the same over TLS. ``authority``: the certificate to trust.
    """

    name = "source"

    def __init__(self, files: Path) -> None:
        super().__init__()
        self._files = files
        self._nginx = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
        self.kind = "nginx" if self._nginx else "sendfile.py"
        self.authority, self._certificate, self._key = make_certificates(self.folder)
        self.secure = ""

    def command(self) -> list[str]:
        port, tls = free_ports(2)
        self.endpoint, self.secure = f"http://127.0.0.1:{port}", f"https://127.0.0.1:{tls}"
        if self._nginx is None:
            ports = (str(port), str(tls))
            own = str(HERE / "sendfile.py")
            return [sys.executable, own, str(self._files), *ports, str(self._certificate), str(self._key)]
        config = self.folder / "nginx.conf"
        config.write_text(
            _NGINX.format(
                user="user root;" if os.geteuid() == 0 else "",  # root would become someone who may not read
                certificate=self._certificate,
                key=self._key,
                port=port,
                tls=tls,
                files=self._files,
            )
        )
        return [self._nginx, "-p", f"{self.folder}/", "-c", str(config)]


class Swallower(Server):
    """S3 that keeps nothing."""

    name = "swallow"

    def command(self) -> list[str]:
        (port,) = free_ports(1)
        self.endpoint = f"http://127.0.0.1:{port}"
        return [sys.executable, str(HERE / "swallow.py"), str(port)]


class Bucket:
    """A bucket as the bench itself sees it."""

    def __init__(self, endpoint: str) -> None:
        import boto3
        from botocore.config import Config

        self._client = boto3.client(
            "s3",
            endpoint_url=endpoint,
            region_name="us-east-1",
            aws_access_key_id=S3_ADMIN_KEY,
            aws_secret_access_key=S3_ADMIN_SECRET,
            config=Config(s3={"addressing_style": "path"}),
        )
        self._client.create_bucket(Bucket=BUCKET)

    def take(self, key: str) -> int:
        """Delete an object and return how many bytes it had."""
        size = int(self._client.head_object(Bucket=BUCKET, Key=key)["ContentLength"])
        self._client.delete_object(Bucket=BUCKET, Key=key)
        return size


def connection(endpoint: str) -> dict[str, Any]:
    """Return the Airflow connection that leads to an S3 server; paths, because loopback has no names."""
    return {
        "conn_type": "aws",
        "login": S3_KEY,
        "password": S3_SECRET,
        "extra": {
            "endpoint_url": endpoint,
            "region_name": "us-east-1",
            "config_kwargs": {"s3": {"addressing_style": "path"}},
        },
    }


def make_certificates(folder: Path) -> tuple[Path, Path, Path]:
    """Make an authority and a certificate for 127.0.0.1; return authority, certificate and its key."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    def name(text: str) -> x509.Name:
        return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])

    def begin(subject: str, key: ec.EllipticCurvePrivateKey, *, authority: bool) -> x509.CertificateBuilder:
        now = datetime.now(timezone.utc)
        return (
            x509.CertificateBuilder()
            .subject_name(name(subject))
            .issuer_name(name("bench authority"))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(hours=1))
            .not_valid_after(now + timedelta(days=2))
            .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(own.public_key()), critical=False
            )
        )

    own, server = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    may_sign = x509.KeyUsage(False, False, False, False, False, True, True, False, False)
    authority = begin("bench authority", own, authority=True).add_extension(may_sign, critical=True)
    address = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    leaf = begin("bench source", server, authority=False).add_extension(address, critical=False)
    paths = folder / "authority.pem", folder / "source.pem", folder / "source.key"
    for path, builder in zip(paths, (authority, leaf), strict=False):
        path.write_bytes(builder.sign(own, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
    paths[2].write_bytes(
        server.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    return paths
