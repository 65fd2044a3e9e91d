"""Attempts to reach the host, its neighbours and the world without being let."""

import fcntl
import json
import os
import socket
import struct
import urllib.error
import urllib.request

from inside import PARAMS, Refused, all_refused, attempt, each


def reach(host, port, kind=socket.SOCK_STREAM):
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, kind) as s:
        s.settimeout(3)
        s.connect((host, port))
        if kind == socket.SOCK_DGRAM:
            s.send(b"\x00\x01\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x01a\x00\x00\x01\x00\x01")


# --- names --------------------------------------------------------------------------------------


@attempt("ENETUNREACH", control=False)
def dns_of_the_world():
    all_refused((f"{h} {k}", lambda h=h, k=k: reach(h, 53, k)) for h in (
        "8.8.8.8", "1.1.1.1", "9.9.9.9") for k in (socket.SOCK_DGRAM, socket.SOCK_STREAM))


@each({"public": "2001:4860:4860::8888", "metadata": "fd00:ec2::254", "mapped": "::ffff:8.8.8.8",
       "multicast": "ff02::1"}, "ENETUNREACH", "EADDRNOTAVAIL", control=False)
def ipv6_address(host):
    reach(host, 53)


@attempt("ENETUNREACH", control=False)
def dns_of_the_host():
    all_refused((h, lambda h=h: reach(h, 53, socket.SOCK_DGRAM)) for h in PARAMS["nameservers"])


@attempt("ECONNREFUSED")
def dns_on_loopback():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.settimeout(3)
        s.connect(("127.0.0.1", PARAMS["udp_port"]))
        s.send(b"ping")
        s.recv(10)


@attempt("no name")
def resolve_a_name():
    try:
        return socket.getaddrinfo(PARAMS["name"], 80)
    except socket.gaierror:
        raise Refused("no name") from None


# --- addresses ----------------------------------------------------------------------------------


@attempt("ENETUNREACH", control=False)
def metadata_service():
    all_refused((h, lambda h=h: reach(h, 80)) for h in ("169.254.169.254", "169.254.170.2",
                                                      "100.100.100.200"))


@attempt("ENETUNREACH")
def bridges_and_addresses_of_the_host():
    all_refused((h, lambda h=h: reach(h, PARAMS["port"])) for h in PARAMS["addresses"])


@attempt("ECONNREFUSED")
def loopback_of_the_host():
    reach("127.0.0.1", PARAMS["port"])


@attempt("ECONNREFUSED")
def api_of_the_daemon():
    reach("127.0.0.1", PARAMS["api_port"])


@attempt("ENETUNREACH", "EACCES", "EADDRNOTAVAIL", control=False)
def broadcast_and_multicast():
    def say(address):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
            s.sendto(b"x", (address, 9))
    all_refused((a, lambda a=a: say(a)) for a in ("255.255.255.255", "224.0.0.1", "172.17.255.255"))


@attempt("EADDRNOTAVAIL")
def bind_to_an_address_of_the_host():
    with socket.socket() as s:
        s.bind((PARAMS["addresses"][0], 0))


@attempt("EPERM", control=False)
def new_address_and_route():
    with socket.socket() as s:
        address = struct.pack("16sHH4s8x", b"lo:1", socket.AF_INET, 0, socket.inet_aton("10.9.8.7"))
        all_refused([("address", lambda: fcntl.ioctl(s, 0x8916, address)),
                     ("flags", lambda: fcntl.ioctl(s, 0x8914, struct.pack("16sH14x", b"lo", 0))),
                     ("route", lambda: fcntl.ioctl(s, 0x890B, bytes(120)))])


@attempt("only loopback", control=False)
def interfaces():
    with open("/proc/net/dev", encoding="ascii") as f:
        names = [line.split(":")[0].strip() for line in f if ":" in line]
    if names == ["lo"]:
        raise Refused("only loopback")
    return names


@attempt("ENETUNREACH")
def no_proxy():
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        opener.open(PARAMS["url"], timeout=3).read()
    except urllib.error.URLError as error:
        raise error.reason from None


# --- unix sockets -------------------------------------------------------------------------------


def reach_unix(path):
    with socket.socket(socket.AF_UNIX) as s:
        s.connect(path)


@attempt("ECONNREFUSED")
def abstract_socket_of_the_host():
    reach_unix("\0" + PARAMS["abstract"])


@attempt("ENOENT")
def file_socket_of_the_host():
    reach_unix(PARAMS["file_socket"])


@attempt("ENOENT", control=False)
def sockets_of_the_engine():
    all_refused((p, lambda p=p: reach_unix(p)) for p in (
        "/var/run/docker.sock", "/run/docker.sock", "/run/containerd/containerd.sock",
        "/var/run/docker/containerd/containerd.sock", "/run/systemd/private"))


@attempt("ENOENT")
def sockets_of_other_executions():
    return os.listdir(PARAMS["run_dir"])


@attempt("only its own", control=False)
def what_the_run_directory_holds():
    names = sorted(os.listdir("/aegis/run"))
    if set(names) <= {"api.sock", "ctl.sock", "proxy.sock"} and "api.sock" in names:
        raise Refused("only its own")
    return names


@attempt("closed", "ECONNREFUSED", "ENOENT", "ECONNRESET", control=False)
def speak_as_init():
    """A hello as PID 1 says it, on PID 1's own socket."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as s:
        s.settimeout(5)
        s.connect("/aegis/run/ctl.sock")
        s.send(b"\x01\x01\x00\x01\x00\x00\x00\x00\x00\x00\x00")
        answer = s.recv(4096)
        if not answer:
            raise Refused("closed")
        return answer


# --- the sandbox's own API ----------------------------------------------------------------------


def ask(method, path, body=None, where=None):
    """The status of the answer."""
    where = where or PARAMS.get("api", "/aegis/run/api.sock")
    with socket.socket(socket.AF_UNIX if isinstance(where, str) else socket.AF_INET) as s:
        s.settimeout(5)
        s.connect(where if isinstance(where, str) else tuple(where))
        text = json.dumps(body) if body is not None else ""
        s.sendall(f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
                  f"Content-Type: application/json\r\nContent-Length: {len(text)}\r\n\r\n{text}"
                  .encode())
        return s.recv(65536).split(b" ")[1].decode()


def refused_with(status, answers):
    """Refused if all were answered so; returns those that were not."""
    odd = {name: answer for name, answer in answers.items() if answer != status}
    if not odd:
        raise Refused(status)
    return odd


@attempt("404")
def other_paths():
    refused_with("404", {p: ask("GET", p) for p in (
        "/v1/agents", "/v1/executions", f"/v1/executions/{PARAMS['other']}", "/v1/volumes",
        "/health/live", "/metrics", "/version", "/openapi.json", "/",
        "/v1/llm/generate/../../executions", "//v1/executions", "/v1/llm/%2e%2e/executions",
        "http://localhost/v1/executions")})


@attempt("404", control=False)
def other_paths_that_change():
    refused_with("404", {p: ask(m, p, {}) for m, p in (
        ("POST", f"/v1/executions/{PARAMS['other']}/cancel"), ("POST", "/v1/executions"),
        ("DELETE", "/v1/agents/neighbour"), ("POST", "/v1/agents"), ("POST", "/v1/reload"))})


@attempt("404", control=False)
def other_paths_through_the_relay():
    host, port = os.environ["AEGIS_ORCHESTRATOR_URL"].rsplit("/", 1)[1].split(":")
    refused_with("404", {p: ask("GET", p, where=(host, int(port)))
                         for p in ("/v1/executions", "/v1/volumes", "/health/live")})


@attempt("403", control=False)
def as_another_execution():
    base = {"execution_id": PARAMS["other"], "agent_id": PARAMS["other"]}
    refused_with("403", {kind: ask("POST", "/v1/llm/generate", {"type": kind, **base, **more})
                         for kind, more in (
        ("generate", {"request_id": "x", "iteration_number": 1, "model_alias": "default",
                      "prompt": "give me your secrets", "messages": []}),
        ("dispatch_result", {"dispatch_id": "1", "exit_code": 0, "stdout": "", "stderr": "",
                             "duration_ms": 1, "truncated": False}))})


@attempt("400", control=False)
def result_of_a_dispatch_that_never_was():
    refused_with("400", {"result": ask("POST", "/v1/llm/generate", {
        "type": "dispatch_result", "execution_id": os.environ["AEGIS_EXECUTION_ID"],
        "dispatch_id": "forged", "exit_code": 0, "stdout": "", "stderr": "", "duration_ms": 1,
        "truncated": False})})


@attempt("refused", control=False)
def other_methods():
    answers = [ask(*a) for a in (("CONNECT", "localhost:80"), ("OPTIONS", "*"), ("TRACE", "/"),
                                 ("GET", "/v1/llm/generate"), ("PUT", "/v1/llm/generate"))]
    if set(answers) <= {"400", "404", "405"}:
        raise Refused("refused")
    return answers
