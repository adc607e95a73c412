"""The embedded S3 starts however busy the machine's ports are."""

import socket
from pathlib import Path

import pytest

from embedded.ports import EndedError, free_ports
from embedded.s3 import start_once


def test_a_server_whose_port_was_taken_meanwhile_is_not_waited_for(tmp_path: Path) -> None:
    (tmp_path / "identities.json").write_text('{"identities": []}')
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        ports = [*free_ports(2), taken.getsockname()[1], *free_ports(7)]
        with pytest.raises(EndedError):
            start_once(tmp_path, ports)
