"""Texts of issues as HTML: GitHub's flavour of Markdown, and nothing in it that acts or is fetched.

https://github.github.com/gfm/
"""

import re
from collections.abc import Sequence, Set
from typing import Any

import nh3
from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from markdown_it.rules_core import StateCore
from markdown_it.token import Token
from markdown_it.utils import EnvType, OptionsDict

# What people write in texts, besides what Markdown has. No pictures: a page loads nothing.
MORE_TAGS = {"details", "summary", "input"}
REFERENCE = re.compile(r"(?<![\w/&#])#([0-9]{1,9})\b")


class Texts:
    """Renders the texts of one repository. `numbers`: of the issues that have a page."""

    def __init__(self, numbers: Set[int]) -> None:
        self._numbers = numbers
        self._markdown = MarkdownIt("commonmark", {"breaks": True, "linkify": True})
        self._markdown.enable(["table", "strikethrough", "linkify"])
        self._markdown.core.ruler.push("references", self._add_references)
        self._markdown.add_render_rule("image", _as_link)

    def html(self, text: str) -> str:
        """Return a text as HTML that is safe in a page."""
        tags = (nh3.ALLOWED_TAGS - {"img"}) | MORE_TAGS
        return nh3.clean(self._markdown.render(text), tags=tags, link_rel="noopener noreferrer nofollow")

    def _add_references(self, state: StateCore) -> None:
        """Make links of `#7` where number 7 has a page."""
        for token in state.tokens:
            if token.type == "inline" and token.children:
                token.children = [new for child in token.children for new in self._with_links(child)]

    def _with_links(self, token: Token) -> list[Token]:
        if token.type != "text":
            return [token]
        parts, end = list[Token](), 0
        for match in REFERENCE.finditer(token.content):
            if int(match[1]) in self._numbers:
                parts += [_text(token.content[end : match.start()]), *_link(f"{match[1]}.html", match[0])]
                end = match.end()
        return [*parts, _text(token.content[end:])] if parts else [token]


def _text(content: str) -> Token:
    return Token("text", "", 0, content=content)


def _link(href: str, content: str) -> list[Token]:
    return [Token("link_open", "a", 1, attrs={"href": href}), _text(content), Token("link_close", "a", -1)]


def _as_link(renderer: RendererHTML, tokens: Sequence[Token], index: int, options: OptionsDict, env: EnvType) -> Any:
    """Render a picture as a link to it."""
    token = tokens[index]
    name = renderer.renderInlineAsText(token.children or [], options, env) or "picture"
    link = [*_link(str(token.attrs.get("src", "")), name)]
    return renderer.renderInline(link, options, env)
