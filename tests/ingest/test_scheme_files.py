"""A scheme is one file: it is found by the name of its `alg`, registers itself, and is imported only when needed."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Literal

import pytest

from tests.support.deliveries import draft_of, envelope_of, pair_of, source_of
from weir.ingest.envelope import encode
from weir.ingest.schemes import base
from weir.ingest.schemes.base import Scheme, all_schemes, scheme_class
from weir.ingest.sources.catalogue import Catalogue

FOLDER = Path(base.__file__).parent
# What the folder holds beside the schemes.
OTHERS = {"__init__", "base", "signatures"}

# All that a newcomer writes: one file, here `reversed_text.py`, whose alg is `reversed-text`.
NEW_SCHEME = '''
from typing import Literal

from weir.ingest.errors import SignatureMismatch, SignatureMissing
from weir.ingest.locations import one_header
from weir.ingest.schemes.base import Scheme, SecretPair, Verdict
from weir.ingest.schemes.parts.checks import bounded


class ReversedScheme(Scheme):
    """A secret that is sent from its end to its beginning."""

    alg: Literal["reversed-text", "reversed-text-2"]
    header: str

    def prover(self):
        return ReversedProver(self)


class ReversedProver:
    def __init__(self, scheme):
        self._scheme = scheme

    def verify(self, secrets, envelope, _fetch):
        text = one_header(envelope, self._scheme.header.lower())
        if not text:
            raise SignatureMissing
        for index, secret in enumerate(bounded(secrets)):
            if secret[::-1] == text:
                return Verdict(self._scheme.label, index)
        raise SignatureMismatch

    def sign(self, secret, draft):
        draft.headers[self._scheme.header] = secret[::-1]

    def check_secret(self, secret):
        pass

    def generate(self, entropy):
        return SecretPair(entropy.hex(), entropy.hex())
'''

SOURCES = """
strange:
  scheme: {alg: reversed-text-2, header: X-Token}
either:
  scheme:
    any_of:
      - {alg: reversed-text, header: X-Token}
      - {alg: token, at: 'header:X-Other'}
"""

# Puts a folder beside the schemes' own, as if the file in it were there; then signs, verifies and writes the schema.
PROGRAM = """
import json, sys
import weir.ingest.schemes
weir.ingest.schemes.__path__.append(sys.argv[1])
from weir.ingest.errors import SignatureMismatch
from weir.ingest.schemes import signatures
from weir.ingest.schemes.base import Draft
from weir.ingest.sources.catalogue import parse_compiled
from weir.ingest.sources.sources_file import load
from weir.ingest.sources.sources_file import json_schema
found = load(sys.argv[2])
verdicts = []
for source in (*found.values(), *parse_compiled(found.dump()).values()):
    draft = Draft(b"{}", 0, "m")
    signatures.sign_draft(source.scheme, "abc", draft)
    verdicts.append(signatures.verify(source.scheme, ["other", "abc"], draft.envelope()).secret_index)
    try:
        signatures.verify(source.scheme, ["other"], draft.envelope())
        raise AssertionError("a wrong secret verified")
    except SignatureMismatch:
        pass
print(json.dumps([draft.headers, verdicts, list(json.loads(json_schema())["$defs"])]))
"""

# Reads a compiled source, verifies with it, and prints which modules of the package that took.
IMPORTS = """
import json, sys
text, secret, delivery = json.load(sys.stdin)
from weir.ingest.envelope import decode
from weir.ingest.schemes import signatures
from weir.ingest.sources.catalogue import parse_compiled
(source,) = parse_compiled(text).values()
signatures.verify(source.scheme, [secret], decode(delivery.encode()))
print(json.dumps([name for name in sys.modules if name.startswith("weir.ingest.schemes.")]))
"""


def run(program: str, *arguments: str, given: str = "") -> str:
    """Run a program in a process of its own and return what it prints."""
    command = [sys.executable, "-c", program, *arguments]
    done = subprocess.run(command, input=given, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_new_scheme_is_one_file(tmp_path: Path) -> None:
    """A file beside the others is all it takes: sources name its `alg`, deliveries verify, the JSON schema has it."""
    folder, sources = tmp_path / "schemes", tmp_path / "sources.yaml"
    folder.mkdir()
    (folder / "reversed_text.py").write_text(NEW_SCHEME, encoding="utf-8")
    sources.write_text(SOURCES, encoding="utf-8")
    headers, verdicts, models = json.loads(run(PROGRAM, str(folder), str(sources)))
    assert headers == {"X-Token": "cba"}
    assert verdicts == [1, 1, 1, 1]
    assert "ReversedScheme" in models


def algs(scheme: type[Scheme]) -> list[str]:
    return [alg for alg, known in base._by_alg.items() if known is scheme]


def test_each_file_registers_its_schemes() -> None:
    """Every file of the folder has a scheme, and every scheme of the product a file of its own."""
    files = {path.stem for path in FOLDER.glob("*.py")} - OTHERS
    modules = [scheme.__module__ for scheme in all_schemes()]
    assert {module.rpartition(".")[2] for module in modules} == files
    assert len(set(modules)) == len(modules)
    assert all(algs(scheme) for scheme in all_schemes())


@pytest.mark.parametrize("scheme", all_schemes(), ids=lambda scheme: scheme.__name__)
def test_every_field_of_a_scheme_is_described(scheme: type[Scheme]) -> None:
    """A scheme says of itself and of each field what an editor and the reference page show; `alg` names it."""
    assert (scheme.__doc__ or "").strip()
    fields = {name: field.description for name, field in scheme.model_fields.items() if name != "alg"}
    assert all(fields.values()), fields


@pytest.mark.parametrize(
    ("alg", "file"), [(alg, scheme.__module__.rpartition(".")[2]) for scheme in all_schemes() for alg in algs(scheme)]
)
def test_a_scheme_is_found_by_the_name_of_its_file(alg: str, file: str) -> None:
    """A process that knows no scheme yet finds the file of each `alg`, and imports no other scheme's file."""
    document: dict[str, object] = {"any_of": []} if alg == "any-of" else {"alg": alg}
    program = f"""
import sys
from weir.ingest.schemes.base import scheme_class
print(scheme_class({document!r}).__module__)
print(*(name.rpartition(".")[2] for name in sys.modules if name.startswith("weir.ingest.schemes.")))
"""
    module, imported = run(program).splitlines()
    assert module == f"weir.ingest.schemes.{file}"
    assert set(imported.split()) & {path.stem for path in FOLDER.glob("*.py")} == {"base", file}


@pytest.mark.parametrize("alg", ["base", "signatures", "parts", "../content", "os.path", "jwt", "aws", "", "A" * 99, 5])
def test_an_unknown_alg_is_the_default_scheme(alg: object) -> None:
    """Text from the sources file names no module by accident: what is not registered is validated as signed content."""
    assert scheme_class({"alg": alg}).__name__ == "ContentScheme"


def test_two_schemes_cannot_share_an_alg() -> None:
    """A second class with the same `alg` is refused when it is defined, and the first stays."""
    known = scheme_class({"alg": "basic"})
    with pytest.raises(TypeError, match="'basic': rename one"):

        class Second(Scheme):
            alg: Literal["basic"]

    assert scheme_class({"alg": "basic"}) is known


@pytest.mark.parametrize(
    ("preset", "files"),
    [
        ("github", {"content"}),
        ("telegram", {"token"}),
        ("postmark", {"basic"}),
        ("plivo", {"plivo"}),
        ("twilio", {"any_of", "twilio"}),
        ("netlify", {"jwt"}),
    ],
)
def test_the_function_imports_the_schemes_of_its_sources(preset: str, files: set[str]) -> None:
    """A cold start imports the schemes that its sources name and no other."""
    source = source_of(preset)
    pair = pair_of(source)
    arrived = encode(envelope_of(source, draft_of(source, pair))).decode()
    given = json.dumps([Catalogue({source.name: source}).dump(), pair.verify_with, arrived])
    imported = {name.rpartition(".")[2] for name in json.loads(run(IMPORTS, given=given))}
    assert imported & ({path.stem for path in FOLDER.glob("*.py")} - OTHERS) == files
