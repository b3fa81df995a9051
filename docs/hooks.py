"""mkdocs: what grows with the repository is not listed twice.

Cards of weights, CONTRIBUTING and the like become pages of the site; cards and research notes enter the navigation; and
`<!-- data sets -->` in a page becomes what the readers of `drmetric.data.sets` say of their sets.
"""

import ast
import re
import shutil
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parent.parent
CARDS = {f"cards/{card.parent.name}.md": card for card in sorted((ROOT / "weights").glob("*/card.md"))}
PAGES = CARDS | {f"{name.lower()}.md": ROOT / f"{name}.md" for name in ("CONTRIBUTING", "CHANGELOG", "SECURITY")}
PAGE = ROOT / "runs" / "page"
"""Where `drmetric app --build --folder runs/page` makes the page that the site holds."""
FIELD = r"^(Paper|Layout|Score|Score and spread|Split|Terms): "
"""What begins a paragraph of a data set's docstring."""


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


def on_post_build(config: MkDocsConfig) -> None:
    """Put the page that scores in the browser beside the documentation, where it was built."""
    if PAGE.is_dir():
        shutil.copytree(PAGE, Path(config.site_dir) / "page", dirs_exist_ok=True)


def on_page_markdown(markdown: str, page, config: MkDocsConfig, files: Files) -> str:
    """Let links that hold in the repository hold on the site; fill in the data sets."""
    up = "../" * page.file.src_uri.count("/")
    markdown = re.sub(r"\]\((?:\.\./)*weights/([\w.-]+)/card\.md", rf"]({up}cards/\1.md", markdown)
    markdown = re.sub(r"\]\((?:\.\./)+drmetric/data/sets/(\w+)\.py\)", rf"]({up}data.md#\1)", markdown)
    markdown = re.sub(r"\]\((?:\.\./)+([A-Z]+)\.md", lambda found: f"]({up}{found[1].lower()}.md", markdown)
    if page.file.src_uri in PAGES:
        linked = re.sub(r"(?<![\w(/`])docs/([\w/-]+)\.md", rf"[docs/\1.md]({up}\1.md)", markdown)
        return re.sub(r"\]\((?:\.\./)*docs/", f"]({up}", linked)
    markdown = markdown.replace("<!-- page -->", '<a href="../page/">Open the page</a>' if PAGE.is_dir() else "")
    return markdown.replace("<!-- data sets -->", data_sets()) if "<!-- data sets -->" in markdown else markdown


def data_sets() -> str:
    """A section for each module of `drmetric.data.sets`: its docstring, with "Layout: ..." and the like as a list."""
    sections = []
    for module in sorted((ROOT / "drmetric" / "data" / "sets").glob("[!_]*.py")):
        title, _, text = ast.get_docstring(ast.parse(module.read_text(encoding="utf-8"))).partition("\n\n")
        text = re.sub(FIELD, r"* **\1:** ", text.replace("``", "`"), flags=re.M)
        sections.append(f"### {module.stem}\n\n{title}\n\n{text}")
    return "\n\n".join(sections)
