"""Pages of a listing, a few of them asked for ahead: with the first page, GitHub names the last one.

https://docs.github.com/en/rest/using-the-rest-api/using-pagination-in-the-rest-api
"""

import re
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from itertools import islice

import requests

from github_s3_backup.runtime.threads import in_background

AT_ONCE = 8
NUMBER = re.compile(r"(?<=[?&]page=)[0-9]{1,6}\b")


class Ahead:
    """Pages that are asked for before it is their turn. Where GitHub leads elsewhere, they are given up."""

    def __init__(self, get: Callable[[str], requests.Response]) -> None:
        self._get, self._begun = get, False
        self._urls: Iterator[str] = iter(())
        self._asked: dict[str, Future[requests.Response]] = {}

    def get(self, url: str) -> requests.Response:
        """Return a page. Raises what `get` raises."""
        asked = self._asked.pop(url, None)
        if asked is None:
            self._urls = iter(())
            return self._get(url)
        self._ask()
        return asked.result()

    def begin(self, answer: requests.Response) -> None:
        """Begin to ask for all that follows the first page. Called with each one."""
        if not self._begun:
            self._begun = True
            links = [answer.links.get(name, {}).get("url", "") for name in ("next", "last")]
            self._urls = between(*links)
            self._ask()

    def _ask(self) -> None:
        for url in islice(self._urls, AT_ONCE - len(self._asked)):
            self._asked[url] = in_background(lambda url=url: self._get(url))  # type: ignore[misc]


def between(first: str, last: str) -> Iterator[str]:
    """Return the URLs from one page to another, none where these differ by more than the page's number."""
    begin, end = NUMBER.search(first), NUMBER.search(last)
    if begin is None or end is None or NUMBER.sub("", first) != NUMBER.sub("", last):
        return iter(())
    return (NUMBER.sub(str(number), first) for number in range(int(begin[0]), int(end[0]) + 1))
