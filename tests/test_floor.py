"""The class's probability with nothing left of the picture."""

import threading

import pytest
import torch
from apphost import coffee, get_network

from camviz.samples import SAMPLES
from camviz.ui.server.sharing import shared_host
from camviz.workbench.cache_keys import Kind
from camviz.workbench.maps import floor


def test_it_is_that_of_the_mean_colour():
    of = coffee()
    with torch.no_grad():
        expected = get_network("efficientnet-lite0").module(torch.zeros(1, 3, 224, 224)).softmax(1)[0, of.target]
    assert floor(of) == pytest.approx(expected.item(), abs=1e-6)
    assert SAMPLES["Coffee"].title == of.picture.title


def test_it_waits_for_no_other_turn_while_it_holds_one():
    """The view may have been dropped meanwhile, and computing it needs a turn of its own."""
    of = coffee()
    shared_host().results.forget(lambda key: key.kind in (Kind.VIEW, Kind.FLOOR))
    done = threading.Thread(target=floor, args=(of,), daemon=True)
    done.start()
    done.join(timeout=60)
    assert not done.is_alive()
