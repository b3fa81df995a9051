"""BID, the blurred image database: 586 photographs.

Paper: Ciancio et al., IEEE TIP 20, 2011.
Layout: ``DatabaseGrades.xlsx`` and the photographs ``DatabaseImage0001.JPG`` ... beside it or in ``ImageDatabase/``.
Score: the average subjective grade, 0..5, divided by 5; the same for the spread, if there is a column std.
Split: none official; contents are drawn 70/10/20 by a hash.
Terms: see its page.
"""

from pathlib import Path

from drmetric.data.label_files import SetFolder, number, read_xlsx
from drmetric.data.rated import Rated, RatedImage, RatedSet
from drmetric.data.splits import drawn_split


def read(root: Path) -> Rated:
    """The photographs, each its own content."""
    folder = SetFolder(root)
    path = folder.labels("DatabaseGrades.xlsx")
    for row in read_xlsx(path, ("Image Number", "Average Subjective Grade")):
        content = f"DatabaseImage{number(row, 'Image Number', path):04.0f}"
        rated = RatedImage(
            image=folder.image(f"{content}.JPG", f"ImageDatabase/{content}.JPG"),
            score=number(row, "Average Subjective Grade", path) / 5,
            content=content,
            spread=number(row, "std", path) / 5 if row.get("std") else None,
        )
        yield rated, drawn_split("bid", content)


SET = RatedSet(read)
