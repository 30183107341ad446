"""A person on a server without a browser: clicks, uploads and reads what the server sends."""

import re

from streamlit_messages import Tab, has_finished, is_caption, new_element, repeated_fragment
from viewing import unpack

PATIENCE = 120  # seconds that a loaded machine may need for what a whole class asked for
UPLOADER = "uploader"


class Visitor:
    """One tab, without the browser around it: it clicks and reads what the server sends."""

    def __init__(self, address, person, patience=PATIENCE):
        self.tab = Tab(address, person, patience)
        self.controls, self.options, self.chosen = {}, {}, {}
        self.title = self.strip = self.words = self.engine = self.fragment = ""
        self.told = []  # what the queue said

    def ask(self, **choices):
        """Change controls, as a click does: select boxes by an option, layers by a list, sliders by a number.

        Without any, run the page.
        """
        self.chosen |= choices
        self.words = ""
        strings, lists, numbers, files = {}, {}, {}, {}
        for key, options in self.chosen.items():
            if isinstance(options, str):  # slow methods tell their time behind the name
                names = [option.partition(" · about")[0] for option in self.options[key]]
                strings[self.controls[key]] = self.options[key][names.index(options)]
            elif isinstance(options, dict):
                files[self.controls[key]] = options
            elif isinstance(options, list):
                lists[self.controls[key]] = options
            else:
                numbers[self.controls[key]] = options
        self.tab.rerun(strings=strings, lists=lists, numbers=numbers, files=files)

    def read(self, until):
        """Take in what arrives until something holds."""
        for message in self.tab.messages():
            element = new_element(message)
            if element is not None:
                self._take(element)
            self.fragment = repeated_fragment(message) or self.fragment
            if until(message):
                return

    def finish(self):
        """Take in the rest of the run."""
        self.read(has_finished)

    def upload(self, name, data):
        """Explain a file of one's own."""
        self.explain(Picture=["Upload"])
        self.explain(**{UPLOADER: self.tab.upload(name, data)})

    def explain(self, **choices):
        self.ask(**choices)
        self.finish()

    def _take(self, element):
        kind = element.WhichOneof("type")
        assert kind != "exception", element.exception.message
        if kind in ("selectbox", "button_group"):
            control = getattr(element, kind)
            self.controls[control.label], self.options[control.label] = control.id, list(control.options)
        if kind == "file_uploader":
            self.controls[UPLOADER] = element.file_uploader.id
        if kind == "slider":
            self.controls[element.slider.label] = element.slider.id
        if kind == "markdown" and not is_caption(element.markdown):
            self.words += element.markdown.body
        if kind == "bidi_component":
            markup = unpack(element.bidi_component.bytes).markup
            if 'class="cv-strip"' in markup:
                self.strip = markup
        if kind == "html":
            body = element.html.body
            for name in ("title", "engine"):
                if f'class="cv-{name}"' in body:
                    setattr(self, name, body)
            if 'class="cv-queue"' in body and "hidden" not in body:
                self.told.append(re.sub("<[^>]*>", "", body))
