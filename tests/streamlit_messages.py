"""Streamlit's messages, which it does not document: what a page sent, and a tab without a browser around it.

tests/test_streamlit_internals.py tries each part of this file on the installed version.
"""

import time
import urllib.request

import requests
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from streamlit.proto.Markdown_pb2 import Markdown
from websockets.sync.client import connect

from camviz.ui.server.streamlit_internals import XSRF_COOKIE


def html(app) -> list[str]:
    """The bodies of all `st.html` on a page under AppTest."""
    return [element.proto.body for element in app.get("html")]


def progress(app) -> list[str]:
    """The texts of all `st.progress`."""
    return [element.proto.text for element in app.get("progress")]


def download_labels(app) -> list[str]:
    """The labels of all `st.download_button`."""
    return [element.proto.label for element in app.get("download_button")]


def chart_specs(app) -> list[str]:
    """The figures of all `st.plotly_chart`, as JSON."""
    return [element.proto.spec for element in app.get("plotly_chart")]


def component_data(app) -> list[bytes]:
    """The bytes that were sent to components of `st.components.v2`."""
    return [element.proto.bytes for element in app.get("bidi_component")]


def is_caption(markdown) -> bool:
    """Whether a Markdown element's message is that of an `st.caption`."""
    return markdown.element_type == Markdown.Type.CAPTION


def cookie_of(address, before=None):
    """The XSRF cookie that the server sets for a browser, which may have one from before."""
    headers = {"Cookie": f"{XSRF_COOKIE}={before}"} if before else {}
    with urllib.request.urlopen(urllib.request.Request(f"{address}/_stcore/health", headers=headers)) as answer:  # noqa: S310
        cookies = dict(cookie.split(";")[0].split("=", 1) for cookie in answer.headers.get_all("Set-Cookie"))
    return cookies[XSRF_COOKIE]


class Tab:
    """One tab's connection to a server, without the browser around it."""

    def __init__(self, address, cookie, patience):
        """Connect; each wait ends with a TimeoutError after `patience` seconds."""
        self.address, self.cookie, self.patience, self.session = address, cookie, patience, ""
        self.connection = connect(
            address.replace("http", "ws") + "/_stcore/stream",
            subprotocols=["streamlit"],
            additional_headers={"Cookie": f"{XSRF_COOKIE}={cookie}"},
            max_size=None,
            ping_interval=None,
            close_timeout=0.1,  # a tab that reads no more never sees the answer to its good-bye
            legacy=True,
        )

    def rerun(self, query="", by_history=False, strings=None, lists=None, numbers=None, files=None, fragment=""):
        """Ask for a run of the page or of a fragment; widgets by id are set to a string, a list, a number or a file."""
        message = BackMsg()
        message.rerun_script.query_string = query
        message.rerun_script.is_history_navigation = by_history
        message.rerun_script.fragment_id = fragment
        for widget, number in (numbers or {}).items():
            message.rerun_script.widget_states.widgets.add(id=widget).double_array_value.data.append(number)
        for widget, file in (files or {}).items():
            state = message.rerun_script.widget_states.widgets.add(id=widget).file_uploader_state_value
            state.uploaded_file_info.add(**file)
        for widget, value in (strings or {}).items():
            message.rerun_script.widget_states.widgets.add(id=widget).string_value = value
        for widget, values in (lists or {}).items():
            message.rerun_script.widget_states.widgets.add(id=widget).string_array_value.data.extend(values)
        self.connection.send(message.SerializeToString())

    def clear_caches(self):
        """Ask the server to clear st.cache_data and st.cache_resource, as any browser may."""
        self.connection.send(BackMsg(clear_cache=True).SerializeToString())

    def messages(self):
        """What the server sends, one message after another, for as long as patience lasts."""
        end = time.monotonic() + self.patience
        while True:
            message = ForwardMsg.FromString(self.connection.recv(timeout=max(0.0, end - time.monotonic())))
            self.session = session_of(message) or self.session
            yield message

    def upload(self, name, data):
        """Send the server a file; return what a widget has to say to hold it. The session has begun."""
        ask = BackMsg()
        ask.file_urls_request.request_id = "1"
        ask.file_urls_request.session_id = self.session
        ask.file_urls_request.file_names.append(name)
        self.connection.send(ask.SerializeToString())
        answers = (m.file_urls_response for m in self.messages() if m.WhichOneof("type") == "file_urls_response")
        (place,) = next(answers).file_urls
        headers = {"Cookie": f"{XSRF_COOKIE}={self.cookie}", "X-Xsrftoken": self.cookie}
        put = requests.put(
            self.address + place.upload_url, files={"file": (name, data)}, headers=headers, timeout=self.patience
        )
        put.raise_for_status()
        return {"name": name, "size": len(data), "file_id": place.file_id, "file_urls": place}

    def close(self):
        self.connection.close()


def new_element(message):
    """The element that a message draws; None if it does something else."""
    return message.delta.new_element if message.WhichOneof("type") == "delta" else None


def session_of(message) -> str:
    """The id of the session that a message begins; "" if it does something else."""
    return message.new_session.initialize.session_id if message.WhichOneof("type") == "new_session" else ""


def has_finished(message) -> bool:
    """Whether a message says that a run of the page or of a fragment came to its end."""
    done = (ForwardMsg.FINISHED_SUCCESSFULLY, ForwardMsg.FINISHED_FRAGMENT_RUN_SUCCESSFULLY)
    return message.WhichOneof("type") == "script_finished" and message.script_finished in done


def repeated_fragment(message) -> str:
    """The fragment that a message asks the browser to run again and again; "" if it asks for none."""
    return message.auto_rerun.fragment_id if message.WhichOneof("type") == "auto_rerun" else ""
