// Streamlit calls this when the data of a viewer, the toolbar, the link or the scores arrive or change.

export default function ({ data, parentElement, setTriggerValue }) {
  const header = headerOf(data);
  if (header.scores) return hear(header);
  if (header.announce) return announce(header.announce);
  const Kind = header.link ? LinkBox : header.markup === undefined ? Tools : Viewer;
  parentElement.camviz ??= new Kind(parentElement);
  const event = header.picks ? "pick" : header.pastes ? "paste" : null;
  parentElement.camviz.tell = event && ((value) => setTriggerValue(event, value));
  parentElement.camviz.show(data);
  return () => parentElement.camviz.close();
}

/** Scores and verdicts have arrived for maps on the page. */
function hear({ scores, verdicts }) {
  Object.assign(store.scores, scores);
  Object.assign(store.verdicts, verdicts);
  for (const viewer of store.viewers) viewer.speak();
}
