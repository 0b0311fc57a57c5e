"""Where cases lie, and which places of the journal hold something else by now."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

from livertumor_cli.batch.case import BatchCase
from livertumor_cli.batch.journal import Origin


def origin_of(case: BatchCase) -> Origin:
    """The place of a case."""
    return Origin(str(case.path), case.study_uid)


def replaced(known: Iterable[Origin], found: Sequence[BatchCase]) -> list[Origin]:
    """Known places whose files belong to other cases now.

    So does a zip that could not be opened and was copied again, or a study whose second series
    came later. Places of which nothing is left are none of these: scans may be taken away once
    they are done.

    Args:
        known: From the journal.
        found: Every case that there is now.
    """
    places = {origin_of(case) for case in found}
    files = {file for case in found for file in case.files}
    folders = {above for folder in {file.parent for file in files} for above in _up(folder)}
    studies: dict[str, list[Path]] = defaultdict(list)
    for case in found:
        studies[case.study_uid].append(case.path)

    def is_replaced(origin: Origin) -> bool:
        path = Path(origin.source)
        if path in files:
            return True
        if not origin.study_uid:
            return path in folders
        moved = studies.get(origin.study_uid, [])
        return any(path in _up(place) or place in _up(path) for place in moved)

    return [origin for origin in known if origin not in places and is_replaced(origin)]


def _up(path: Path) -> tuple[Path, ...]:
    return (path, *path.parents)
