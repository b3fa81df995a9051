"""mkdocs: pages made from files outside docs/ (the weights' cards, CONTRIBUTING and the like), and the lists of pages
that grow with the repository (cards, research)."""

import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parent.parent
CARDS = {f"cards/{card.parent.name}.md": card for card in sorted((ROOT / "weights").glob("*/card.md"))}
PAGES = CARDS | {f"{name.lower()}.md": ROOT / f"{name}.md" for name in ("CONTRIBUTING", "CHANGELOG", "SECURITY")}


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """List cards and research pages in the navigation."""
    research = sorted((ROOT / "docs" / "research").glob("*.md"))
    sections = {name: pages for entry in config.nav for name, pages in entry.items()}
    sections["Reference"].append({"Cards of the weights": list(CARDS)})
    sections["Research"].extend(f"research/{page.name}" for page in research if page.name != "index.md")
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages."""
    for uri, source in PAGES.items():
        files.append(File.generated(config, uri, abs_src_path=str(source)))
    return files


def on_page_markdown(markdown: str, page, config: MkDocsConfig, files: Files) -> str:
    """Let links of a page from elsewhere, which hold in the repository, hold on the site."""
    if page.file.src_uri not in PAGES:
        return markdown
    return re.sub(r"\]\((?:\.\./)*docs/", "](" + "../" * page.file.src_uri.count("/"), markdown)
