"""SSM and Secrets Manager on loopback, in threads of the test process, with faults that the test chooses.

The server judges each request as AWS does: botocore computes the signature again, and its model validates the body.
"""

from __future__ import annotations

import contextlib
import http.server
import json
import ssl
import threading
import time
from typing import TYPE_CHECKING, Any

import botocore.session
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.validate import ParamValidator

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

REGION = "eu-central-1"
KEYS = {"AWS_ACCESS_KEY_ID": "key-id", "AWS_SECRET_ACCESS_KEY": "secret-key", "AWS_SESSION_TOKEN": "session-token"}
OPERATIONS = {"AmazonSSM.GetParameters": "ssm", "secretsmanager.GetSecretValue": "secretsmanager"}
ARN = f"arn:aws:{{}}:{REGION}:123456789012:{{}}"

Fault = tuple[int, bytes, "Mapping[str, str]"]


def fault(status: int, code: str, message: str = "", **headers: str) -> Fault:
    """Return an error response in AWS JSON 1.1."""
    return status, json.dumps({"__type": code, "message": message}).encode(), headers


class ParameterServer:
    """The stored values, the faults, and the requests so far."""

    def __init__(self) -> None:
        self.port = 0
        self.parameters: dict[str, list[str]] = {}
        """All versions of the value of each parameter, the first one first."""
        self.secrets: dict[str, Any] = {}
        """The members of the response for each secret."""
        self.faults: list[Fault | None] = []
        """Responses to the next requests; None stands for the usual one."""
        self.permanent_fault: Fault | None = None
        self.delay_seconds = 0.0
        self.requests: list[tuple[str, dict[str, Any]]] = []
        """Service and body of each request. The client may repeat one if this machine is slow."""
        self.mistakes: list[str] = []
        """Requests that AWS would reject."""
        self.is_judge = True
        """Whether requests are judged. The server cannot judge signatures with credentials that it does not have."""
        self.credentials: Mapping[str, str] = KEYS
        """The credentials of the requests."""
        self.stopping = threading.Event()

    @property
    def environ(self) -> dict[str, str]:
        """The variables of a function that uses this server."""
        url = f"http://127.0.0.1:{self.port}"
        endpoints = {"AWS_ENDPOINT_URL_SSM": url, "AWS_ENDPOINT_URL_SECRETS_MANAGER": url}
        return {"AWS_REGION": REGION, **self.credentials, **endpoints}

    def respond(self, service: str, document: Mapping[str, Any]) -> tuple[int, bytes, Mapping[str, str]]:
        """Return status, body and headers for a request."""
        self.stopping.wait(self.delay_seconds)
        chosen = self.faults.pop(0) if self.faults else self.permanent_fault
        if chosen:
            return chosen
        if service == "ssm":
            return 200, json.dumps(self._parameters(document["Names"])).encode(), {}
        secret = self.secrets.get(document["SecretId"])
        if secret is None:
            sentence = "Secrets Manager can't find the specified secret."
            return fault(400, "ResourceNotFoundException", sentence)
        return 200, json.dumps({"Name": document["SecretId"], "VersionId": "v", **secret}).encode(), {}

    def _parameters(self, names: list[str]) -> dict[str, Any]:
        found, missing = [], []
        for name in names:
            is_arn = name.startswith("arn:")
            bare, colon, version = (name, "", "") if is_arn else name.partition(":")
            versions = self.parameters.get(bare, [])
            number = int(version or len(versions))
            if 0 < number <= len(versions):
                selector = {"Selector": f":{version}"} if colon else {}
                arn = bare if is_arn else ARN.format("ssm", f"parameter{bare}")
                value = versions[number - 1]
                name_of_it = arn.rpartition(":parameter")[2]
                found.append({"Name": name_of_it, "Value": value, "ARN": arn, "Version": number, **selector})
            else:
                missing.append(name)
        return {"Parameters": found, "InvalidParameters": missing}

    def judge(self, service: str, path: str, headers: Mapping[str, str], body: bytes) -> None:
        """Note what AWS would reject in a request."""
        if not self.is_judge:
            return
        request = AWSRequest(method="POST", url=f"http://{headers['host']}{path}", data=body)
        _, _, signed = headers["authorization"].partition("SignedHeaders=")
        for name in signed.partition(",")[0].split(";"):
            request.headers[name] = headers[name]
        del request.headers["host"]
        request.context["timestamp"] = headers["x-amz-date"]
        keys = [self.credentials.get(name) for name in KEYS]
        region = headers["authorization"].partition("Credential=")[2].split("/")[2]
        auth = SigV4Auth(Credentials(*keys), service, region)
        signature = auth.signature(auth.string_to_sign(request, auth.canonical_request(request)), request)
        if not headers["authorization"].endswith(f"Signature={signature}"):
            self.mistakes.append("the signature differs from botocore's")
        action = headers["x-amz-target"].partition(".")[2]
        shape = botocore.session.get_session().get_service_model(service).operation_model(action).input_shape
        report = ParamValidator().validate(json.loads(body), shape)
        if report.has_errors():
            self.mistakes.append(report.generate_report())
        if headers["content-type"] != "application/x-amz-json-1.1":
            self.mistakes.append(f"the content type is {headers['content-type']}")

    @contextlib.contextmanager
    def served_over_tls(self, certificate: str, key: str) -> Iterator[int]:
        """Serve over TLS too; yield the port."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        with _serving(self, context) as port:
            yield port


@contextlib.contextmanager
def parameter_server() -> Iterator[ParameterServer]:
    """Serve on loopback until the end of the block; then assert that AWS would have accepted each request."""
    served = ParameterServer()
    with _serving(served) as served.port:
        yield served
        served.stopping.set()
    assert served.mistakes == []


@contextlib.contextmanager
def _serving(served: ParameterServer, context: ssl.SSLContext | None = None) -> Iterator[int]:
    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def setup(self) -> None:
            if context:
                self.request = context.wrap_socket(self.request, server_side=True, do_handshake_on_connect=False)
            try:
                super().setup()
                if context:
                    self.request.do_handshake()
            except OSError:
                self.request.close()
                raise

        def finish(self) -> None:
            with contextlib.suppress(OSError):
                super().finish()
            self.request.close()

        def do_POST(self) -> None:
            headers = {name.lower(): value for name, value in self.headers.items()}
            body = self.rfile.read(int(headers["content-length"]))
            service = OPERATIONS[headers["x-amz-target"]]
            served.judge(service, self.path, headers, body)
            served.requests.append((service, json.loads(body)))
            status, response, more = served.respond(service, json.loads(body))
            with contextlib.suppress(OSError):
                self.send_response_only(status)
                for name, value in {"Content-Length": str(len(response)), **more}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(response)

        def log_message(self, *_: object) -> None:
            """Print nothing."""

    class Server(http.server.ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_: object) -> None:
            """Print nothing: clients end handshakes and connections."""

    server = Server(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        thread.join(10)
        server.server_close()


def http_date(seconds_from_now: float) -> str:
    """Return a Date header."""
    return time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(time.time() + seconds_from_now))
