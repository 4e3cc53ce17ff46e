"""Reads the multipart forms in which LibreChat uploads files."""

from typing import Any

from django.http.multipartparser import MultiPartParser as DjangoParser
from django.http.multipartparser import MultiPartParserError
from rest_framework import parsers

from api.v1.base import refuse_oversize
from api.v1.problems import Malformed

# Django keeps the last part of a file's name. A character that it removes from names stands for the slash meanwhile.
_SLASH = "\x1f"


class _PathKeeping(DjangoParser):
    def sanitize_file_name(self, file_name: str) -> str | None:
        sanitized = super().sanitize_file_name
        return _SLASH.join(sanitized(part) or "" for part in file_name.split("/"))


class UploadParser(parsers.MultiPartParser):
    """Parses a form into the contents of its files by path. Other parts of it are of no use here."""

    def parse(self, stream: Any, media_type: str | None = None, parser_context: Any = None) -> Any:
        """Raises Malformed and TooLarge. Of two files with the same path, the last one is taken."""
        request = parser_context["request"]
        refuse_oversize(request)
        meta = request.META | {"CONTENT_TYPE": media_type}
        try:
            _, files = _PathKeeping(meta, stream, request.upload_handlers).parse()
        except MultiPartParserError as e:
            raise Malformed(f"The form cannot be read: {e}") from e
        return {file.name.replace(_SLASH, "/"): file.read() for _, each in files.lists() for file in each}
