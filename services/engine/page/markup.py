"""HTML from elements: every text is escaped on its way in, so that nobody can forget it."""

from __future__ import annotations

from html import escape

_VOID = frozenset({"link", "meta"})


class Markup(str):
    """HTML that is complete as it is; made by this module alone."""

    __slots__ = ()


def element(name: str, /, *children: Markup | str | None, **attributes: str) -> Markup:
    """Return an element; plain text is escaped, None is left out.

    A trailing underscore of an attribute's name is dropped and others become dashes, for `class_`
    and `http_equiv`.
    """
    written = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(value)}"'
        for key, value in attributes.items()
    )
    if name in _VOID:
        return Markup(f"<{name}{written}>")
    inner = "".join(_text(child) for child in children if child is not None)
    return Markup(f"<{name}{written}>{inner}</{name}>")


def group(*children: Markup | str | None) -> Markup:
    """Return elements and texts side by side, without one around them."""
    return Markup("".join(_text(child) for child in children if child is not None))


def style_element(text: str) -> Markup:
    """Return a style sheet of our own: its text is not HTML and is not escaped."""
    return Markup(f"<style>{text}</style>")


def document(language: str, head: Markup, body: Markup) -> str:
    """Return the whole page."""
    return f"<!doctype html>\n{element('html', head, body, lang=language)}\n"


def _text(child: Markup | str) -> str:
    return child if isinstance(child, Markup) else escape(child)
