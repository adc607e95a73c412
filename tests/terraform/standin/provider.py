"""The stand-in itself: a Terraform provider that knows hashicorp/aws's schema and answers like it, without AWS.

Terraform starts it from a filesystem mirror; with `--serve` it runs on its own and prints what TF_REATTACH_PROVIDERS
needs.
"""

from __future__ import annotations

import argparse
import base64
import datetime
import json
import os
import sys
import threading
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any

import grpc
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from tf.gen import grpc_controller_pb2, grpc_controller_pb2_grpc, grpc_stdio_pb2_grpc
from tf.gen import tfplugin_pb2 as pb
from tf.gen import tfplugin_pb2_grpc as rpc

from . import aws, data, rules
from .checks import Problem, Step
from .computed import Settings, imported, plan, replaced, resolve
from .forms import DEFAULTS
from .schema import SOURCE
from .wire import Json, decode, encode, schema

COOKIE = ("TF_PLUGIN_MAGIC_COOKIE", "d602bf8f470bc67ca7faa0386276bbdd4330efaf76d1a219cb4d6991ca9872b2")
PROTOCOL = 6
DEFAULT_REGION = "us-east-1"


@dataclass(frozen=True)
class Catalogue:
    """The reduced schema that is served."""

    file: Path

    @cached_property
    def document(self) -> Json:
        """The provider's part of the file."""
        content: Json = json.loads(self.file.read_text())["provider_schemas"][SOURCE]
        return content

    def resource(self, kind: str) -> Json:
        """The block of a resource type."""
        block: Json = self.document["resource_schemas"][kind]["block"]
        return block

    def data_source(self, kind: str) -> Json:
        """The block of a data source type."""
        block: Json = self.document["data_source_schemas"][kind]["block"]
        return block

    @cached_property
    def message(self) -> pb.GetProviderSchema.Response:
        """Everything, as the protocol has it."""
        parts = self.document
        return pb.GetProviderSchema.Response(
            provider=schema(parts["provider"]),
            resource_schemas={kind: schema(found) for kind, found in parts["resource_schemas"].items()},
            data_source_schemas={kind: schema(found) for kind, found in parts["data_source_schemas"].items()},
        )


def environment_settings() -> Settings:
    """What holds where a provider block says nothing."""
    region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or DEFAULT_REGION
    return Settings(region=region)


def configured(config: Json) -> Settings:
    """The settings that a provider block makes."""
    usual = environment_settings()
    tags: Json = {}
    for block in config.get("default_tags") or []:
        tags.update(block.get("tags") or {})
    region = config.get("region")
    return Settings(region if isinstance(region, str) else usual.region, account_of(config) or usual.account, tags)


def account_of(config: Json) -> str | None:
    """The account of the role that a provider block assumes, None where it assumes none."""
    roles = [str(block.get("role_arn")) for block in config.get("assume_role") or []]
    return roles[-1].split(":")[4] if roles and roles[-1].count(":") >= 5 else None


def diagnostics(found: Iterable[Problem], block: Json) -> list[pb.Diagnostic]:
    """What is wrong, as the errors that Terraform shows."""
    return [
        pb.Diagnostic(
            severity=pb.Diagnostic.ERROR,
            summary=problem.message,
            attribute=pb.AttributePath(steps=list(steps(problem.path, block))),
        )
        for problem in found
    ]


def refusals(kind: str, block: Json, config: Json) -> list[pb.Diagnostic]:
    """What the provider says of a configuration."""
    return diagnostics(chain(rules.unconfigurable(block, config), rules.problems(kind, config)), block)


def without_id(block: Json) -> Json:
    """A resource's block with its id as computed only: the schema calls it optional, the provider doesn't take it."""
    attributes = block["attributes"]
    return {**block, "attributes": {**attributes, "id": {"type": "string", "computed": True}}}


def steps(path: tuple[Step, ...], block: Json) -> Iterator[pb.AttributePath.Step]:
    """A path for Terraform, which cannot point into sets: it ends there."""
    for step in path:
        if isinstance(step, int):
            yield pb.AttributePath.Step(element_key_int=step)
            continue
        yield pb.AttributePath.Step(attribute_name=step)
        nested = block.get("block_types", {}).get(step)
        if nested is None or nested["nesting_mode"] != "list":
            return
        block = nested["block"]


@dataclass(frozen=True)
class Provider(rpc.ProviderServicer):  # type: ignore[misc]
    """The calls of plugin protocol 6.

    One process may serve several Terraform runs, and several provider blocks of one run: each has a connection of its
    own, and what it configured is kept under that.
    """

    catalogue: Catalogue
    configurations: dict[str, Settings] = field(default_factory=dict)

    def settings(self, context: grpc.ServicerContext) -> Settings:
        """What the caller configured."""
        return self.configurations.get(context.peer()) or environment_settings()

    def GetMetadata(self, request: Any, context: Any) -> Any:  # noqa: ARG002, N802
        """The types, by name."""
        document = self.catalogue.document
        return pb.GetMetadata.Response(
            server_capabilities=pb.ServerCapabilities(get_provider_schema_optional=True),
            data_sources=[
                pb.GetMetadata.DataSourceMetadata(type_name=kind) for kind in document["data_source_schemas"]
            ],
            resources=[pb.GetMetadata.ResourceMetadata(type_name=kind) for kind in document["resource_schemas"]],
        )

    def GetProviderSchema(self, request: Any, context: Any) -> Any:  # noqa: ARG002, N802
        """The types, with everything in them."""
        return self.catalogue.message

    def ValidateProviderConfig(self, request: Any, context: Any) -> Any:  # noqa: ARG002, N802
        """Every provider block that fits the schema is good."""
        return pb.ValidateProviderConfig.Response()

    def ConfigureProvider(self, request: Any, context: Any) -> Any:  # noqa: N802
        """Take a provider block's region and default tags."""
        self.configurations[context.peer()] = configured(decode(request.config) or {})
        return pb.ConfigureProvider.Response()

    def ValidateResourceConfig(self, request: Any, context: Any) -> Any:  # noqa: ARG002, N802
        """Refuse what the real provider and AWS refuse."""
        block = self.catalogue.resource(request.type_name)
        errors = refusals(request.type_name, without_id(block), decode(request.config))
        return pb.ValidateResourceConfig.Response(diagnostics=errors)

    def ValidateDataResourceConfig(self, request: Any, context: Any) -> Any:  # noqa: ARG002, N802
        """The same for a data source."""
        block = self.catalogue.data_source(request.type_name)
        errors = refusals(f"data.{request.type_name}", block, decode(request.config))
        return pb.ValidateDataResourceConfig.Response(diagnostics=errors)

    def UpgradeResourceState(self, request: Any, context: Any) -> Any:  # noqa: ARG002, N802
        """Read a stored state; attributes that this version lacks are dropped, as going back a version would."""
        block = self.catalogue.resource(request.type_name)
        stored = json.loads(request.raw_state.json)
        names = [*block["attributes"], *block.get("block_types", {})]
        return pb.UpgradeResourceState.Response(upgraded_state=encode({name: stored.get(name) for name in names}))

    def ReadResource(self, request: Any, context: Any) -> Any:  # noqa: ARG002, N802
        """Nothing changes behind Terraform's back here."""
        return pb.ReadResource.Response(new_state=request.current_state, private=request.private)

    def PlanResourceChange(self, request: Any, context: Any) -> Any:  # noqa: N802
        """Plan; a change of what can't be changed asks for a new resource."""
        proposed, prior = decode(request.proposed_new_state), decode(request.prior_state)
        if proposed is None:
            return pb.PlanResourceChange.Response(planned_state=request.proposed_new_state)
        kind = request.type_name
        block = self.catalogue.resource(kind)
        planned = plan(kind, block, prior, proposed, self.settings(context))
        return pb.PlanResourceChange.Response(
            diagnostics=diagnostics(aws.problems(kind, decode(request.config)), block),
            planned_state=encode(planned),
            requires_replace=[
                pb.AttributePath(steps=[pb.AttributePath.Step(attribute_name=name)])
                for name in replaced(kind, prior, planned)
            ],
            legacy_type_system=kind in DEFAULTS,
        )

    def ApplyResourceChange(self, request: Any, context: Any) -> Any:  # noqa: N802
        """Decide what was unknown; deleting needs nothing."""
        planned = decode(request.planned_state)
        if planned is None:
            return pb.ApplyResourceChange.Response(new_state=request.planned_state)
        kind = request.type_name
        state = resolve(kind, self.catalogue.resource(kind), planned, self.settings(context))
        return pb.ApplyResourceChange.Response(new_state=encode(state), legacy_type_system=kind in DEFAULTS)

    def ImportResourceState(self, request: Any, context: Any) -> Any:  # noqa: N802
        """What can be told from an id; the rest of an imported resource is unset."""
        kind = request.type_name
        state = imported(kind, self.catalogue.resource(kind), request.id, self.settings(context))
        resource = pb.ImportResourceState.ImportedResource(type_name=kind, state=encode(state))
        return pb.ImportResourceState.Response(imported_resources=[resource])

    def ReadDataSource(self, request: Any, context: Any) -> Any:  # noqa: N802
        """Answer, or say why not."""
        kind = request.type_name
        try:
            state = data.read(kind, self.catalogue.data_source(kind), decode(request.config), self.settings(context))
        except ValueError as error:
            refusal = pb.Diagnostic(severity=pb.Diagnostic.ERROR, summary=str(error))
            return pb.ReadDataSource.Response(diagnostics=[refusal])
        return pb.ReadDataSource.Response(state=encode(state))

    def GetFunctions(self, request: Any, context: Any) -> Any:  # noqa: ARG002, N802
        """None of the provider's functions are here."""
        return pb.GetFunctions.Response()

    def StopProvider(self, request: Any, context: Any) -> Any:  # noqa: ARG002, N802
        """Nothing takes long enough to be stopped."""
        return pb.StopProvider.Response()


@dataclass(frozen=True)
class Controller(grpc_controller_pb2_grpc.GRPCControllerServicer):  # type: ignore[misc]
    """Lets Terraform end the process that it started."""

    ended: threading.Event

    def Shutdown(self, request: Any, context: Any) -> Any:  # noqa: ARG002, N802
        """End, once this answer is out."""
        self.ended.set()
        return grpc_controller_pb2.Empty()


class Stdio(grpc_stdio_pb2_grpc.GRPCStdioServicer):  # type: ignore[misc]
    """Terraform asks for what a provider prints; this one prints nothing."""

    def StreamStdio(self, request: Any, context: Any) -> Any:  # noqa: ARG002, N802
        """An empty stream."""
        return iter(())


def server(catalogue: Catalogue, ended: threading.Event) -> grpc.Server:
    """The gRPC server with all that Terraform calls."""
    made = grpc.server(
        ThreadPoolExecutor(16),
        options=[("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)],
    )
    rpc.add_ProviderServicer_to_server(Provider(catalogue), made)
    grpc_controller_pb2_grpc.add_GRPCControllerServicer_to_server(Controller(ended), made)
    grpc_stdio_pb2_grpc.add_GRPCStdioServicer_to_server(Stdio(), made)
    return made


def certificate() -> tuple[grpc.ServerCredentials, str]:
    """A key pair for one run, and the certificate as Terraform's handshake wants it: base64 without padding."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(minutes=5))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    credentials = grpc.ssl_server_credentials([(private, made.public_bytes(serialization.Encoding.PEM))])
    return credentials, base64.b64encode(made.public_bytes(serialization.Encoding.DER)).decode().rstrip("=")


def reattach(catalogue: Catalogue) -> None:
    """Serve until killed; Terraform's wish to shut down is not for a provider that it did not start."""
    serving = server(catalogue, threading.Event())
    port = serving.add_insecure_port("127.0.0.1:0")
    serving.start()
    address = {"Network": "tcp", "String": f"127.0.0.1:{port}"}
    attachment = {
        "Protocol": "grpc", "ProtocolVersion": PROTOCOL, "Pid": os.getpid(), "Test": True, "Addr": address,
    }  # fmt: skip
    print(json.dumps({SOURCE: attachment}), flush=True)
    serving.wait_for_termination()


def plugin(catalogue: Catalogue) -> None:
    """Serve the Terraform that started this process, until it says that it is done."""
    if os.environ.get(COOKIE[0]) != COOKIE[1]:
        sys.exit("This is a Terraform provider; terraform starts it.")
    ended = threading.Event()
    serving = server(catalogue, ended)
    credentials, encoded = certificate()
    port = serving.add_secure_port("127.0.0.1:0", credentials)
    serving.start()
    print(f"1|{PROTOCOL}|tcp|127.0.0.1:{port}|grpc|{encoded}", flush=True)
    ended.wait()
    serving.stop(grace=0.1).wait()


def main() -> None:
    """Start in the way that the command line says."""
    parser = argparse.ArgumentParser(description="A stand-in for the Terraform provider hashicorp/aws.")
    parser.add_argument("--schema", type=Path, required=True, help="the reduced schema to serve")
    parser.add_argument("--serve", action="store_true", help="run until killed and print TF_REATTACH_PROVIDERS")
    options = parser.parse_args()
    (reattach if options.serve else plugin)(Catalogue(options.schema))


if __name__ == "__main__":
    main()
