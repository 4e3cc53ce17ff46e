"""What MkDocs needs beyond mkdocs.yml: files outside of docs/ that pages link to, and a page for each language."""

from __future__ import annotations

from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parent.parent
# As pages name them, seen from docs/. In the site they are beside the pages.
OUTSIDE = (
    "CHANGELOG.md",
    "examples/run.py",
    "examples/with_langchain.py",
    "examples/with_llamaindex.py",
    "examples/with_openai.py",
    "examples/with_smolagents.py",
    "deploy/monitoring/grafana/sandbox-platform.json",
    "deploy/monitoring/prometheus.yml",
    "deploy/monitoring/sandbox-platform.rules.yml",
)


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Put the pages of the languages, which follow from images/, and the changelog into the menu."""
    docs = Path(config.docs_dir)
    languages = [f"runtimes/{path.name}" for path in sorted(docs.glob("runtimes/*.md"))]
    for section in config.nav or []:
        if pages := section.get("Reference"):
            pages.append({"Each language": languages})
            pages.append({"Changes": "CHANGELOG.md"})
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    for name in OUTSIDE:
        files.append(File.generated(config, name, content=(ROOT / name).read_text(encoding="utf-8")))
    return files


def on_page_markdown(markdown: str, **_: object) -> str:
    for name in OUTSIDE:
        markdown = markdown.replace(f"](../{name})", f"]({name})")
    return markdown
