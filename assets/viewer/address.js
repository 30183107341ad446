// The app's address: it keeps the viewer's settings through Streamlit's own changes, and can be copied.

// Streamlit writes a page's address anew at every change, without a fragment, and enters a page that was just opened into
// the history twice, bare or as a link has it, and complete.
globalThis.camvizKeepsAddress ??= keepAddress();

function keepAddress() {
  const push = history.pushState.bind(history);
  let opened = true;
  history.pushState = (state, unused, url) => {
    const next = new URL(url ?? "", location.href);
    next.hash = location.hash;
    const completes = next.pathname === location.pathname && next.search
      && (!location.search || (opened && holdsAll(next, location)));
    opened = false;
    if (completes) history.replaceState(state, unused, next);
    else push(state, unused, next);
    dispatchEvent(new Event(CHANGED));
  };
  addEventListener("popstate", () => store.writeAddress());
  addEventListener("hashchange", () => store.readAddress());
  return true;
}

/** Whether an address has all the parts of another one, unchanged. */
function holdsAll(address, other) {
  const parts = new URLSearchParams(address.search);
  return [...new URLSearchParams(other.search)].every(([name, value]) => parts.get(name) === value);
}

/** The address as a link to copy. */
class LinkBox {
  constructor(parent) {
    this.link = element("code", { tabIndex: 0 });
    this.copied = button("Copy", "Copy the link", () => this.copy());
    parent.append(element("div", { className: "cv-link" }, this.link, this.copied));
    this.listener = () => this.follow();
  }

  show() {
    addEventListener(CHANGED, this.listener);
    this.follow();
  }

  close() {
    removeEventListener(CHANGED, this.listener);
  }

  follow() {
    this.link.textContent = location.href;
    this.copied.textContent = "Copy";
  }

  /** Without a secure connection, browsers let nothing but what is selected be copied. */
  async copy() {
    getSelection().selectAllChildren(this.link);
    if (navigator.clipboard) await navigator.clipboard.writeText(location.href);
    else document.execCommand("copy");
    this.copied.textContent = "Copied";
  }
}
