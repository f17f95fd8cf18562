"""Nothing executes data: what the code may not do, read from the code itself, and hostile models and archives."""

import ast
import gzip
import json
import re
import shutil
import zipfile

import pytest
from tiny_models import save_tiny_gpt2

from emogap.babylm import raw
from emogap.config import HubModel, Writer
from emogap.errors import InputError, ModelError
from emogap.lm.engines.engine import Conversation
from emogap.lm.hub import LocalModel
from emogap.paths import ROOT
from emogap.text import reading
from emogap.text.templates import parse_template

FILES = sorted((ROOT / "emogap").rglob("*.py"))
GUARDED = "emogap/stories/import_pickles.py"
"""The one module that reads pickles, through an unpickler that admits plain values alone."""
LOADERS = {"pickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}


def forbidden(tree: ast.AST, guarded: bool) -> list[str]:
    """What would let data run code: modules that unpickle, ``eval`` and ``exec``, remote code, pickled arrays."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom) and not guarded:
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names]
            found += [name for name in names if name.partition(".")[0] in LOADERS]
        if isinstance(node, ast.Call):
            name = ast.unparse(node.func)
            if name in ("eval", "exec", "torch.load", "pd.read_pickle", "pickle.load", "pickle.loads"):
                found.append(name)
            options = {option.arg: ast.unparse(option.value) for option in node.keywords}
            found += [key for key in ("trust_remote_code", "allow_pickle") if options.get(key, "False") != "False"]
            # Left out, transformers asks the terminal whether a repository's code may run.
            if re.fullmatch(r"Auto\w+\.from_pretrained", name) and not {"trust_remote_code", None} & options.keys():
                found.append(f"{name} without trust_remote_code")
    return found


@pytest.mark.parametrize("file", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_code_of_the_package_runs_data(file):
    guarded = str(file.relative_to(ROOT)) == GUARDED
    assert forbidden(ast.parse(file.read_text(encoding="utf-8")), guarded) == []


@pytest.mark.parametrize(
    "code",
    ["import pickle", "from joblib import load", "eval(text)", "torch.load(path)", "np.load(f, allow_pickle=True)",
     "AutoModel.from_pretrained(name, trust_remote_code=True)", "AutoModel.from_pretrained(name)"],
)  # fmt: skip
def test_the_reading_of_code_finds_what_it_looks_for(code):
    assert forbidden(ast.parse(code), guarded=False)


# --- models ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def harmless(tmp_path_factory):
    return save_tiny_gpt2(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture
def with_code(harmless, tmp_path):
    """A model folder that brings its own code, as a repository may; the file it writes when it is run."""
    folder, ran = tmp_path / "evil", tmp_path / "ran"
    shutil.copytree(harmless, folder)
    (folder / "evil.py").write_text(
        f"open({str(ran)!r}, 'w')\nclass Model: pass\nclass Config: pass\nclass Tokens: pass\n"
    )
    models = dict.fromkeys(("AutoModelForCausalLM", "AutoModelForSequenceClassification"), "evil.Model")
    classes = models | {"AutoConfig": "evil.Config", "AutoTokenizer": ["evil.Tokens", None]}
    for name, changes in (
        ("config.json", {"model_type": "evil"}),
        ("tokenizer_config.json", {"tokenizer_class": "Tokens"}),
    ):
        content = json.loads((folder / name).read_text()) | changes | {"auto_map": classes}
        (folder / name).write_text(json.dumps(content))
    return folder, ran


def _engine(folder):
    from emogap.lm.engines.open_engine import open_engine

    return open_engine(Writer(model=HubModel(name=str(folder)), device="cpu", dtype="fp32"))


def _scores(folder):
    from emogap.lm.sentence_scores import SentenceScorer

    return SentenceScorer(LocalModel(folder, "evil"), device="cpu")


def _lens(folder):
    from emogap.lens.logit_lens import LogitLens

    return LogitLens(LocalModel(folder, "evil"), device="cpu")


def _parent(folder):
    from emogap.lm.loading import load_causal

    return load_causal(folder)


def _tokenizer(folder):
    from emogap.lm.loading import load_tokenizer

    return load_tokenizer(folder)


def _classifier(folder):
    from emogap.emotion.classifier import load_hub_model

    return load_hub_model(str(folder), None, "cpu", "fp32")


@pytest.mark.parametrize("load", [_engine, _scores, _lens, _parent, _tokenizer, _classifier])
def test_code_in_a_model_repository_is_not_run_and_nobody_is_asked(load, with_code, monkeypatch):
    folder, ran = with_code
    monkeypatch.setattr("builtins.input", lambda *_: "y")
    with pytest.raises(ModelError, match=str(folder)) as error:
        load(folder)
    assert "\n" not in str(error.value)
    assert not ran.exists()


@pytest.mark.parametrize(
    "code",
    ["{{ ''.__class__.__mro__[1].__subclasses__() }}", "{% for c in messages.__class__.mro() %}{{ c }}{% endfor %}",
     "{{ cycler.__init__.__globals__.os.system('true') }}", "{{ raise_exception('no') }}"],
)  # fmt: skip
def test_code_in_a_chat_template_stays_in_its_sandbox(code, harmless):
    from transformers import AutoTokenizer

    from emogap.lm.engines.engine import ChatFormat

    tokenizer = AutoTokenizer.from_pretrained(harmless)
    tokenizer.chat_template = code
    conversation = Conversation("a", ({"role": "user", "content": "Hello."},), 0)
    with pytest.raises(ModelError, match="chat template of .* cannot be used") as error:
        ChatFormat(tokenizer).encode(conversation)
    assert "\n" not in str(error.value)


def test_code_of_template_languages_in_a_prompt_is_text():
    code = "{{ ''.__class__ }} {{% import os %}} ${{os.environ}} `id` $(id) %(x)s {{0.__class__}}"
    said = parse_template("Say " + code + " {what}", "mine.txt", {"what"}).messages(what="{what.__class__} {{7*7}}")
    assert said[0]["content"] == (
        "Say { ''.__class__ } {% import os %} ${os.environ} `id` $(id) %(x)s {0.__class__} {what.__class__} {{7*7}}"
    )


# --- archives of raw text --------------------------------------------------------------------------------------------


def read_all(source):
    return b"".join(block for _, block in raw.blocks(source, 1000, lambda *_: None, lambda _: None))


def test_a_member_that_would_leave_its_folder_is_read_and_nothing_is_unpacked(tmp_path):
    folder = tmp_path / "a" / "raw"
    folder.mkdir(parents=True)
    with zipfile.ZipFile(folder / "many.zip", "w") as archive:
        for name in ("../../up.train", "/etc/absolute.train"):
            archive.writestr(name, "a line\n")
    before = sorted(tmp_path.rglob("*"))
    sources = raw.find_sources([folder], [".train"])
    assert [read_all(source) for source in sources] == [b"a line\n"] * 2
    assert not any(".." in source.name or source.name.startswith("/") for source in sources)
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("kind", ["gz", "zip"])
def test_an_archive_that_unpacks_without_end_is_refused(tmp_path, monkeypatch, kind):
    monkeypatch.setattr(reading, "UNCHECKED_BYTES", 1 << 20)
    text = b"0123456789\n" * 1_000_000
    if kind == "gz":
        (tmp_path / "bomb.train.gz").write_bytes(gzip.compress(text))
    else:
        with zipfile.ZipFile(tmp_path / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("bomb.train", text)
    (source,) = raw.find_sources([tmp_path], [".train"])
    with pytest.raises(InputError, match=r"bomb\.\S+ unpacks to over 100 times its size"):
        read_all(source)
    if kind == "gz":  # as factual text, whose lines may never end
        (tmp_path / "bomb.train.gz").write_bytes(gzip.compress(text.replace(b"\n", b" ")))
        with pytest.raises(InputError, match=r"bomb\.train\.gz unpacks to over 100 times its size"):
            reading.read_text(tmp_path / "bomb.train.gz")


def test_what_is_named_like_a_text_and_is_none_is_an_error(tmp_path):
    (tmp_path / "good.train").write_text("a line\n")
    (tmp_path / "lost.train").symlink_to(tmp_path / "nowhere")
    with pytest.raises(InputError, match=r"lost.train is named like a text but is a link that leads nowhere"):
        raw.find_sources([tmp_path], [".train"])
    (tmp_path / "lost.train").unlink()
    (tmp_path / "folder.train.gz").mkdir()
    with pytest.raises(InputError, match=r"folder.train.gz is named like a text but is a folder"):
        raw.find_sources([tmp_path], [".train"])
