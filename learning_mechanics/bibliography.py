"""BibTeX of what a derivation used: references in words become entries, with titles where the work is known here.

>>> entry, = bibtex(["Saxe, McClelland & Ganguli 2013, arXiv:1312.6120"])
>>> entry["key"]
'saxe2013exact'
>>> print(bibtex(["Somebody & Another 1999"])[0]["bibtex"])
@misc{somebody1999,
  author = {Somebody and Another},
  year = {1999}
}
"""

import json
import re
from collections.abc import Iterable
from functools import cache
from pathlib import Path

YEAR = re.compile(r"\b(1[89]\d\d|20\d\d)\b(?!\.)")
ARXIV = re.compile(r"arXiv:\s*([\w.\-]+/\d{7}|\d{4}\.\d{4,5})")


def bibtex(references: Iterable[str]) -> list[dict[str, str]]:
    """Entries (key, bibtex, cited) of references such as "Saxe et al. 2013, arXiv:1312.6120; Baldi & Hornik 1989".

    Each work appears once, in order of first use. What is no reference (no year and no identifier) is left out.
    """
    entries: dict[str, dict[str, str]] = {}
    for reference in references:
        for cited in filter(None, (part.strip() for part in reference.split(";"))):
            fields = _known(cited) or _read(cited)
            if fields:
                entry = {"key": fields["key"], "bibtex": _format(fields), "cited": cited}
                entries.setdefault(fields["key"], entry)
    return list(entries.values())


def described(references: Iterable[str]) -> list[str]:
    """Each cited work once, in order of first use, with its title where the work is known here.

    >>> described(["Saxe, McClelland & Ganguli 2013, arXiv:1312.6120", "Saxe et al. 2013 (arXiv:1312.6120)"])[0][:60]
    'Saxe, McClelland & Ganguli 2013, arXiv:1312.6120: Exact solu'
    """
    found: dict[str, str] = {}
    for cited in filter(None, (reference.strip() for reference in references)):
        work, identifier = _known(cited), ARXIV.search(cited)
        key = work["key"] if work else identifier[1] if identifier else cited
        found.setdefault(key, cited + (": " + re.sub("[{}]", "", work["title"]) if work and work.get("title") else ""))
    return list(found.values())


@cache
def _works() -> tuple[dict[str, str], ...]:
    return tuple(json.loads(Path(__file__).with_name("bibliography.json").read_text(encoding="utf-8")))


def _known(cited: str) -> dict[str, str] | None:
    """The work with this arXiv identifier, else the one whose first author and year agree."""
    identifier, year = ARXIV.search(cited), YEAR.search(ARXIV.sub("", cited))
    for work in _works():
        if identifier and work.get("arxiv") == identifier[1]:
            return work
        surname = work["author"].split(" and ")[0].split()[-1]
        if not identifier and year and year[1] == work["year"] and cited.startswith(surname):
            return work
    return None


def _read(cited: str) -> dict[str, str] | None:
    identifier, year = ARXIV.search(cited), YEAR.search(ARXIV.sub("", cited))
    if not (identifier or year):
        return None
    end = min(found.start() for found in (identifier, year) if found)
    authors = re.split(r"\s*(?:,|&|\band\b)\s*", cited[:end].strip(" ,("))
    names = [name.strip() for name in authors if name.strip()]
    others = [re.sub(r"\s*et al\.?$", "", name) for name in names]
    if any("et al" in name for name in names):
        others.append("others")
    stated = year[1] if year else ""
    key = re.sub(r"\W", "", (others[0] if others else "anonymous").split()[-1].lower()) + stated
    return {
        "kind": "misc",
        "key": key,
        "author": " and ".join(others),
        "year": stated,
        **({"arxiv": identifier[1]} if identifier else {}),
    }


def _format(fields: dict[str, str]) -> str:
    rows = {
        name: fields[name]
        for name in ("author", "title", "journal", "booktitle", "publisher", "year")
        if fields.get(name)
    }
    if "arxiv" in fields:
        rows |= {"eprint": fields["arxiv"], "archivePrefix": "arXiv"}
        if fields["kind"] == "article" and "journal" not in rows:
            rows["journal"] = f"arXiv preprint arXiv:{fields['arxiv']}"
    body = ",\n".join(f"  {name} = {{{value}}}" for name, value in rows.items())
    return f"@{fields['kind']}{{{fields['key']},\n{body}\n}}"
