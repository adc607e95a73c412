"""Uploads through links that an LFS server hands out: to another host, signed, and valid for some minutes.

https://github.com/git-lfs/git-lfs/blob/main/docs/api/basic-transfers.md
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Protocol

import requests
from structlog.typing import FilteringBoundLogger

from github_s3_backup.github.lfs import HEADERS, LfsAnswer
from github_s3_backup.github.transport.http import Link, opened, read_whole
from github_s3_backup.github.transport.links import ATTEMPTS, refusal, unreachable
from github_s3_backup.runtime.retry import retrying
from github_s3_backup.runtime.stop import Stop

# Seconds to connect, and until the server answers after the last byte: it may compare a large file first.
TIMEOUT = (10, 300)


class Body(Protocol):
    """What is uploaded: its bytes, from the first on each time, and how many there are."""

    def __len__(self) -> int: ...
    def __iter__(self) -> Iterator[bytes]: ...


@dataclass(frozen=True)
class LfsUploader:
    """Puts LFS objects to where an LFS server says."""

    session: requests.Session
    stop: Stop
    log: FilteringBoundLogger

    def upload(self, oid: str, size: int, body: Body, new_answer: Callable[[], LfsAnswer]) -> None:
        """Upload one object, unless the server has it.

        `new_answer` is called before each attempt: a link expires. Raises LinkError, and what `body` and `new_answer`
        raise.
        """
        for attempt in retrying(ATTEMPTS, self.stop, self.log):
            with attempt:
                self._upload_once(oid, size, body, new_answer())

    def _upload_once(self, oid: str, size: int, body: Body, answer: LfsAnswer) -> None:
        if answer.code:
            raise answer.refusal()
        if "upload" not in answer.links:
            return  # it has the object already
        self._put(answer.links["upload"], body)
        if "verify" in answer.links:
            self._send("POST", answer.links["verify"], HEADERS, json={"oid": oid, "size": size})

    def _put(self, link: Link, body: Body) -> None:
        headers = {name.lower(): value for name, value in link.headers.items()}
        chunked = headers.pop("transfer-encoding", "").lower() == "chunked"
        headers = {"content-type": "application/octet-stream", **headers}
        # `requests` sends something without a length in chunks, which storage takes only if it asked for them.
        data = iter(body) if chunked else (body if len(body) else b"")
        self._send("PUT", Link(link.url, headers), {}, data=data)

    def _send(self, method: str, link: Link, headers: dict[str, str], **options: Any) -> None:
        link = replace(link, headers={**headers, **link.headers})
        try:
            with opened(self.session, method, link, timeout=TIMEOUT, **options) as answer:
                if answer.status_code >= 300:
                    raise refusal(answer)
                read_whole(answer)
        except (requests.RequestException, OSError) as error:
            raise unreachable(link, error) from None
