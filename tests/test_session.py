"""The session state: each key once, with its type, in `camviz.ui.session`."""

import ast
import re

import pytest
from server import ROOT

from camviz.ui import session
from camviz.ui.session import SessionKey

MODULES = [ROOT / "app.py", *ROOT.glob("pages/*.py"), *ROOT.glob("camviz/**/*.py")]
# The keys; Streamlit's check for a newer run; and the values of components, whose keys depend on what is shown.
ALLOWED = {"camviz/ui/session.py", "camviz/ui/server/streamlit_internals.py", "camviz/ui/panels/viewer.py"}
CONSTANTS = {constant: key for constant, key in vars(session).items() if isinstance(key, SessionKey)}
# One key of each family, with "*" for what the name depends on.
FAMILIES = {
    "upload_key": session.upload_key("*"),
    "camera_key": session.camera_key("*"),
    "last_model_key": session.last_model_key("*"),
    "shown_model_key": session.shown_model_key("*"),
    "class_key": session.class_key("*", "*", "*"),
    "layers_key": session.layers_key("*"),
    "curve_key": session.curve_key("*"),
    "several_classes_key": session.several_classes_key(session.class_key("*", "*", "*")),
    "models_key": session.models_key("*"),
    "sweep_uploads_key": session.sweep_uploads_key("*"),
    "trust_layers_key": session.trust_layers_key("*"),
    "trust_uploads_key": session.trust_uploads_key("*", "*"),
    "bundle_key": session.bundle_key("*"),
}
NAMES = [key.name for key in (*CONSTANTS.values(), *FAMILIES.values())]


def literal_keys(source):
    """A widget's `key="..."`, or `key=f"..."` with "*" for what it depends on.

    Containers are left out: they have no value, and their keys are for style sheets.
    """
    for node in ast.walk(ast.parse(source)):
        is_container = isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "container"
        for keyword in node.keywords if isinstance(node, ast.Call) and not is_container else ():
            value = keyword.value
            if keyword.arg == "key" and isinstance(value, ast.Constant):
                yield value.value
            elif keyword.arg == "key" and isinstance(value, ast.JoinedStr):
                yield "".join(part.value if isinstance(part, ast.Constant) else "*" for part in value.values)


def same_family(name, other):
    """Whether two names can be the same one, whatever "*" stands for in the first."""
    return re.fullmatch(re.escape(name).replace(r"\*", ".*"), other) is not None


def relative(path):
    return path.relative_to(ROOT).as_posix()


def test_names_are_unique():
    assert len(CONSTANTS) > 40
    assert len(set(NAMES)) == len(NAMES)


def test_no_constant_belongs_to_a_family():
    assert not [
        (family.name, key.name)
        for family in FAMILIES.values()
        for key in CONSTANTS.values()
        if same_family(family.name, key.name)
    ]


def test_every_family_is_tested():
    tree = ast.parse((ROOT / "camviz/ui/session.py").read_text(encoding="utf-8"))
    assert {node.name for node in tree.body if isinstance(node, ast.FunctionDef) and node.name.endswith("_key")} == set(
        FAMILIES
    )


def test_every_constant_has_its_type():
    assert {f"SessionKey[{kind}" for kind in ("Pick]", "Picture]", "Hashable]")} <= set(
        session.__annotations__.values()
    )
    assert set(CONSTANTS) == {
        name for name, kind in session.__annotations__.items() if re.fullmatch(r"SessionKey\[.+\]", kind)
    }


def test_literal_keys_by_hand():
    widgets = 'st.button("a", key="one"), place.toggle("b", key=f"two-{number}"), st.slider(key=FIT.name)'
    assert list(literal_keys(f'{widgets}, st.container(key="grid"), sorted(x, key=len)')) == ["one", "two-*"]


@pytest.mark.parametrize("path", MODULES, ids=relative)
def test_no_widget_repeats_a_key(path):
    for literal in literal_keys(path.read_text(encoding="utf-8")):
        assert not [name for name in NAMES if same_family(name, literal) or same_family(literal, name)], literal


@pytest.mark.parametrize("path", MODULES, ids=relative)
def test_no_other_module_uses_the_session_state(path):
    assert ("session_state" in path.read_text(encoding="utf-8")) == (relative(path) in ALLOWED)


def test_a_key_by_hand(monkeypatch):
    state = {}
    monkeypatch.setattr(session.st, "session_state", state)
    key = SessionKey[int]("a number")
    assert (key.is_set(), key.get(), key.get(7), key.pop()) == (False, None, 7, None)
    with pytest.raises(KeyError):
        key.require()
    key.set(0)
    assert state == {"a number": 0}
    assert (key.is_set(), key.get(), key.get(7), key.require()) == (True, 0, 0, 0)
    assert key.pop() == 0
    assert state == {}


def test_the_classes_of_one_picture_are_dropped(monkeypatch):
    mine, others = "1" * 64, "2" * 64
    state = {session.class_key(picture, "a model", "crop").name: 3 for picture in (mine, others)}
    state[session.several_classes_key(session.class_key(mine, "a model", "pad")).name] = [1, 2]
    monkeypatch.setattr(session.st, "session_state", state)
    session.drop_classes(mine)
    assert list(state) == [session.class_key(others, "a model", "crop").name]
