"""Certificates for tests, and a node that speaks https."""

import http.client
import json
import os
import ssl
import subprocess

from node import Node


def openssl(*args):
    subprocess.run(["openssl", *args], check=True, capture_output=True)


class Authority:
    """A certificate authority in a folder; issues certificates for 127.0.0.1."""

    def __init__(self, folder):
        self.folder = folder
        self.file = os.path.join(folder, "ca.pem")
        self.key = os.path.join(folder, "ca.key")
        openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj",
                "/CN=test authority", "-keyout", self.key, "-out", self.file)

    def issue(self, cert, key, names="IP:127.0.0.1"):
        request = os.path.join(self.folder, "request.pem")
        names_file = os.path.join(self.folder, "names")
        with open(names_file, "w", encoding="ascii") as f:
            f.write(f"subjectAltName={names}\n")
        openssl("req", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=daemon", "-keyout", key,
                "-out", request)
        openssl("x509", "-req", "-in", request, "-CA", self.file, "-CAkey", self.key, "-days",
                "2", "-extfile", names_file, "-out", cert)


class TlsNode(Node):
    """`authority` signs cert.pem and key.pem in the node's folder."""

    def __init__(self, config=None, env=None):
        super().__init__({}, env)
        self.authority = Authority(self.dir)
        self.cert = os.path.join(self.dir, "cert.pem")
        self.key = os.path.join(self.dir, "key.pem")
        self.authority.issue(self.cert, self.key)
        self.tls = {"cert_file": self.cert, "key_file": self.key}
        self.configure({**(config or {}), "server": {"tls": self.tls}})
        self.env["AEGIS_DAEMON_ADDR"] = f"https://127.0.0.1:{self.port}"
        self.env["AEGIS_CA_FILE"] = self.authority.file

    def context(self):
        return ssl.create_default_context(cafile=self.authority.file)

    def connect(self, timeout=60):
        return http.client.HTTPSConnection("127.0.0.1", self.port, timeout=timeout,
                                           context=self.context())

    def serial(self):
        """Of the certificate that the daemon shows."""
        connection = self.connect()
        try:
            connection.connect()
            return connection.sock.getpeercert()["serialNumber"]
        finally:
            connection.close()

    def api(self, method, path, body=None, headers=None, timeout=60):
        connection = self.connect(timeout)
        try:
            connection.request(method, path, body=body, headers=headers or {})
            answer = connection.getresponse()
            text = answer.read()
            if "json" in answer.headers.get("Content-Type", "") and text:
                return answer.status, json.loads(text)
            return answer.status, text
        finally:
            connection.close()
