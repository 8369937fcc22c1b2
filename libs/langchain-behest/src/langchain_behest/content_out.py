"""Content blocks of LangChain, of Anthropic and of OpenAI, as the content parts of an OpenAI chat request."""

from __future__ import annotations

import mimetypes
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

__all__ = ["content_parts", "wire_content"]

Block = Mapping[str, Any]

# What a reply of a model holds beside its answer: calls and reasoning go out in fields of their own, or not at all.
_NOT_CONTENT: Final = frozenset(
    {
        "tool_use",
        "tool_call",
        "tool_call_chunk",
        "invalid_tool_call",
        "server_tool_call",
        "server_tool_call_chunk",
        "server_tool_result",
        "function_call",
        "thinking",
        "redacted_thinking",
        "reasoning",
        "reasoning_content",
        "refusal",
    }
)

# The wire names a format, LangChain a MIME type; where they differ.
_AUDIO_FORMATS: Final[Mapping[str, str]] = {
    "mpeg": "mp3",
    "x-wav": "wav",
    "wave": "wav",
    "vnd.wave": "wav",
    "x-m4a": "m4a",
}

# What may stand beside the text of a text part: LiteLLM passes these on to the provider.
_TEXT_EXTRAS: Final = ("cache_control", "prompt_cache_breakpoint")


def wire_content(content: str | Iterable[str | Block]) -> str | list[dict[str, Any]]:
    """Return a message's content as the wire takes it: text as it is, a list as content parts."""
    return content if isinstance(content, str) else content_parts(content)


def content_parts(blocks: Iterable[str | Block]) -> list[dict[str, Any]]:
    """Return content blocks as OpenAI content parts; calls and reasoning are left out.

    Args:
        blocks: Blocks of LangChain 1 (`image` with `url` or `base64`, `file`, `audio` …) and 0.3 (`source_type`), of
            Anthropic (`source`), or OpenAI parts, which go out as they are.

    Raises:
        ValueError: A block has none of the keys that its type needs.
    """
    return [_part(block) for block in blocks if isinstance(block, str) or block.get("type") not in _NOT_CONTENT]


def _part(block: str | Block) -> dict[str, Any]:
    if isinstance(block, str):
        return {"type": "text", "text": block}
    if "type" not in block and isinstance(block.get("text"), str):
        return {"type": "text", "text": block["text"]}
    build = _BUILDERS.get(block.get("type", ""))
    return build(block) if build is not None else dict(block)


def _text(block: Block) -> dict[str, Any]:
    extras = block.get("extras") or {}
    found = {name: block.get(name, extras.get(name)) for name in _TEXT_EXTRAS}
    return {
        "type": "text",
        "text": block.get("text") or "",
        **{name: value for name, value in found.items() if value is not None},
    }


def _text_plain(block: Block) -> dict[str, Any]:
    return _text(block) if "text" in block else _file({"mime_type": "text/plain", **block})


def _image_url(block: Block) -> dict[str, Any]:
    image = block.get("image_url")
    return {"type": "image_url", "image_url": {"url": image} if isinstance(image, str) else image}


def _image(block: Block) -> dict[str, Any]:
    image: dict[str, Any] = {"url": _address(block)}
    detail = block.get("detail") or (block.get("extras") or {}).get("detail")
    return {"type": "image_url", "image_url": {**image, "detail": detail} if detail else image}


def _audio(block: Block) -> dict[str, Any]:
    data, mime_type = _data(block)
    if data is None:
        msg = "An audio block needs its data: give base64= and mime_type=."
        raise ValueError(msg)
    name = (mime_type or "audio/wav").split("/")[-1]
    return {"type": "input_audio", "input_audio": {"data": data, "format": _AUDIO_FORMATS.get(name, name)}}


def _video(block: Block) -> dict[str, Any]:
    return {"type": "video_url", "video_url": {"url": _address(block)}}


def _file(block: Block) -> dict[str, Any]:
    if isinstance(block.get("file"), Mapping):  # the wire's own form
        return dict(block)
    if (text := _source_text(block)) is not None:
        return {"type": "text", "text": text}
    data, mime_type = _data(block)
    if data is not None:
        mime_type = mime_type or "application/pdf"
        file = {"filename": _filename(block, mime_type), "file_data": f"data:{mime_type};base64,{data}"}
        return {"type": "file", "file": file}
    # OpenAI has no file by address; LiteLLM takes one as file_id and hands it to the providers that read it.
    return {"type": "file", "file": {"file_id": _file_id(block) or _address(block)}}


def _file_id(block: Block) -> str | None:
    by_id = block.get("id") if block.get("source_type") == "id" else None
    found: str | None = block.get("file_id") or by_id or _source(block).get("file_id")
    return found


def _filename(block: Block, mime_type: str) -> str:
    places = (block, block.get("extras") or {}, block.get("metadata") or {})
    named = next((place[key] for place in places for key in ("filename", "name", "title") if place.get(key)), None)
    # OpenAI refuses a file without a name.
    return str(named or f"file{mimetypes.guess_extension(mime_type) or ''}")


def _non_standard(block: Block) -> dict[str, Any]:
    value = block.get("value")
    return _part(value) if isinstance(value, Mapping) else {"type": "text", "text": str(value)}


def _source(block: Block) -> Mapping[str, Any]:
    """Return an Anthropic block's source."""
    source = block.get("source")
    return source if isinstance(source, Mapping) else {}


def _source_text(block: Block) -> str | None:
    """Return the text that an Anthropic document is, or consists of."""
    source = _source(block)
    match source.get("type"):
        case "text":
            return str(source.get("data") or "")
        case "content":
            content = wire_content(source.get("content") or "")
            return content if isinstance(content, str) else "".join(part.get("text") or "" for part in content)
        case _:
            return None


def _data(block: Block) -> tuple[str | None, str | None]:
    """Return a block's base64 data and MIME type."""
    source = _source(block)
    data = block.get("base64") or source.get("data") or (block.get("data") if "source_type" in block else None)
    return data, block.get("mime_type") or source.get("media_type")


def _address(block: Block) -> str:
    data, mime_type = _data(block)
    if data is not None:
        if not mime_type:
            msg = f"A block of type {block.get('type')!r} with base64 data needs mime_type=."
            raise ValueError(msg)
        return f"data:{mime_type};base64,{data}"
    url = block.get("url") or _source(block).get("url") or block.get("file_id")
    if not isinstance(url, str):
        msg = f"A block of type {block.get('type')!r} needs one of url=, base64= or file_id=."
        raise ValueError(msg)  # noqa: TRY004 - a key is missing, whatever stands in its place
    return url


_BUILDERS: Final[Mapping[str, Callable[[Block], dict[str, Any]]]] = {
    "text": _text,
    "text-plain": _text_plain,
    "image": _image,
    "image_url": _image_url,
    "audio": _audio,
    "video": _video,
    "file": _file,
    "document": _file,
    "non_standard": _non_standard,
}
