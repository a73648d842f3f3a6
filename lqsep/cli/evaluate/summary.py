"""All that is about all items of a run: tables and the report, made of the items' files."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lqsep.cli.evaluate.run import EXAMPLES, ItemTask, read_result
from lqsep.cli.evaluate.settings import SUMMARY_FILES, TABLE_FILE
from lqsep.core.errors import LqsepError
from lqsep.core.files.new_file import write_text

if TYPE_CHECKING:
    from lqsep.core.evaluation.summary import Summary


def write_summary(
    tasks: Sequence[ItemTask],
    settings: Mapping[str, Any],
    out: Path,
    failures: Mapping[str, str],
) -> Summary:
    """Write all that is about all items, from what is in their files.

    Raises:
        LqsepError: No item has a result.
    """
    from lqsep.core.evaluation.page.document import render_page
    from lqsep.core.evaluation.page.sounds import Example
    from lqsep.core.evaluation.summary import summarise
    from lqsep.core.evaluation.tables import to_csv, to_markdown

    read = [read_result(out, task.item.item) for task in tasks]
    results = [result for result in read if result is not None]
    if not results:
        raise all_failed(failures)
    summary = summarise(results)
    scored = {result["item"] for result in results}
    folders = [out / EXAMPLES / t.item.item for t in tasks if t.is_example]
    found = [Example.find(folder, settings["sources"]) for folder in folders]
    examples = [example for example in found if example is not None and example.name in scored]
    page = render_page(settings, results, summary, examples, failures)
    texts = (to_csv(summary), to_markdown(summary), page)
    for file, text in zip(SUMMARY_FILES, texts, strict=True):
        write_text(out / file, text)
    return summary


def all_failed(failures: Mapping[str, str]) -> LqsepError:
    """The error of a run without any result."""
    first, error = next(iter(failures.items()), ("", ""))
    return LqsepError(f"all {len(failures)} items failed; the first, {first}: {error}")


def to_json(summary: Summary, out: Path, failures: Mapping[str, str]) -> str:
    """The document for ``--json``."""
    return json.dumps({**asdict(summary), "failures": dict(failures), "output": str(out)}, indent=2)


def read_table(out: Path) -> str:
    """The table that `write_summary` wrote."""
    return (out / TABLE_FILE).read_text(encoding="utf-8").rstrip("\n")
